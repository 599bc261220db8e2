import { constantOf, type Node } from '@lithe/core';

/** The bounds of a `Clip` with constant bounds. */
export interface ClipBounds {
  /** Lower, minus infinity when left out. */
  readonly low: number;
  /** Upper, infinity when left out. */
  readonly high: number;
}

/** Reads the bounds of a `Clip`; `undefined` when one is computed. */
export async function clipBounds(node: Node, signal?: AbortSignal): Promise<ClipBounds | undefined> {
  const read = async (index: number, otherwise: number): Promise<number | undefined> => {
    if (node.input(index) === null) return otherwise;
    const source = constantOf(node.input(index));
    return source === undefined ? undefined : (await source.load(signal)).toFloat64Array()[0];
  };
  const low = await read(1, Number.NEGATIVE_INFINITY);
  const high = await read(2, Number.POSITIVE_INFINITY);
  return low === undefined || high === undefined ? undefined : { low, high };
}

/** Puts a `Relu` in the place of a `Clip` that starts at 0: the upper bound is gone. */
export function clipToRelu(clip: Node): Node {
  const { graph } = clip;
  const relu = graph.addNode(
    { opType: 'Relu', inputs: [clip.input(0)], name: clip.name },
    [{ type: clip.output().type }],
    { before: clip },
  );
  graph.replaceAllUses(clip.output(), relu.output());
  graph.remove(clip);
  return relu;
}

import { lazyTensor, type Node, Tensor, type TensorSource, type Value } from '@lithe/core';
import { float32Data } from '../../weights/lazy-parts.ts';
import { removeConstant } from '../../weights/replace-constant.ts';

/** Above this a changed weight is computed when it is written, not held in memory. */
const LAZY_BYTES = 2 ** 25;

/** A copy of the elements of a float32 constant. */
export async function loadFloat32(
  source: TensorSource,
  what: string,
  signal?: AbortSignal,
): Promise<Float32Array<ArrayBuffer>> {
  return new Float32Array(float32Data(await source.load(signal), what));
}

/**
 * A float32 constant after an edit of its elements: computed at once where it is small, and each time it is loaded
 * where it is large.
 *
 * @param edit changes the elements in place
 */
export async function editedConstant(
  source: TensorSource,
  what: string,
  edit: (data: Float32Array) => void,
): Promise<TensorSource> {
  const make = async (signal?: AbortSignal): Promise<Tensor> => {
    const data = await loadFloat32(source, what, signal);
    edit(data);
    return Tensor.from('float32', source.shape, data);
  };
  return source.byteLength > LAZY_BYTES ? lazyTensor('float32', source.shape, make) : make();
}

/** Makes one input of a node read a new constant, and drops the old one when nothing else reads it. */
export function setConstant(node: Node, index: number, name: string, source: TensorSource): Value {
  const { graph } = node;
  const before = node.input(index);
  const after = graph.addInitializer(graph.uniqueName(name), source);
  graph.setInput(node, index, after);
  if (before !== null) removeConstant(before);
  return after;
}

import type { Node } from '@lithe/core';

/** A whole-number attribute; `undefined` when it is there in a form that cannot be read (a function's parameter). */
export function intOf(node: Node, name: string, fallback: number): number | undefined {
  const found = node.attributes.get(name);
  if (found === undefined) return fallback;
  return found.kind === 'int' ? Number(found.value) : undefined;
}

/** A list of whole numbers; `undefined` when it is left out or cannot be read. */
export function intsOf(node: Node, name: string): readonly number[] | undefined {
  const found = node.attributes.get(name);
  return found?.kind === 'ints' ? found.value.map(Number) : undefined;
}

/** A number attribute. */
export function floatOf(node: Node, name: string, fallback: number): number | undefined {
  const found = node.attributes.get(name);
  if (found === undefined) return fallback;
  return found.kind === 'float' ? found.value : undefined;
}

/** A text attribute. */
export function stringOf(node: Node, name: string, fallback: string): string | undefined {
  const found = node.attributes.get(name);
  if (found === undefined) return fallback;
  return found.kind === 'string' ? found.value : undefined;
}

/** Whether a convolution or pooling node has no padding at all. */
export function isUnpadded(node: Node): boolean {
  const mode = stringOf(node, 'auto_pad', 'NOTSET');
  if (mode === 'VALID') return true;
  if (mode !== 'NOTSET') return false;
  return (
    node.attributes.get('pads') === undefined || intsOf(node, 'pads')?.every((pad) => pad === 0) === true
  );
}

/** The numbers of a small constant integer input; `undefined` when it is left out, not constant or not loaded. */
export function integersOf(
  context: { small(value: Node['inputs'][number]): { toFloat64Array(): Float64Array } | undefined },
  node: Node,
  index: number,
): readonly number[] | undefined {
  const tensor = context.small(node.input(index));
  return tensor === undefined ? undefined : [...tensor.toFloat64Array()];
}

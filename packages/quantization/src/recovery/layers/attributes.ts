import type { Node } from '@lithe/core';

/** A whole-number attribute; NaN where it is there in a form that cannot be read (a function's parameter). */
export function intOf(node: Node, name: string, fallback: number): number {
  const found = node.attributes.get(name);
  if (found === undefined) return fallback;
  return found.kind === 'int' ? Number(found.value) : Number.NaN;
}

/** A number attribute; NaN where it cannot be read. */
export function floatOf(node: Node, name: string, fallback: number): number {
  const found = node.attributes.get(name);
  if (found === undefined) return fallback;
  return found.kind === 'float' ? found.value : Number.NaN;
}

/** A text attribute. */
export function stringOf(node: Node, name: string, fallback: string): string {
  const found = node.attributes.get(name);
  return found?.kind === 'string' ? found.value : fallback;
}

/** A list of whole numbers; `undefined` when it is left out or cannot be read. */
export function intsOf(node: Node, name: string): readonly number[] | undefined {
  const found = node.attributes.get(name);
  return found?.kind === 'ints' ? found.value.map(Number) : undefined;
}

/** Whether a window never looks past the edge of its input. */
export function isUnpadded(node: Node): boolean {
  const mode = stringOf(node, 'auto_pad', 'NOTSET');
  if (mode === 'VALID') return true;
  if (mode !== 'NOTSET' && mode !== '') return false;
  return intsOf(node, 'pads')?.every((pad) => pad === 0) ?? !node.attributes.has('pads');
}

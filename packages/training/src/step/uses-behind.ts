import type { Node, Value } from '@lithe/core';

/** Operators that hand their first input on in another form: a weight counts by where it goes. */
const carriers: ReadonlySet<string> = new Set([
  'Cast',
  'DequantizeLinear',
  'Expand',
  'Flatten',
  'Identity',
  'QuantizeLinear',
  'Reshape',
  'Slice',
  'Split',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
]);

/** A place where a value is read. */
export interface UseBehind {
  /** What is read: the value itself, or what it became. */
  readonly value: Value;
  /** The reader. */
  readonly node: Node;
  /** Which input of the reader it is. */
  readonly index: number;
}

/**
 * Where a value is read, directly or through operators that only bring it into another form: each use, then what lies
 * behind it, in the order of the uses. The length of a chain of such operators does not matter.
 */
export function* usesBehind(value: Value): Generator<UseBehind> {
  const stack: UseBehind[] = [];
  const push = (read: Value): void => {
    const { uses } = read;
    for (let at = uses.length - 1; at >= 0; at--) stack.push({ value: read, ...uses[at]! });
  };
  push(value);
  for (let use = stack.pop(); use !== undefined; use = stack.pop()) {
    yield use;
    const { node, index } = use;
    if (index === 0 && carriers.has(node.opType))
      for (const output of node.outputs.toReversed()) push(output);
  }
}

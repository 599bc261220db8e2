import { Graph, Model, Tensor } from '@lithe/core';
import { expect } from 'vitest';

/** Elements as stored; of strings, themselves. */
function sameElements(left: Tensor, right: Tensor): boolean {
  if (left.dtype === 'string') {
    const other = right.data as readonly string[];
    return (left.data as readonly string[]).every((text, index) => text === other[index]);
  }
  return Buffer.compare(left.bytes, right.bytes) === 0;
}

/*
 * `toEqual` looks at enumerable properties, and what tensors and graphs hold is private: it would call any two tensors of
 * one dtype and shape equal, and any two graphs. Tensors are equal here if their elements are, bit for bit; graphs and
 * models only to themselves: compare what they compute, or their files.
 */
expect.addEqualityTesters([
  (left: unknown, right: unknown): boolean | undefined => {
    if (left instanceof Tensor && right instanceof Tensor)
      return (
        left.dtype === right.dtype && left.shape.join() === right.shape.join() && sameElements(left, right)
      );
    const areGraphs = [Graph, Model].some((kind) => left instanceof kind && right instanceof kind);
    return areGraphs ? left === right : undefined;
  },
]);

import { expect, it } from 'vitest';
import { Tensor } from './tensor.ts';

it('reads elements that are not aligned in a Node Buffer, whose slice() does not copy', () => {
  const numbers = new Uint8Array(new Float32Array([1.5, -2, 3]).buffer);
  const file = Buffer.alloc(32);
  file.set(numbers, 5);
  const tensor = Tensor.fromBytes('float32', [3], file.subarray(5, 17));
  expect([...tensor.data]).toEqual([1.5, -2, 3]);
});

import { createRng, elementsOf, lazyTensor, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { type AxisCut, sliceSource, sliceTensor } from './slice-tensor.ts';

/** Element by element, by its position: the definition. */
function expected(tensor: Tensor, cuts: readonly AxisCut[]): readonly unknown[] {
  const { shape } = tensor;
  const data = tensor.dtype === 'string' ? (tensor.data as readonly string[]) : tensor.toFloat64Array();
  const kept = shape.map(
    (dim, axis) =>
      cuts.find((cut) => cut.axis === axis)?.kept ?? Array.from({ length: dim }, (_, index) => index),
  );
  const result: unknown[] = [];
  const visit = (axis: number, offset: number): void => {
    if (axis === shape.length) {
      result.push(data[offset]);
      return;
    }
    for (const index of kept[axis] as readonly number[])
      visit(axis + 1, offset * (shape[axis] as number) + index);
  };
  visit(0, 0);
  return result;
}

const values = (tensor: Tensor): readonly unknown[] =>
  tensor.dtype === 'string' ? (tensor.data as readonly string[]) : [...tensor.toFloat64Array()];

describe('sliceTensor', () => {
  it('keeps the elements of the kept indices, for any shape, dtype and axes', () => {
    const rng = createRng(4);
    for (let round = 0; round < 60; round++) {
      const shape = Array.from({ length: 1 + rng.integer(4) }, () => 1 + rng.integer(7));
      const size = elementsOf(shape);
      const numbers = Array.from({ length: size }, (_, index) => index % 120);
      const tensors: readonly Tensor[] = [
        Tensor.from('float32', shape, Float32Array.from(numbers)),
        Tensor.from('int64', shape, BigInt64Array.from(numbers, BigInt)),
        Tensor.from('uint8', shape, Uint8Array.from(numbers)),
        Tensor.from('string', shape, numbers.map(String)),
        Tensor.fromBytes(
          'int4',
          shape,
          Uint8Array.from({ length: (size + 1) >> 1 }, () => rng.integer(256)),
        ),
      ];
      const cuts: AxisCut[] = [];
      shape.forEach((dim, axis) => {
        const kept = Array.from({ length: dim }, (_, index) => index).filter(() => rng.integer(3) > 0);
        if (rng.integer(2) === 0 && kept.length > 0) cuts.push({ axis, kept });
      });
      for (const tensor of tensors) {
        const result = sliceTensor(tensor, cuts);
        expect(result.dtype).toBe(tensor.dtype);
        expect(values(result)).toEqual(expected(tensor, cuts));
      }
    }
  });

  it('copies nothing where a view serves', () => {
    const tensor = Tensor.from('float32', [4, 2], new Float32Array(8));
    const result = sliceTensor(tensor, [{ axis: 0, kept: [1, 2] }]);
    expect(result.bytes.buffer).toBe(tensor.bytes.buffer);
    expect(result.shape).toEqual([2, 2]);
  });
});

describe('sliceSource', () => {
  it('leaves a lazy tensor where it is until it is read', async () => {
    let loads = 0;
    const source = lazyTensor('float32', [3, 2], () => {
      loads++;
      return Tensor.from('float32', [3, 2], Float32Array.of(0, 1, 2, 3, 4, 5));
    });
    const cut = sliceSource(source, [
      { axis: 0, kept: [0, 2] },
      { axis: 1, kept: [1] },
    ]);
    expect([cut.shape, cut.byteLength, loads]).toEqual([[2, 1], 8, 0]);
    expect([...((await cut.load()).data as Float32Array)]).toEqual([1, 5]);
    expect(loads).toBe(1);
  });
});

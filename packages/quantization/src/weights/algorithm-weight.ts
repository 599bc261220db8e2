import { elementsOf, Tensor, type TensorSource } from '@lithe/core';
import { fromRows, type RowForm, toRows } from '../parameters/row-form.ts';
import type { WeightAlgorithm } from '../weight-algorithms/weight-algorithm.ts';
import { float32Data, lazyParts } from './lazy-parts.ts';
import { integerTensor, type WeightSpec } from './quantized-weight.ts';
import { lazyResult, type WeightResult } from './weight-request.ts';
import type { WeightRole } from './weight-role.ts';

/** A stored weight as rows along which its sums run. */
function rowForm(shape: readonly number[], role: WeightRole): RowForm {
  switch (role.kind) {
    case 'rows': {
      const rows = elementsOf(shape.slice(0, role.leading));
      return { matrices: 1, rows, columns: elementsOf(shape.slice(role.leading)), transposed: false };
    }
    case 'columns': {
      const [rows, columns] = shape.slice(-2) as [number, number];
      return { matrices: elementsOf(shape.slice(0, -2)), rows, columns, transposed: true };
    }
    case 'transposed':
      return { matrices: 1, rows: shape[0]!, columns: elementsOf(shape.slice(1)), transposed: true };
  }
}

/** Length of the sums and their number. */
function sumsOf({ matrices, rows, columns, transposed }: RowForm): { length: number; count: number } {
  return transposed
    ? { length: rows, count: matrices * columns }
    : { length: columns, count: matrices * rows };
}

/** Elements of a sum that share a scale: the block of the specification, or the whole sum. */
export function sumBlock(shape: readonly number[], role: WeightRole, spec: WeightSpec): number {
  return spec.view === undefined ? sumsOf(rowForm(shape, role)).length : spec.view[1]!;
}

/** What an algorithm makes of a weight without data, each time it is asked for. */
export function lazyMatrix(
  source: TensorSource,
  role: WeightRole,
  how: { readonly spec: WeightSpec; readonly algorithm: WeightAlgorithm },
): WeightResult {
  const { spec, algorithm } = how;
  const form = rowForm(source.shape, role);
  const { length, count } = sumsOf(form);
  const blockSize = sumBlock(source.shape, role, spec);
  return lazyResult(algorithm, async (signal) => {
    const data = toRows(float32Data(await source.load(signal), spec.what), form);
    const { range, scheme, what } = spec;
    return { data, outputs: count, inputs: length, blockSize, range, scheme, what };
  });
}

/** A result as the tensors that are stored: integers in the view of the specification, scales that broadcast. */
export function algorithmWeight(
  source: TensorSource,
  role: WeightRole,
  how: { readonly spec: WeightSpec; readonly result: WeightResult },
): Readonly<Record<'values' | 'scales', TensorSource>> {
  const { spec, result } = how;
  const { range, view } = spec;
  const form = rowForm(source.shape, role);
  const { length, count } = sumsOf(form);
  const blocks = length / sumBlock(source.shape, role, spec);
  const groups: RowForm = form.transposed ? { ...form, rows: blocks } : { ...form, columns: blocks };
  const shape = view ?? source.shape;
  const scaleShape =
    view === undefined ? channelShape(source.shape, role) : [(count * blocks) / view[2]!, 1, view[2]!];
  return lazyParts(
    { values: { dtype: range.dtype, shape }, scales: { dtype: 'float32', shape: scaleShape } },
    async (signal) => {
      const { levels, parameters } = await result(signal);
      return {
        values: integerTensor(range, shape, fromRows(levels as Int8Array, form)),
        scales: Tensor.from('float32', scaleShape, fromRows(parameters.scales, groups)),
      };
    },
  );
}

/** Scales of whole sums, in a shape that broadcasts against the weight; each matrix of a stack has its own. */
function channelShape(shape: readonly number[], role: WeightRole): readonly number[] {
  switch (role.kind) {
    case 'rows':
      return shape.map((dim, axis) => (axis < role.leading ? dim : 1));
    case 'columns':
      return shape.map((dim, axis) => (axis === shape.length - 2 ? 1 : dim));
    case 'transposed':
      return shape.map((dim, axis) => (axis === 0 ? 1 : dim));
  }
}

import { elementsOf } from '@lithe/core';
import type { GroupWeight } from '../structured/pruning-group.ts';
import type { Criterion } from './criterion.ts';
import { type GroupScoreOptions, scoreWeights } from './magnitude.ts';

/** Rows of a block of the table of products. */
const BLOCK = 32;

/** The elements of a weight, those of each unit side by side. */
function rowsByUnit(weight: GroupWeight, values: Float64Array, units: number): readonly Float64Array[] {
  const { shape } = weight.tensor;
  const outer = elementsOf(shape.slice(0, weight.axis));
  const inner = elementsOf(shape.slice(weight.axis + 1));
  const length = shape[weight.axis] as number;
  const counts = new Int32Array(units);
  const { start, units: unitOf } = weight.span;
  for (const unit of unitOf) if (unit >= 0) counts[unit]!++;
  const rows = Array.from(counts, (count) => new Float64Array(count * outer * inner));
  const filled = new Int32Array(units);
  for (let place = 0; place < unitOf.length; place++) {
    const unit = unitOf[place]!;
    if (unit < 0) continue;
    const row = rows[unit] as Float64Array;
    for (let block = 0; block < outer; block++) {
      const from = (block * length + start + place) * inner;
      row.set(values.subarray(from, from + inner), filled[unit]!);
      filled[unit]! += inner;
    }
  }
  return rows;
}

/** The sum of the distances of each row to all others. Rows of different lengths have none. */
export function distanceSums(rows: readonly Float64Array[]): Float64Array {
  const sums = new Float64Array(rows.length);
  // In blocks, so that the rows of a block stay in the cache.
  for (let from = 0; from < rows.length; from += BLOCK) {
    const end = Math.min(from + BLOCK, rows.length);
    for (let other = from; other < rows.length; other++) {
      const right = rows[other] as Float64Array;
      for (let one = from; one < Math.min(end, other); one++) {
        const left = rows[one] as Float64Array;
        if (left.length !== right.length) continue;
        let square = 0;
        for (let element = 0; element < left.length; element++) {
          const difference = left[element]! - right[element]!;
          square += difference * difference;
        }
        const distance = Math.sqrt(square);
        sums[one]! += distance;
        sums[other]! += distance;
      }
    }
  }
  return sums;
}

/**
 * How far the filters of a unit are from all others of their layer: those near the geometric median are the ones that
 * the others can stand in for. Only weights that make a unit count. Cost is quadratic in the units of a group.
 *
 * @see He, Liu, Wang, Hu and Yang, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
 *   Acceleration", CVPR 2019, equation 4
 */
export function geometricMedian(options: Omit<GroupScoreOptions, 'bias'> = {}): Criterion {
  return {
    name: 'geometric-median',
    needs: [],
    score: (groups, context) =>
      scoreWeights(groups, context, {
        ...options,
        name: 'geometric-median',
        weights: (group) =>
          group.weights.filter(
            (weight) =>
              weight.role === 'weight' && weight.direction === 'out' && weight.tensor.shape.length > 1,
          ),
        each: (weight, values, group) => distanceSums(rowsByUnit(weight, values, group.units)),
      }),
  };
}

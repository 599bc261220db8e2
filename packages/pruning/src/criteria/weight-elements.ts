import { elementsOf, type TensorSource } from '@lithe/core';
import type { GroupWeight } from '../structured/pruning-group.ts';

/**
 * Adds a function of each element of a weight to the unit that the element belongs to.
 *
 * @param values the elements, row-major
 * @param options the number of units, and what is added: |w| (`power: 1`) or w² (`power: 2`)
 */
export function sumByUnit(
  weight: Pick<GroupWeight, 'axis' | 'span'> & { readonly tensor: Pick<TensorSource, 'shape'> },
  values: Float64Array,
  options: { readonly units: number; readonly power: 1 | 2 },
): Float64Array {
  const { shape } = weight.tensor;
  const outer = elementsOf(shape.slice(0, weight.axis));
  const inner = elementsOf(shape.slice(weight.axis + 1));
  const length = shape[weight.axis] as number;
  const sums = new Float64Array(options.units);
  const isSquared = options.power === 2;
  const { start, units } = weight.span;
  for (let block = 0; block < outer; block++) {
    let element = (block * length + start) * inner;
    for (let place = 0; place < units.length; place++) {
      const unit = units[place]!;
      if (unit < 0) {
        element += inner;
        continue;
      }
      let sum = 0;
      for (let offset = 0; offset < inner; offset++, element++) {
        const value = values[element]!;
        sum += isSquared ? value * value : Math.abs(value);
      }
      sums[unit]! += sum;
    }
  }
  return sums;
}

/** Adds a number per index of an axis to the unit that the index belongs to. */
export function gatherByUnit(values: ArrayLike<number>, unitOf: Int32Array, units: number): Float64Array {
  const sums = new Float64Array(units);
  for (let index = 0; index < unitOf.length; index++) {
    const unit = unitOf[index]!;
    if (unit >= 0) sums[unit]! += values[index]!;
  }
  return sums;
}

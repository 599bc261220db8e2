import { quantizeGroups } from '../parameters/kernels.ts';
import { blocksOf, rangeParameters, searchedParameters } from './block-scales.ts';
import type { WeightAlgorithm } from './weight-algorithm.ts';

/** Options of {@link roundToNearest}. */
export interface RoundToNearestOptions {
  /**
   * How a block's scale is found. `range` (default): its whole range, as onnxruntime does. `search`: the share of the
   * range, from 50 % up, with the least squared error; takes about twenty times as long.
   */
  readonly scales?: 'range' | 'search' | undefined;
}

/**
 * Rounds each weight to the nearest integer of its block. Needs no data.
 *
 * @example
 * ```ts
 * import { roundToNearest } from '@lithe/quantization';
 *
 * roundToNearest({ scales: 'search' }).settings; // => { scales: 'search' }
 * ```
 */
export function roundToNearest(options: RoundToNearestOptions = {}): WeightAlgorithm {
  const { scales = 'range' } = options;
  return {
    name: 'rtn',
    settings: { scales },
    needs: 'weights',
    quantize: (matrix) => {
      const parameters = scales === 'search' ? searchedParameters(matrix) : rangeParameters(matrix);
      const { range } = matrix;
      return { levels: quantizeGroups(matrix.data, blocksOf(matrix), { parameters, range }), parameters };
    },
  };
}

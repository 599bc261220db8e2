import type { GroupScheme } from '../parameters/group-parameters.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { toRows } from '../parameters/row-form.ts';
import { roundToNearest } from '../weight-algorithms/round-to-nearest.ts';
import type {
  QuantizedMatrix,
  WeightAlgorithm,
  WeightMatrix,
} from '../weight-algorithms/weight-algorithm.ts';
import { plainTools } from './error-tool.ts';
import { float32Data } from './lazy-parts.ts';
import type { WeightPlan } from './product-plans.ts';

/** A weight and the integers it is to have. */
export interface WeightRequest {
  /** The weight. */
  readonly plan: WeightPlan;
  /** Neighbours along K that share a scale. */
  readonly blockSize: number;
  /** Integers that may be used. */
  readonly range: IntegerRange;
  /** Where the zero point lies. */
  readonly scheme: GroupScheme;
}

/** Gives a weight in integers: computed when it is asked for, or held since it was calibrated. */
export type WeightResult = (signal?: AbortSignal) => Promise<QuantizedMatrix>;

/** A weight as rows along which its sums run. */
export async function matrixOf(
  request: WeightRequest,
  signal: AbortSignal | undefined,
): Promise<WeightMatrix> {
  const { plan, blockSize, range, scheme } = request;
  const { k, n, transposed, source, weight } = plan;
  const what = `weight "${weight.name}"`;
  const data = float32Data(await source.load(signal), what);
  const rows = toRows(data, { matrices: 1, rows: k, columns: n, transposed: !transposed });
  return { data: rows, outputs: n, inputs: k, blockSize, range, scheme, what };
}

/** Weights whose elements are read as they are, not only in sums: what makes up for errors in sums is wrong there. */
export function dataFree(algorithm: WeightAlgorithm): WeightAlgorithm {
  return algorithm.needs === 'weights' && algorithm.scaleInputs === undefined
    ? algorithm
    : roundToNearest({ scales: 'search' });
}

/** A matrix that is quantized, without data, each time it is asked for. */
export function lazyResult(
  algorithm: WeightAlgorithm,
  matrix: (signal: AbortSignal | undefined) => Promise<WeightMatrix>,
): WeightResult {
  return async (signal) => {
    const tools = plainTools(signal ?? new AbortController().signal);
    return algorithm.quantize(await matrix(signal), tools);
  };
}

/** A weight that is quantized each time it is asked for. */
export function lazily(request: WeightRequest, algorithm: WeightAlgorithm): WeightResult {
  return lazyResult(algorithm, (signal) => matrixOf(request, signal));
}

/** How the scores that several weights give a unit become one. */
export type Reduction = 'mean' | 'sum' | 'max' | 'prod' | 'first';

/**
 * How the scores of a group are brought to a scale on which groups compare: `mean`, `sum` and `max` divide by that,
 * `standardization` maps to [0, 1], `gaussian` to mean 0 and deviation 1; `lamp` divides each score by the sum of those
 * that are at least as large (Lee and others, "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021,
 * equation 4).
 */
export type Normalizer = 'none' | 'mean' | 'sum' | 'max' | 'standardization' | 'gaussian' | 'lamp';

/** Names of the reductions. */
export const reductions: readonly Reduction[] = ['mean', 'sum', 'max', 'prod', 'first'];

/** Names of the normalizers. */
export const normalizers: readonly Normalizer[] = [
  'none',
  'mean',
  'sum',
  'max',
  'standardization',
  'gaussian',
  'lamp',
];

/**
 * One score per unit from the scores of several weights.
 *
 * @param parts one list per weight, of one length
 */
export function reduceScores(parts: readonly Float64Array[], reduction: Reduction): Float64Array | undefined {
  const [first, ...others] = parts;
  if (first === undefined) return undefined;
  const result = first.slice();
  if (reduction === 'first') return result;
  for (const part of others) {
    for (let unit = 0; unit < result.length; unit++) {
      const value = part[unit]!;
      if (reduction === 'max') result[unit] = Math.max(result[unit]!, value);
      else if (reduction === 'prod') result[unit]! *= value;
      else result[unit]! += value;
    }
  }
  if (reduction === 'mean') for (let unit = 0; unit < result.length; unit++) result[unit]! /= parts.length;
  return result;
}

/** Brings the scores of a group to a common scale. */
export function normalizeScores(scores: Float64Array, normalizer: Normalizer): Float64Array {
  const sum = scores.reduce((left, right) => left + right, 0);
  const mean = sum / scores.length;
  const tiny = 1e-12;
  switch (normalizer) {
    case 'none':
      return scores.slice();
    case 'mean':
      return scores.map((score) => score / (mean + tiny));
    case 'sum':
      return scores.map((score) => score / (sum + tiny));
    case 'max': {
      const largest = scores.reduce((left, right) => Math.max(left, right), 0);
      return scores.map((score) => score / (largest + tiny));
    }
    case 'standardization': {
      const least = scores.reduce((left, right) => Math.min(left, right), Number.POSITIVE_INFINITY);
      const largest = scores.reduce((left, right) => Math.max(left, right), Number.NEGATIVE_INFINITY);
      return scores.map((score) => (score - least) / (largest - least + tiny));
    }
    case 'gaussian': {
      const variance = scores.reduce((left, score) => left + (score - mean) ** 2, 0) / scores.length;
      const deviation = Math.sqrt(variance) + tiny;
      return scores.map((score) => (score - mean) / deviation);
    }
    case 'lamp':
      return lamp(scores);
  }
}

function lamp(scores: Float64Array): Float64Array {
  const order = Array.from(scores.keys()).sort(
    (left, right) => scores[right]! - scores[left]! || left - right,
  );
  const result = new Float64Array(scores.length);
  let sum = 0;
  for (const unit of order) {
    sum += scores[unit]!;
    result[unit] = sum > 0 ? scores[unit]! / sum : 0;
  }
  return result;
}

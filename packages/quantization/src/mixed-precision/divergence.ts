import { errors, type Tensor } from '@lithe/core';

/**
 * Smallest probability that counts as more than nothing. A runtime that computes a softmax in 8-bit integers gives 0 for
 * classes that the float model gives a little, which would be infinitely far.
 */
const LEAST_PROBABILITY = 1e-7;

/** What rows of an output hold along the last axis: unnormalized log-probabilities, probabilities, or neither. */
export type ScoreKind = 'logits' | 'probabilities' | 'none';

function isDistribution(data: Float32Array, classes: number): boolean {
  for (let start = 0; start < data.length; start += classes) {
    let sum = 0;
    for (let index = start; index < start + classes; index++) {
      const value = data[index]!;
      if (!(value >= 0 && value <= 1)) return false;
      sum += value;
    }
    if (Math.abs(sum - 1) > 1e-3) return false;
  }
  return true;
}

/**
 * What an output holds, from what the float model gave: probabilities where every row is a distribution; logits in
 * tables `[N, C]`, and wherever the caller says so.
 */
export function scoreKindOf(tensor: Tensor, named: boolean): ScoreKind {
  const { shape, dtype } = tensor;
  const classes = shape.at(-1) ?? 0;
  if (dtype !== 'float32' || shape.length < 2 || classes < 2) return 'none';
  if (isDistribution(tensor.data as Float32Array, classes)) return 'probabilities';
  return named || shape.length === 2 ? 'logits' : 'none';
}

/** Logarithms of the probabilities of one row, written to `out`. */
function logProbabilities(data: Float32Array, start: number, kind: ScoreKind, out: Float64Array): void {
  const classes = out.length;
  if (kind === 'probabilities') {
    for (let index = 0; index < classes; index++)
      out[index] = Math.log(Math.max(data[start + index]!, LEAST_PROBABILITY));
    return;
  }
  let most = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < classes; index++) most = Math.max(most, data[start + index]!);
  let sum = 0;
  for (let index = 0; index < classes; index++) sum += Math.exp(data[start + index]! - most);
  const shift = most + Math.log(sum);
  for (let index = 0; index < classes; index++) out[index] = data[start + index]! - shift;
}

/**
 * Sum over the rows of the Kullback-Leibler divergence of the actual class probabilities from the expected ones, in
 * nats. Infinite where a row is not finite.
 *
 * @throws {LitheError} SHAPE_MISMATCH when shapes differ
 */
export function klDivergence(
  expected: Tensor<'float32'>,
  actual: Tensor<'float32'>,
  options: { readonly kind: ScoreKind; readonly name: string },
): { readonly sum: number; readonly rows: number } {
  const { kind, name } = options;
  if (expected.shape.join() !== actual.shape.join())
    throw errors.outputMismatch(
      name,
      `has shape [${actual.shape.join(', ')}], expected [${expected.shape.join(', ')}]`,
    );
  const classes = expected.shape.at(-1) ?? 1;
  const rows = expected.size / classes;
  const p = new Float64Array(classes);
  const q = new Float64Array(classes);
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    logProbabilities(expected.data, row * classes, kind, p);
    logProbabilities(actual.data, row * classes, kind, q);
    let divergence = 0;
    for (let index = 0; index < classes; index++) divergence += Math.exp(p[index]!) * (p[index]! - q[index]!);
    sum += Number.isNaN(divergence) ? Number.POSITIVE_INFINITY : Math.max(0, divergence);
  }
  return { sum, rows };
}

import { type Backend, type Executable, GraphBuilder, Tensor } from '@lithe/core';
import { asymmetricParameters } from '../../parameters/affine.ts';
import { granularity } from '../../parameters/granularity.ts';
import { groupLayout } from '../../parameters/group-layout.ts';
import { groupParameters } from '../../parameters/group-parameters.ts';
import { integerRange } from '../../parameters/integer-range.ts';
import { dequantizeGroups, quantizeGroups } from '../../parameters/kernels.ts';
import { HALF_EVEN } from '../../parameters/rounding.ts';
import type { ChannelExtremes } from './activations.ts';

/** Weights of a group side by side, `[channels, outputs]`, and what its activations are like. */
export interface SmoothProblem {
  /** `[channels, outputs]`. */
  readonly weights: Float32Array<ArrayBuffer>;
  /** Rows of {@link weights}. */
  readonly channels: number;
  /** Columns of {@link weights}. */
  readonly outputs: number;
  /** What scales and ranges follow from. */
  readonly extremes: ChannelExtremes;
  /** What the error is measured on, `[rows, channels]`. */
  readonly rows: Float32Array<ArrayBuffer>;
}

/** Scales below this would blow a channel up that is nearly never used. */
const LEAST = 1e-5;

/** Largest magnitude of each row of a matrix. */
function rowMagnitudes(data: Float32Array, columns: number): Float64Array {
  const found = new Float64Array(data.length / columns);
  for (let row = 0, at = 0; row < found.length; row++) {
    let most = 0;
    for (const end = at + columns; at < end; at++) most = Math.max(most, Math.abs(data[at]!));
    found[row] = most;
  }
  return found;
}

/**
 * Scales of smoothing, `max|X_j|^alpha / max|W_j|^(1 - alpha)`, divided by their geometric mean: a common factor
 * changes no rounding, and without it activations keep their size. Channels without activations or weights keep 1.
 *
 * @see Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", 2023,
 *   equation 4
 */
export function smoothingScales(problem: SmoothProblem, alpha: number): Float64Array {
  const { minimum, maximum } = problem.extremes;
  const weights = rowMagnitudes(problem.weights, problem.outputs);
  let logarithms = 0;
  let used = 0;
  const scales = weights.map((weight, channel) => {
    const reach = Math.max(-minimum[channel]!, maximum[channel]!);
    if (!(reach > 0 && weight > 0 && Number.isFinite(reach))) return Number.NaN;
    const logarithm = alpha * Math.log(reach) - (1 - alpha) * Math.log(weight);
    logarithms += logarithm;
    used++;
    return logarithm;
  });
  const middle = used === 0 ? 0 : logarithms / used;
  return scales.map((logarithm) => {
    if (Number.isNaN(logarithm)) return 1;
    return Math.min(1 / LEAST, Math.max(LEAST, Math.exp(logarithm - middle)));
  });
}

/** Rounds the activations, divided by the scales, as one uint8 scale for the tensor does. */
function roundedRows({ extremes, rows }: SmoothProblem, scales: Float64Array): Float32Array<ArrayBuffer> {
  let [low, high] = [0, 0];
  for (let channel = 0; channel < scales.length; channel++) {
    low = Math.min(low, extremes.minimum[channel]! / scales[channel]!);
    high = Math.max(high, extremes.maximum[channel]! / scales[channel]!);
  }
  const { scale, zeroPoint } = asymmetricParameters(low, high, integerRange('uint8'));
  const out = new Float32Array(rows.length);
  for (let at = 0, channel = 0; at < out.length; at++) {
    const level = rows[at]! / (scales[channel]! * scale) + HALF_EVEN - HALF_EVEN + zeroPoint;
    out[at] = (Math.min(255, Math.max(0, level)) - zeroPoint) * scale;
    channel = channel + 1 === scales.length ? 0 : channel + 1;
  }
  return out;
}

/** Rounds the weights, multiplied by the scales, as one int8 scale per output channel does. */
function roundedWeights(problem: SmoothProblem, scales: Float64Array): Float32Array<ArrayBuffer> {
  const { weights, channels, outputs } = problem;
  const scaled = new Float32Array(weights.length);
  for (let row = 0, at = 0; row < channels; row++)
    for (let column = 0; column < outputs; column++, at++) scaled[at] = weights[at]! * scales[row]!;
  const layout = groupLayout([channels, outputs], granularity.perChannel(1));
  const range = integerRange('int8', { extent: 'narrow' });
  const parameters = groupParameters(scaled, layout, {
    range,
    scheme: 'symmetric',
    what: 'a smoothed weight',
  });
  return new Float32Array(
    dequantizeGroups(quantizeGroups(scaled, layout, { parameters, range }), layout, parameters),
  );
}

/** Computes the squared error of a product for one choice of scales. */
export interface SmoothJudge extends AsyncDisposable {
  /** Sum of squares of the product of what float gives, less what integers give. */
  error(problem: SmoothProblem, scales: Float64Array | undefined): Promise<number>;
}

/** Makes a judge: one small graph that takes matrices of any size. */
export async function smoothJudge(backend: Backend, signal: AbortSignal): Promise<SmoothJudge> {
  const b = new GraphBuilder('smooth_error');
  const [x, w] = [
    b.input('x', 'float32', ['rows', 'channels']),
    b.input('w', 'float32', ['channels', 'outputs']),
  ];
  const y = b.input('y', 'float32', ['rows', 'outputs']);
  const product = b.op.MatMul([x, w]);
  b.output('product', product);
  b.output('error', b.op.ReduceSumSquare([b.op.Sub([product, y])], { keepdims: false }));
  const executable: Executable = await backend.compile(await b.build(), { signal });
  const products = new WeakMap<SmoothProblem, Tensor>();
  const feeds = (
    problem: SmoothProblem,
    rows: Float32Array<ArrayBuffer>,
    weights: Float32Array<ArrayBuffer>,
  ) => ({
    x: Tensor.from('float32', [rows.length / problem.channels, problem.channels], rows),
    w: Tensor.from('float32', [problem.channels, problem.outputs], weights),
  });
  const expected = async (problem: SmoothProblem): Promise<Tensor> => {
    const known = products.get(problem);
    if (known !== undefined) return known;
    const { rows } = problem;
    const zeros = new Float32Array((rows.length / problem.channels) * problem.outputs);
    const results = await executable.run(
      {
        ...feeds(problem, rows, problem.weights),
        y: Tensor.from('float32', [rows.length / problem.channels, problem.outputs], zeros),
      },
      { signal, outputs: ['product'] },
    );
    const found = results['product'] as Tensor;
    products.set(problem, found);
    return found;
  };
  return {
    error: async (problem, scales) => {
      const ones = scales ?? new Float64Array(problem.channels).fill(1);
      const inputs = feeds(problem, roundedRows(problem, ones), roundedWeights(problem, ones));
      const results = await executable.run(
        { ...inputs, y: await expected(problem) },
        { signal, outputs: ['error'] },
      );
      return (results['error'] as Tensor<'float32'>).data[0] ?? Number.NaN;
    },
    [Symbol.asyncDispose]: () => executable.dispose(),
  };
}

/** A choice of alpha. */
export interface ChosenAlpha {
  /** The exponent; `undefined` where no smoothing is best. */
  readonly alpha: number | undefined;
  /** Error without smoothing. */
  readonly before: number;
  /** Error with it. */
  readonly after: number;
}

/** Tries every exponent and takes the one with the least error of the layer's result. */
export async function searchAlpha(
  judge: SmoothJudge,
  problem: SmoothProblem,
  alphas: readonly number[],
): Promise<ChosenAlpha> {
  const before = await judge.error(problem, undefined);
  let best: ChosenAlpha = { alpha: undefined, before, after: before };
  for (const alpha of alphas) {
    const after = await judge.error(problem, smoothingScales(problem, alpha));
    if (after < best.after) best = { alpha, before, after };
  }
  return best;
}

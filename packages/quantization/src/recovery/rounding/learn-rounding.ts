import { type Backend, type Feeds, type Rng, type RunContext, Tensor } from '@lithe/core';
import { GAMMA, type RoundingProblem, roundingError, roundingStep, ZETA } from './rounding-graph.ts';
import type { LayerRows } from './rows.ts';

/** How rounding is learned. */
export interface LearnOptions {
  /** Steps. */
  readonly iterations: number;
  /** Rows of a step. */
  readonly batchRows: number;
  /** Adam's learning rate. */
  readonly learningRate: number;
  /** Weight of the regularizer. */
  readonly regularization: number;
  /** Exponent of the regularizer, from the end of the warm start to the last step. */
  readonly beta: readonly [number, number];
  /** Share of the steps before the regularizer sets in. */
  readonly warmStart: number;
}

/** What runs it. */
export interface LearnRun {
  /** Runs the graphs. */
  readonly backend: Backend;
  /** Which rows a step sees. */
  readonly rng: Rng;
  /** Progress and cancellation. */
  readonly context: RunContext;
  /** Names the layer in progress events. */
  readonly label: string;
}

/** Result of {@link learnRounding}. */
export interface LearnedRounding {
  /** Each weight over its scale, `[groups, outputs, length]`: whole numbers. */
  readonly levels: Float32Array;
  /** Mean squared error on rows held out, rounded to nearest. */
  readonly nearest: number;
  /** The same, rounded as learned. */
  readonly learned: number;
}

/** Share of rows that only judge the result. */
const HELD_OUT = 0.125;

/** Rows `[start, end)` of a problem. */
export function rowsOf(
  problem: Omit<RoundingProblem, 'rows' | 'inputs' | 'targets'>,
  rows: LayerRows,
  [start, end]: readonly [number, number],
): RoundingProblem {
  const { groups, outputs, length } = problem.sizes;
  const count = end - start;
  const take = (data: Float32Array, width: number): Float32Array<ArrayBuffer> => {
    const out = new Float32Array(groups * count * width);
    for (let group = 0; group < groups; group++) {
      const from = (group * rows.capacity + start) * width;
      out.set(data.subarray(from, from + count * width), group * count * width);
    }
    return out;
  };
  return { ...problem, rows: count, inputs: take(rows.inputs, length), targets: take(rows.targets, outputs) };
}

/** Where V starts: the soft rounding that leaves each weight as it is. */
function startOf(weights: Float32Array, problem: RoundingProblem): Float32Array<ArrayBuffer> {
  const v = new Float32Array(weights.length);
  for (let index = 0; index < v.length; index++) {
    const rest = weights[index]! / problem.scales[index]! - problem.floors[index]!;
    const share = Math.min(0.999, Math.max(0.001, (rest - GAMMA) / (ZETA - GAMMA)));
    v[index] = Math.log(share / (1 - share));
  }
  return v;
}

function expand(levels: Float32Array, problem: RoundingProblem): Float32Array<ArrayBuffer> {
  const [low, high] = problem.bounds;
  return Float32Array.from(
    levels,
    (level, index) => Math.min(high, Math.max(low, level)) * problem.scales[index]!,
  );
}

/**
 * Learns for each weight of a layer whether it is rounded up or down, so that the layer's result on real rows comes
 * closest to the float layer's: a step is one run of a graph whose state stays in the runtime. Rows held out decide
 * whether the result is better than rounding to nearest.
 *
 * @param weights float weights, `[groups, outputs, length]`
 * @see Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020, section 3.3
 */
export async function learnRounding(
  weights: Float32Array,
  rows: LayerRows,
  problem: Omit<RoundingProblem, 'rows' | 'inputs' | 'targets'>,
  work: { readonly options: LearnOptions; readonly run: LearnRun },
): Promise<LearnedRounding> {
  const { options, run } = work;
  const { signal } = run.context;
  const split = Math.max(1, Math.floor(rows.count * (1 - HELD_OUT)));
  const training = rowsOf(problem, rows, [0, split]);
  const judging = rowsOf(problem, rows, split < rows.count ? [split, rows.count] : [0, split]);
  const nearestLevels = Float32Array.from(weights, (weight, index) =>
    Math.round(weight / problem.scales[index]!),
  );
  const judge = await run.backend.compile(await roundingError(judging), { signal });
  try {
    const errorOf = async (levels: Float32Array): Promise<readonly [number, number]> => {
      const { groups, outputs, length } = problem.sizes;
      const weight = Tensor.from('float32', [groups, outputs, length], expand(levels, judging));
      const results = await judge.run({ weight }, { signal });
      return ['error', 'gradient'].map((name) => (results[name] as Tensor<'float32'>).data[0] ?? 0) as [
        number,
        number,
      ];
    };
    const [nearest, gradient] = await errorOf(nearestLevels);
    const v = await descend(startOf(weights, training), training, { options, run, gradient });
    const levels = Float32Array.from(v, (value, index) => training.floors[index]! + (value >= 0 ? 1 : 0));
    const [learned] = await errorOf(levels);
    return { levels: learned < nearest ? levels : nearestLevels, nearest, learned };
  } finally {
    await judge.dispose();
  }
}

/** The regularizer's exponent at a share of the way behind the warm start: a half cosine from the first to the last. */
function exponent([first, last]: readonly [number, number], share: number): number {
  return last + 0.5 * (first - last) * (1 + Math.cos(share * Math.PI));
}

async function descend(
  start: Float32Array<ArrayBuffer>,
  problem: RoundingProblem,
  work: { readonly options: LearnOptions; readonly run: LearnRun; readonly gradient: number },
): Promise<Float32Array> {
  const { options, run } = work;
  const { signal } = run.context;
  const { iterations, learningRate, warmStart } = options;
  const { groups, outputs, length } = problem.sizes;
  const shape = [groups, outputs, length];
  const batch = Math.min(options.batchRows, problem.rows);
  const zero = (): Tensor => Tensor.from('float32', shape, new Float32Array(start.length));
  const state = [
    { input: 'v', output: 'v_next', initial: Tensor.from('float32', shape, start) },
    { input: 'first', output: 'first_next', initial: zero() },
    { input: 'second', output: 'second_next', initial: zero() },
  ];
  const executable = await run.backend.compile(await roundingStep(problem, batch), { signal, state });
  const scalar = (value: number): Tensor => Tensor.from('float32', [], Float32Array.of(value));
  const factor = work.gradient > 0 ? GRADIENT / work.gradient : 1;
  try {
    for (let iteration = 0; iteration < iterations; iteration++) {
      signal.throwIfAborted();
      const picked = BigInt64Array.from({ length: batch }, () => BigInt(run.rng.integer(problem.rows)));
      const share = (iteration / iterations - warmStart) / (1 - warmStart);
      const feeds: Feeds = {
        rows: Tensor.from('int64', [batch], picked),
        beta: scalar(exponent(options.beta, Math.max(0, share))),
        weight: scalar(share < 0 ? 0 : options.regularization),
        step: scalar(learningRate / (1 - 0.9 ** (iteration + 1))),
        correction: scalar(1 / (1 - 0.999 ** (iteration + 1))),
        reconstruction: scalar(factor),
      };
      await executable.run(feeds, { signal, outputs: ['error'] });
      if (iteration % 100 === 99)
        run.context.progress({
          task: 'adaptive rounding',
          done: iteration + 1,
          total: iterations,
          label: run.label,
        });
    }
    const { v } = await executable.readState(['v']);
    return (v as Tensor<'float32'>).data;
  } finally {
    await executable.dispose();
  }
}

/**
 * What the root mean square of the error's gradient is brought to, beside a regularizer of weight 0.01. The paper's loss
 * depends on the scale of the activations; the same balance for every layer does not.
 */
const GRADIENT = 0.02;

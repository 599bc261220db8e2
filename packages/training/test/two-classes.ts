import { arrayDataset, type Model, type OptimizeOptions, optimize, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { mlp, type TrainingOptions, train } from '../src/index.ts';

/** How many points there are. */
export const SAMPLES = 64;

/** Points of two classes, apart by the sign of the sum of their numbers. */
export const points = Float32Array.from({ length: SAMPLES * 2 }, (_, at) => Math.sin(at * 12.9898) * 2);
/** The class of each point. */
export const classes = Array.from({ length: SAMPLES }, (_, at) =>
  (points[2 * at] ?? 0) + (points[2 * at + 1] ?? 0) > 0 ? 1 : 0,
);
/** Input of the network, `[SAMPLES, 2]`. */
export const x = Tensor.from('float32', [SAMPLES, 2], points);
/** Target, `[SAMPLES]`. */
export const label = Tensor.from('int64', [SAMPLES], BigInt64Array.from(classes, BigInt));
/** Points and classes as training data. */
export const samples = arrayDataset({ inputs: { x }, targets: { label } });

/** A network of one hidden layer, with input `x` and output `logits`. */
export const small = (): Promise<Model> => mlp({ inputs: 2, hidden: [8], classes: 2 });

/** A short training. */
export const basic: TrainingOptions = { epochs: 3, batchSize: 16, learningRate: 0.05 };

/** Runs the pass on the small network. */
export async function run(
  options: object,
  more: OptimizeOptions = {},
): Promise<Awaited<ReturnType<typeof optimize>>> {
  return await optimize(await small(), [train.from(options)], {
    backend: referenceBackend(),
    trainingData: samples,
    seed: 1,
    ...more,
  });
}

/** A weight of a model, by name. */
export const weightOf = async (model: Model, name: string): Promise<readonly number[]> => [
  ...((await model.graph.value(name)?.initializer?.load())?.toFloat64Array() ?? []),
];

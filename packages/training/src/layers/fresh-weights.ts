import { createRng, inferShapes, type Model, type Rng, Tensor, type Value } from '@lithe/core';
import { promoteConstants } from '../step/promote-constants.ts';
import { findWeights } from '../step/weights.ts';
import {
  filledWith,
  type Initializer,
  kaimingNormal,
  orthogonal,
  truncatedNormal,
  type WeightRequest,
  xavierNormal,
} from './initializer.ts';
import { layeredValues, type WeightRole, type WeightUse, weightUse } from './weight-role.ts';

/** How {@link freshWeights} draws. */
export interface FreshWeightsOptions {
  /** Seed of the weights; 0 by default. */
  readonly seed?: number | undefined;
  /** Randomness instead of a seed. Each weight has a stream of its own, by its name. */
  readonly rng?: Rng | undefined;
  /** Initializers instead of the usual ones, by role. */
  readonly initializers?: Readonly<Partial<Record<WeightRole, Initializer>>> | undefined;
}

/** A weight that was drawn. */
export interface FreshWeight {
  /** Name of the weight. */
  readonly name: string;
  /** What it is to the operator that reads it. */
  readonly role: WeightRole | 'statistic';
}

/** What {@link freshWeights} did. */
export interface FreshWeights {
  /** Weights that were drawn. */
  readonly drawn: readonly FreshWeight[];
  /** Weights that keep their value, and why. */
  readonly left: readonly {
    /** Name of the weight. */
    readonly name: string;
    /** Why, as a clause. */
    readonly reason: string;
  }[];
}

/**
 * Gives a model the weights it could have had before any training, in place: what "trained from scratch" starts from,
 * the control of every pruned or distilled model. Kernels and layers before a rectifier are drawn as
 * {@link kaimingNormal}, other matrices as {@link xavierNormal}, tables of embeddings and positions as
 * {@link truncatedNormal}, states of recurrent layers as {@link orthogonal} gate by gate (the gate that forgets of an
 * LSTM starts at 1); biases and shifts are 0, scales 1, slopes 0.25, and batch normalization has mean 0 and variance 1.
 *
 * What is no weight of the training step is not touched: single numbers, masks, scales of quantization; nor are
 * vectors before the first layer, which bring inputs into form.
 *
 * @param model is changed; shapes are inferred
 * @example
 * ```ts
 * import { cnn, freshWeights } from '@lithe/training';
 *
 * const model = (await cnn({ seed: 1 })).clone();
 * const { drawn, left } = await freshWeights(model, { seed: 2 });
 * [drawn.length, left.length]; // => [8, 0]
 * ```
 */
export async function freshWeights(model: Model, options: FreshWeightsOptions = {}): Promise<FreshWeights> {
  const { graph } = model;
  const rng = options.rng ?? createRng(options.seed ?? 0);
  promoteConstants(graph);
  await inferShapes(model);
  const layered = layeredValues(graph.nodes());
  const drawn: FreshWeight[] = [];
  const left: { name: string; reason: string }[] = [];
  // All uses are looked at before anything changes.
  const found = (await findWeights(graph)).map((value) => ({ value, use: weightUse(value, layered) }));
  for (const { value, use } of found) {
    const { name, dtype } = value;
    if (use === undefined) {
      left.push({ name, reason: 'how it is used does not tell how it begins' });
    } else if (dtype !== 'float32') {
      left.push({ name, reason: `it is ${dtype}, not float32` });
    } else {
      graph.setInitializer(value, draw(value, use, { rng: rng.fork(name), own: options.initializers }));
      drawn.push({ name, role: use.role });
    }
  }
  const statistics = resetStatistics(model);
  return { drawn: [...drawn, ...statistics.drawn], left: [...left, ...statistics.left] };
}

function resetStatistics({ graph }: Model): FreshWeights {
  const drawn: FreshWeight[] = [];
  const left: { name: string; reason: string }[] = [];
  for (const node of graph.nodes()) {
    if (!node.is('BatchNormalization')) continue;
    for (const [index, first] of [
      [3, 0],
      [4, 1],
    ] as const) {
      const value = node.input(index);
      if (value === null) continue;
      const { name, initializer } = value;
      if (initializer?.dtype !== 'float32') {
        const reason =
          initializer === undefined ? 'it is computed' : `it is ${initializer.dtype}, not float32`;
        left.push({ name, reason });
        continue;
      }
      graph.setInitializer(value, filledWith(first)(request(initializer.shape, createRng(0))));
      drawn.push({ name, role: 'statistic' });
    }
  }
  return { drawn, left };
}

const request = (shape: readonly number[], rng: Rng): WeightRequest => ({ shape, fanIn: 1, fanOut: 1, rng });

function draw(
  value: Value,
  use: WeightUse,
  { rng, own }: { readonly rng: Rng; readonly own: FreshWeightsOptions['initializers'] },
): Tensor {
  const shape = value.initializer?.shape ?? [];
  const { role, fanIn, fanOut } = use;
  const wanted = { shape, fanIn, fanOut, rng };
  const given = own?.[role];
  if (given !== undefined) return given(wanted);
  switch (role) {
    case 'kernel':
      return kaimingNormal()(wanted);
    case 'matrix':
      return (use.rectified ? kaimingNormal() : xavierNormal())(wanted);
    case 'recurrent-input':
      return xavierNormal()(wanted);
    case 'recurrent-state':
      return orthogonalGates(wanted);
    case 'table':
      return truncatedNormal()(wanted);
    case 'scale':
      return filledWith(1)(wanted);
    case 'slope':
      return filledWith(0.25)(wanted);
    case 'shift':
      return use.node.is('LSTM') && value === use.node.input(3) ? forgetBias(shape) : filledWith(0)(wanted);
  }
}

/** An orthogonal matrix for each direction and gate of `[directions, gates * hidden, hidden]`. */
function orthogonalGates(wanted: WeightRequest): Tensor<'float32'> {
  const [directions = 1, rows = 1, hidden = 1] = wanted.shape;
  const values = new Float32Array(directions * rows * hidden);
  const make = orthogonal();
  const size = hidden * hidden;
  for (let start = 0; start + size <= values.length; start += size)
    values.set(make({ ...wanted, shape: [hidden, hidden] }).data, start);
  return Tensor.from('float32', wanted.shape, values);
}

/** Zeros, and 1 for the gate that forgets (Jozefowicz et al., 2015): the third of `i, o, f, c` in the first half. */
function forgetBias(shape: readonly number[]): Tensor<'float32'> {
  const [directions = 1, length = 8] = shape;
  const hidden = length / 8;
  const values = new Float32Array(directions * length);
  for (let direction = 0; direction < directions; direction++) {
    const start = direction * length + 2 * hidden;
    values.fill(1, start, start + hidden);
  }
  return Tensor.from('float32', shape, values);
}

import type { Rng } from '../../context/rng.ts';
import { attr } from '../../op/attributes.ts';
import type { DType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { outputType } from './numeric.ts';

/** The stream a node draws from: one of its own by `seed`, or the run's. */
function streamOf(context: KernelContext): Rng {
  const { seed } = context.attributes({ seed: attr.optionalFloat() });
  return seed === undefined ? context.rng : context.rng.fork(`${context.node.op}:${seed}`);
}

function drawn(context: KernelContext, dtype: DType, shape: readonly number[], draw: () => number): Tensor {
  const values = new Float64Array(context.guard(dtype, shape));
  for (let index = 0; index < values.length; index++) values[index] = draw();
  return fromNumbers(dtype, shape, values);
}

const distributions = {
  /** Uniform between `low` and `high`. */
  uniform: (context: KernelContext): (() => number) => {
    const { low, high } = context.attributes({ low: attr.float(0), high: attr.float(1) });
    const rng = streamOf(context);
    return () => low + (high - low) * rng.next();
  },
  /** Normal with `mean` and `scale`. */
  normal: (context: KernelContext): (() => number) => {
    const { mean, scale } = context.attributes({ mean: attr.float(0), scale: attr.float(1) });
    const rng = streamOf(context);
    return () => mean + scale * rng.normal();
  },
} as const;

/** ONNX `RandomUniform`, `RandomNormal` (opset 1): of the shape in an attribute. */
function random(kind: keyof typeof distributions): ReferenceKernel {
  return (context) => {
    const { dtype, shape } = context.attributes({ dtype: attr.optionalInt(), shape: attr.requiredInts() });
    return [drawn(context, outputType(context, dtype, 'float32'), shape, distributions[kind](context))];
  };
}

/** ONNX `RandomUniformLike`, `RandomNormalLike` (opset 1): of the shape of the input. */
function randomLike(kind: keyof typeof distributions): ReferenceKernel {
  return (context) => {
    const { dtype } = context.attributes({ dtype: attr.optionalInt() });
    const input = context.tensor(0);
    return [
      drawn(context, outputType(context, dtype, input.dtype), input.shape, distributions[kind](context)),
    ];
  };
}

/** ONNX `Bernoulli` (opset 15): 1 with the probability that the input gives, else 0. */
const bernoulli: ReferenceKernel = (context) => {
  const { dtype } = context.attributes({ dtype: attr.optionalInt() });
  const input = context.tensor(0);
  const rng = streamOf(context);
  const values = input.toFloat64Array();
  for (let index = 0; index < values.length; index++) values[index] = rng.next() < values[index]! ? 1 : 0;
  return [fromNumbers(outputType(context, dtype, input.dtype), input.shape, values)];
};

/** ONNX `Multinomial` (opset 7): class indices drawn by unnormalized log-probabilities `[batch, classes]`. */
const multinomial: ReferenceKernel = (context) => {
  const { dtype, sample_size: samples } = context.attributes({
    dtype: attr.optionalInt(),
    sample_size: attr.int(1),
  });
  const input = context.tensor(0);
  if (input.shape.length !== 2) context.fail(`the input has ${input.shape.length} axes, not 2`);
  const [batch, classes] = input.shape as [number, number];
  const scores = input.toFloat64Array();
  const rng = streamOf(context);
  const to = outputType(context, dtype, 'int32');
  const values = new Float64Array(context.guard(to, [batch, samples]));
  for (let index = 0; index < values.length; index++) {
    const row = scores.subarray(
      Math.floor(index / samples) * classes,
      (Math.floor(index / samples) + 1) * classes,
    );
    const largest = row.reduce((left, right) => Math.max(left, right), Number.NEGATIVE_INFINITY);
    let rest = rng.next() * row.reduce((sum, score) => sum + Math.exp(score - largest), 0);
    let chosen = 0;
    while (chosen < classes - 1) {
      rest -= Math.exp(row[chosen]! - largest);
      if (rest < 0) break;
      chosen++;
    }
    values[index] = chosen;
  }
  return [fromNumbers(to, [batch, samples], values)];
};

/**
 * ONNX `Dropout` (opset 13): in training mode each element stays with probability `1 - ratio`, scaled by its
 * inverse (Srivastava et al., 2014); otherwise nothing happens.
 */
const dropout: ReferenceKernel = (context) => {
  const { seed } = context.attributes({ seed: attr.optionalInt() });
  const input = context.tensor(0);
  const ratio = context.optional(1)?.toFloat64Array()[0] ?? 0.5;
  const training = context.optional(2)?.toFloat64Array()[0] === 1;
  const mask = new Uint8Array(input.size).fill(1);
  if (!training || ratio === 0) return [input, Tensor.from('bool', input.shape, mask)];
  if (!(ratio > 0 && ratio < 1)) context.fail(`ratio is ${ratio}, outside [0, 1)`);
  const rng = seed === undefined ? context.rng : context.rng.fork(`Dropout:${seed}`);
  const values = input.toFloat64Array();
  for (let index = 0; index < values.length; index++) {
    mask[index] = rng.next() < ratio ? 0 : 1;
    values[index] = mask[index] === 0 ? 0 : values[index]! / (1 - ratio);
  }
  return [fromNumbers(input.dtype, input.shape, values), Tensor.from('bool', input.shape, mask)];
};

/** Operators that draw numbers: `ai.onnx`. */
export const randomKernels: KernelTable = {
  Bernoulli: bernoulli,
  Dropout: dropout,
  Multinomial: multinomial,
  RandomNormal: random('normal'),
  RandomNormalLike: randomLike('normal'),
  RandomUniform: random('uniform'),
  RandomUniformLike: randomLike('uniform'),
};

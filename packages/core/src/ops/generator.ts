import { addDims, maxDims, subtractDims } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { type DType, elementsOf, isFloat } from '../tensor/dtype.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import { type AnyInferContext, dtypeOf, MAX_KNOWN, requireRank, staticShape, unknownDims } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';
import { lengthOf } from './shape.ts';

/** Schemas of the operators that make constants, sequences of numbers and random values. */
export const generatorSchemas = {
  Bernoulli: {
    since: 15,
    deterministic: false,
    inputs: 'input:T1',
    outputs: 'output:T2',
    types: { T1: 'float', T2: 'number bool' },
    attributes: { dtype: 'int?', seed: 'float?' },
  },
  BlackmanWindow: {
    since: 17,
    inputs: 'size:T1',
    outputs: 'output:T2',
    types: { T1: 'int32 int64', T2: 'number' },
    attributes: { output_datatype: ['int', 1], periodic: ['flag', true] },
  },
  Constant: {
    since: 21,
    inputs: '',
    outputs: 'output:T',
    types: { T: 'any float8 fourbit' },
    attributes: {
      sparse_value: 'sparse?',
      value: 'tensor?',
      value_float: 'float?',
      value_floats: 'floats?',
      value_int: 'int?',
      value_ints: 'ints?',
      value_string: 'string?',
      value_strings: 'strings?',
    },
  },
  ConstantOfShape: {
    since: 21,
    inputs: 'input:T1',
    outputs: 'output:T2',
    types: { T1: 'int64', T2: 'number float8 fourbit bool' },
    attributes: { value: 'tensor?' },
  },
  EyeLike: {
    since: 9,
    inputs: 'input:T1',
    outputs: 'output:T2',
    types: { T1: 'float int bool', T2: 'float int bool' },
    attributes: { dtype: 'int?', k: ['int', 0] },
  },
  HammingWindow: {
    since: 17,
    inputs: 'size:T1',
    outputs: 'output:T2',
    types: { T1: 'int32 int64', T2: 'number' },
    attributes: { output_datatype: ['int', 1], periodic: ['flag', true] },
  },
  HannWindow: {
    since: 17,
    inputs: 'size:T1',
    outputs: 'output:T2',
    types: { T1: 'int32 int64', T2: 'number' },
    attributes: { output_datatype: ['int', 1], periodic: ['flag', true] },
  },
  MelWeightMatrix: {
    since: 17,
    inputs: 'num_mel_bins:T1 dft_length:T1 sample_rate:T1 lower_edge_hertz:T2 upper_edge_hertz:T2',
    outputs: 'output:T3',
    types: { T1: 'int32 int64', T2: 'float bfloat16', T3: 'number' },
    attributes: { output_datatype: ['int', 1] },
  },
  Multinomial: {
    since: 7,
    deterministic: false,
    inputs: 'input:T1',
    outputs: 'output:T2',
    types: { T1: 'float', T2: 'int32 int64' },
    attributes: { dtype: ['int', 6], sample_size: ['int', 1], seed: 'float?' },
  },
  RandomNormal: {
    since: 1,
    deterministic: false,
    inputs: '',
    outputs: 'output:T',
    types: { T: 'float' },
    attributes: {
      dtype: ['int', 1],
      mean: ['float', 0],
      scale: ['float', 1],
      seed: 'float?',
      shape: 'ints!',
    },
  },
  RandomNormalLike: {
    since: 1,
    deterministic: false,
    inputs: 'input:T1',
    outputs: 'output:T2',
    types: { T1: 'float int complex bool string', T2: 'float' },
    attributes: { dtype: 'int?', mean: ['float', 0], scale: ['float', 1], seed: 'float?' },
  },
  RandomUniform: {
    since: 1,
    deterministic: false,
    inputs: '',
    outputs: 'output:T',
    types: { T: 'float' },
    attributes: { dtype: ['int', 1], high: ['float', 1], low: ['float', 0], seed: 'float?', shape: 'ints!' },
  },
  RandomUniformLike: {
    since: 1,
    deterministic: false,
    inputs: 'input:T1',
    outputs: 'output:T2',
    types: { T1: 'float int complex bool string', T2: 'float' },
    attributes: { dtype: 'int?', high: ['float', 1], low: ['float', 0], seed: 'float?' },
  },
  Range: {
    since: 11,
    inputs: 'start:T limit:T delta:T',
    outputs: 'output:T',
    types: { T: 'float32 float64 int16 int32 int64' },
  },
} as const;

function inferConstant(context: AnyInferContext): void {
  for (const name of [
    'value',
    'value_float',
    'value_floats',
    'value_int',
    'value_ints',
    'value_string',
    'value_strings',
  ]) {
    const item = context.attribute(name);
    if (item === undefined) continue;
    switch (item.kind) {
      case 'tensor':
        context.output(0, item.value.dtype, item.value.shape);
        tellElements(context, item.value);
        return;
      case 'float':
        context.output(0, 'float32', []);
        context.outputSizes(0, [item.value]);
        return;
      case 'floats':
        context.output(0, 'float32', [item.value.length]);
        context.outputSizes(0, item.value);
        return;
      case 'int':
        context.output(0, 'int64', []);
        context.outputSizes(0, [Number(item.value)]);
        return;
      case 'ints':
        context.output(0, 'int64', [item.value.length]);
        context.outputSizes(0, item.value.map(Number));
        return;
      case 'string':
        context.output(0, 'string', []);
        return;
      case 'strings':
        context.output(0, 'string', [item.value.length]);
        return;
      default:
        context.fail(`attribute "${name}" is of kind "${item.kind}"`);
    }
  }
  if (context.attribute('sparse_value') === undefined) context.fail('holds no value');
}

function tellElements(context: AnyInferContext, source: TensorSource): void {
  const tensor = context.loaded(source);
  if (tensor !== undefined && tensor.dtype !== 'string') context.outputSizes(0, [...tensor.toFloat64Array()]);
}

function inferConstantOfShape(context: InferContext<{ readonly value: TensorSource | undefined }>): void {
  const { value } = context.attributes;
  const dtype: DType = value?.dtype ?? 'float32';
  const rank = lengthOf(context, 0);
  const known = context.sizes(0) ?? (rank === 0 ? [] : undefined);
  const shape = known ?? (rank === undefined ? undefined : unknownDims(rank));
  context.output(0, dtype, shape);
  const dims = staticShape(shape);
  const fill = value === undefined ? [0] : context.loaded(value)?.toFloat64Array();
  const [first] = fill ?? [];
  if (dims === undefined || first === undefined || elementsOf(dims) > MAX_KNOWN) return;
  context.outputSizes(0, new Array<Dim>(elementsOf(dims)).fill(first));
}

function inferEyeLike(context: InferContext<{ readonly dtype: number | undefined }>): void {
  context.output(
    0,
    dtypeOf(context, context.attributes.dtype) ?? context.dtype(0),
    requireRank(context, 0, 2, true),
  );
}

function inferRange(context: AnyInferContext): void {
  const [start = null, limit = null, delta = null] = [0, 1, 2].map(
    (index) => context.sizes(index)?.[0] ?? null,
  );
  const dtype = context.dtype(0);
  if (delta === 0) context.fail('delta must not be 0');
  if (typeof start === 'number' && typeof limit === 'number' && typeof delta === 'number') {
    const count = Math.max(0, Math.ceil((limit - start) / delta));
    context.output(0, undefined, [
      Number.isSafeInteger(count) ? count : context.fail(`${count} elements are too many`),
    ]);
    if (count > MAX_KNOWN || dtype === undefined || isFloat(dtype)) return;
    context.outputSizes(
      0,
      Array.from({ length: count }, (_, index) => start + index * delta),
    );
    return;
  }
  // A float range over symbols can not be counted exactly.
  const isWhole = dtype !== undefined && !isFloat(dtype);
  const count = isWhole && delta === 1 ? maxDims(subtractDims(limit, start), 0) : null;
  context.output(0, undefined, [count ?? context.freshDim('range')]);
}

interface RandomAttributes {
  readonly dtype: number | undefined;
}

function inferRandomLike(context: InferContext<RandomAttributes>): void {
  context.output(0, dtypeOf(context, context.attributes.dtype) ?? context.dtype(0), context.shape(0));
}

function inferRandom(
  context: InferContext<{ readonly dtype: number; readonly shape: readonly number[] }>,
): void {
  context.output(0, dtypeOf(context, context.attributes.dtype), context.attributes.shape);
}

function inferMultinomial(
  context: InferContext<{ readonly dtype: number; readonly sample_size: number }>,
): void {
  const data = requireRank(context, 0, 2, true);
  context.output(0, dtypeOf(context, context.attributes.dtype), [
    data?.[0] ?? null,
    context.attributes.sample_size,
  ]);
}

function inferWindow(context: InferContext<{ readonly output_datatype: number }>): void {
  context.output(0, dtypeOf(context, context.attributes.output_datatype), [context.sizes(0)?.[0] ?? null]);
}

function inferMelWeightMatrix(context: InferContext<{ readonly output_datatype: number }>): void {
  const bins = context.sizes(0)?.[0] ?? null;
  const length = context.sizes(1)?.[0] ?? null;
  const spectrum = typeof length === 'number' ? addDims(Math.floor(length / 2), 1) : null;
  context.output(0, dtypeOf(context, context.attributes.output_datatype), [spectrum, bins]);
}

/** Definitions of the operators that make constants, sequences of numbers and random values. */
export const generatorOps: OpFamily<typeof generatorSchemas> = opFamily(generatorSchemas, {
  Bernoulli: inferRandomLike,
  BlackmanWindow: inferWindow,
  Constant: inferConstant,
  ConstantOfShape: inferConstantOfShape,
  EyeLike: inferEyeLike,
  HammingWindow: inferWindow,
  HannWindow: inferWindow,
  MelWeightMatrix: inferMelWeightMatrix,
  Multinomial: inferMultinomial,
  RandomNormal: inferRandom,
  RandomNormalLike: inferRandomLike,
  RandomUniform: inferRandom,
  RandomUniformLike: inferRandomLike,
  Range: inferRange,
});

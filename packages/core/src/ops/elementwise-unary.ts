import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { type DType, dtypes, isFloat } from '../tensor/dtype.ts';
import {
  type AnyInferContext,
  dtypeOf,
  followElements,
  onNumbers,
  passThrough,
  sameAsInput,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the elementwise operators of one input. */
export const elementwiseUnarySchemas = {
  Abs: { since: 13, inputs: 'X:T', outputs: 'Y:T', types: { T: 'number' } },
  Acos: { since: 7, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Acosh: { since: 9, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Asin: { since: 7, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Asinh: { since: 9, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Atan: { since: 7, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Atanh: { since: 9, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  BitwiseNot: { since: 18, inputs: 'X:T', outputs: 'Y:T', types: { T: 'int' } },
  Cast: {
    since: 21,
    inputs: 'input:T1',
    outputs: 'output:T2',
    types: { T1: 'number float8 fourbit bool string', T2: 'number float8 fourbit bool string' },
    attributes: { saturate: ['flag', true], to: 'int!' },
  },
  CastLike: {
    since: 21,
    inputs: 'input:T1 target_type:T2',
    outputs: 'output:T2',
    types: { T1: 'number float8 fourbit bool string', T2: 'number float8 fourbit bool string' },
    attributes: { saturate: ['flag', true] },
  },
  Ceil: { since: 13, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16' } },
  Celu: {
    since: 12,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float32' },
    attributes: { alpha: ['float', 1] },
  },
  Clip: { since: 13, inputs: 'input:T min:T? max:T?', outputs: 'output:T', types: { T: 'number' } },
  Cos: { since: 7, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Cosh: { since: 9, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Dropout: {
    since: 13,
    deterministic: false,
    inputs: 'data:T ratio:T1? training_mode:T2?',
    outputs: 'output:T mask:T2?',
    types: { T: 'float bfloat16', T1: 'float', T2: 'bool' },
    attributes: { seed: 'int?' },
  },
  Elu: {
    since: 6,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: { alpha: ['float', 1] },
  },
  Erf: { since: 13, inputs: 'input:T', outputs: 'output:T', types: { T: 'float bfloat16' } },
  Exp: { since: 13, inputs: 'input:T', outputs: 'output:T', types: { T: 'float bfloat16' } },
  Floor: { since: 13, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16' } },
  Gelu: {
    since: 20,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16' },
    attributes: { approximate: ['one', 'none', 'tanh'] },
  },
  HardSigmoid: {
    since: 6,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: { alpha: ['float', 0.2], beta: ['float', 0.5] },
  },
  HardSwish: { since: 14, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float' } },
  Identity: { since: 21, inputs: 'input:V', outputs: 'output:V', types: { V: 'all' } },
  IsInf: {
    since: 20,
    inputs: 'X:T1',
    outputs: 'Y:T2',
    types: { T1: 'float float8 bfloat16', T2: 'bool' },
    attributes: { detect_negative: ['flag', true], detect_positive: ['flag', true] },
  },
  IsNaN: { since: 20, inputs: 'X:T1', outputs: 'Y:T2', types: { T1: 'float float8 bfloat16', T2: 'bool' } },
  LeakyRelu: {
    since: 16,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16' },
    attributes: { alpha: ['float', 0.01] },
  },
  Log: { since: 13, inputs: 'input:T', outputs: 'output:T', types: { T: 'float bfloat16' } },
  Mish: { since: 18, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float' } },
  Neg: { since: 13, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16 int8 int16 int32 int64' } },
  Not: { since: 1, inputs: 'X:T', outputs: 'Y:T', types: { T: 'bool' } },
  Reciprocal: { since: 13, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16' } },
  Relu: { since: 14, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16 int8 int16 int32 int64' } },
  Round: { since: 11, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float' } },
  Selu: {
    since: 6,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: { alpha: ['float', 1.6732632], gamma: ['float', 1.050701] },
  },
  Shrink: {
    since: 9,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'float int' },
    attributes: { bias: ['float', 0], lambd: ['float', 0.5] },
  },
  Sigmoid: { since: 13, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16' } },
  Sign: { since: 13, inputs: 'input:T', outputs: 'output:T', types: { T: 'number' } },
  Sin: { since: 7, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Sinh: { since: 9, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Softplus: { since: 1, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float' } },
  Softsign: { since: 1, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Sqrt: { since: 13, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16' } },
  Tan: { since: 7, inputs: 'input:T', outputs: 'output:T', types: { T: 'float' } },
  Tanh: { since: 13, inputs: 'input:T', outputs: 'output:T', types: { T: 'float bfloat16' } },
  ThresholdedRelu: {
    since: 10,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: { alpha: ['float', 1] },
  },
} as const;

/** Same shape and dtype; numbers are followed. */
function numeric(rule: (value: number) => number): (context: AnyInferContext) => void {
  const element = onNumbers(rule);
  return (context) => {
    sameAsInput(context);
    followElements(context, context.shape(0), element);
  };
}

/** ONNX rounds halves to even. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** A whole-valued size stays what it is under rounding; symbols stand for whole numbers. */
function rounding(rule: (value: number) => number): (context: AnyInferContext) => void {
  return (context) => {
    sameAsInput(context);
    followElements(context, context.shape(0), (value) =>
      typeof value === 'number' ? rule(value ?? 0) : (value ?? null),
    );
  };
}

function castElement(from: DType | undefined, to: DType | undefined): (value: Dim | undefined) => Dim {
  return (value) => {
    if (value === undefined || value === null || from === undefined || to === undefined) return null;
    if (typeof value === 'string') return dtypes[to].category === 'bool' ? null : value;
    if (to === 'bool') return value === 0 ? 0 : 1;
    return isFloat(from) && !isFloat(to) ? Math.trunc(value) : value;
  };
}

function cast(context: AnyInferContext, to: DType | undefined): void {
  context.output(0, to, context.shape(0));
  const element = castElement(context.dtype(0), to);
  const sizes = context.sizes(0);
  if (sizes !== undefined)
    context.outputSizes(
      0,
      sizes.map((size) => element(size)),
    );
}

function inferClip(context: AnyInferContext): void {
  for (const index of [1, 2]) {
    const bound = context.shape(index);
    if (bound !== undefined && bound.length > 0 && !(bound.length === 1 && bound[0] === 1)) {
      context.fail(`input ${index} must be a scalar, not of shape [${bound.join(', ')}]`);
    }
  }
  sameAsInput(context);
  const sizes = context.sizes(0);
  const [low] = context.has(1) ? (context.sizes(1) ?? [null]) : [-Infinity];
  const [high] = context.has(2) ? (context.sizes(2) ?? [null]) : [Infinity];
  if (sizes === undefined || typeof low !== 'number' || typeof high !== 'number') return;
  context.outputSizes(
    0,
    sizes.map((size) => (typeof size === 'number' ? Math.min(Math.max(size, low), high) : null)),
  );
}

function inferDropout(context: InferContext<unknown>): void {
  context.output(0, undefined, context.shape(0));
  context.output(1, 'bool', context.shape(0));
}

/** Definitions of the elementwise operators of one input. */
export const elementwiseUnaryOps: OpFamily<typeof elementwiseUnarySchemas> = opFamily(
  elementwiseUnarySchemas,
  {
    Abs: numeric(Math.abs),
    Acos: sameAsInput,
    Acosh: sameAsInput,
    Asin: sameAsInput,
    Asinh: sameAsInput,
    Atan: sameAsInput,
    Atanh: sameAsInput,
    BitwiseNot: sameAsInput,
    Cast: (context) => cast(context, dtypeOf(context, context.attributes.to)),
    CastLike: (context) => cast(context, context.dtype(1)),
    Ceil: rounding(Math.ceil),
    Celu: sameAsInput,
    Clip: inferClip,
    Cos: sameAsInput,
    Cosh: sameAsInput,
    Dropout: inferDropout,
    Elu: sameAsInput,
    Erf: sameAsInput,
    Exp: sameAsInput,
    Floor: rounding(Math.floor),
    Gelu: sameAsInput,
    HardSigmoid: sameAsInput,
    HardSwish: sameAsInput,
    Identity: passThrough,
    IsInf: (context) => context.output(0, 'bool', context.shape(0)),
    IsNaN: (context) => context.output(0, 'bool', context.shape(0)),
    LeakyRelu: sameAsInput,
    Log: sameAsInput,
    Mish: sameAsInput,
    Neg: numeric((value) => -value),
    Not: numeric((value) => (value === 0 ? 1 : 0)),
    Reciprocal: numeric((value) => 1 / value),
    Relu: numeric((value) => Math.max(0, value)),
    Round: rounding(roundHalfToEven),
    Selu: sameAsInput,
    Shrink: sameAsInput,
    Sigmoid: sameAsInput,
    Sign: numeric(Math.sign),
    Sin: sameAsInput,
    Sinh: sameAsInput,
    Softplus: sameAsInput,
    Softsign: sameAsInput,
    Sqrt: numeric(Math.sqrt),
    Tan: sameAsInput,
    Tanh: sameAsInput,
    ThresholdedRelu: sameAsInput,
  },
);

import { standardOpDefs } from '@lithe/core';
import type { AxisContext } from '../axis-rule.ts';
import { type AxisFlow, type AxisRules, inputAxis, type Tie } from '../axis-rule.ts';
import { alongAxis, broadcastTies, elementwise, fromFront, unknownRank } from './shared.ts';

/** Operators that treat each element by itself, or one axis apart from the others. */
export type ElementwiseOp =
  | 'Abs'
  | 'Acos'
  | 'Acosh'
  | 'Add'
  | 'And'
  | 'Asin'
  | 'Asinh'
  | 'Atan'
  | 'Atanh'
  | 'BitShift'
  | 'BitwiseAnd'
  | 'BitwiseNot'
  | 'BitwiseOr'
  | 'BitwiseXor'
  | 'Cast'
  | 'CastLike'
  | 'Ceil'
  | 'Celu'
  | 'Clip'
  | 'Cos'
  | 'Cosh'
  | 'CumSum'
  | 'DequantizeLinear'
  | 'Div'
  | 'Dropout'
  | 'Elu'
  | 'Equal'
  | 'Erf'
  | 'Exp'
  | 'Floor'
  | 'Gelu'
  | 'Greater'
  | 'GreaterOrEqual'
  | 'HardSigmoid'
  | 'HardSwish'
  | 'Hardmax'
  | 'Identity'
  | 'IsInf'
  | 'IsNaN'
  | 'LeakyRelu'
  | 'Less'
  | 'LessOrEqual'
  | 'Log'
  | 'LogSoftmax'
  | 'Max'
  | 'Mean'
  | 'Min'
  | 'Mish'
  | 'Mod'
  | 'Mul'
  | 'Neg'
  | 'Not'
  | 'Or'
  | 'PRelu'
  | 'Pow'
  | 'QuantizeLinear'
  | 'Reciprocal'
  | 'Relu'
  | 'Round'
  | 'Selu'
  | 'Shrink'
  | 'Sigmoid'
  | 'Sign'
  | 'Sin'
  | 'Sinh'
  | 'Softmax'
  | 'Softplus'
  | 'Softsign'
  | 'Sqrt'
  | 'Sub'
  | 'Sum'
  | 'Tan'
  | 'Tanh'
  | 'ThresholdedRelu'
  | 'Where'
  | 'Xor';

const unary = elementwise([0]);
const broadcast = elementwise();

const normalizes = 'the elements along it are weighed against each other';
const ordered = 'each element along it depends on those before it';

/** Scale and zero point: one for all, or one per index of an axis. */
function quantizationFlow(context: AxisContext, axis: number, blockSize: number): AxisFlow {
  const shape = context.shape(0);
  const scale = context.shape(1);
  if (shape === undefined || scale === undefined) return unknownRank;
  const at = fromFront(axis, shape.length);
  if (scale.length > 1 || blockSize > 0) {
    const except = new Set([at]);
    return {
      ties: broadcastTies(context, { inputs: [0], except }),
      fixed: 'blocks of elements along it share a scale',
    };
  }
  const perAxis = scale.length === 1 && scale[0] !== 1;
  const ties: Tie[] = broadcastTies(context, { inputs: [0] }).map((one) => {
    const [output] = one.ends;
    if (!perAxis || output?.axis !== at) return one;
    const parameters = [1, 2].filter((index) => context.has(index)).map((index) => inputAxis(index, 0));
    return { ends: [...one.ends, ...parameters] };
  });
  return { ties, roles: { 1: 'statistic', 2: 'statistic' }, fixed: 'the sizes along it are not known' };
}

/** How axes flow through elementwise operators. */
export const elementwiseAxes: AxisRules<ElementwiseOp> = {
  Abs: unary,
  Acos: unary,
  Acosh: unary,
  Add: {
    flow: (context) => ({
      ties: broadcastTies(context),
      // An addend that is a constant is the bias of what was added to.
      roles: { 0: 'bias', 1: 'bias' },
      fixed: 'the sizes along it are not known well enough',
    }),
  },
  And: broadcast,
  Asin: unary,
  Asinh: unary,
  Atan: unary,
  Atanh: unary,
  BitShift: broadcast,
  BitwiseAnd: broadcast,
  BitwiseNot: unary,
  BitwiseOr: broadcast,
  BitwiseXor: broadcast,
  Cast: unary,
  CastLike: {
    flow: (context) => {
      const like = context.shape(1) ?? [];
      return {
        // Of the second input only the dtype counts.
        ties: [
          ...broadcastTies(context, { inputs: [0] }),
          ...like.map((_, axis) => ({ ends: [inputAxis(1, axis)] })),
        ],
        fixed: 'the sizes along it are not known',
      };
    },
  },
  Ceil: unary,
  Celu: unary,
  Clip: unary,
  Cos: unary,
  Cosh: unary,
  CumSum: {
    flow: (context) => {
      const shape = context.shape(0);
      const axis = context.integers(1)?.[0];
      if (shape === undefined || axis === undefined) return { ties: [], fixed: ordered };
      const except = new Set([fromFront(axis, shape.length)]);
      return { ties: broadcastTies(context, { inputs: [0], except }), fixed: ordered };
    },
  },
  DequantizeLinear: {
    flow: (context) => {
      const { axis, block_size: blockSize } = context.attributes(standardOpDefs.DequantizeLinear);
      return quantizationFlow(context, axis, blockSize);
    },
  },
  Div: broadcast,
  Dropout: {
    flow: (context) => ({
      ties: broadcastTies(context, { inputs: [0], outputs: [0, 1] }),
      fixed: 'the sizes along it are not known',
    }),
  },
  Elu: unary,
  Equal: broadcast,
  Erf: unary,
  Exp: unary,
  Floor: unary,
  Gelu: unary,
  Greater: broadcast,
  GreaterOrEqual: broadcast,
  HardSigmoid: unary,
  HardSwish: unary,
  Hardmax: alongAxis((context) => context.attributes(standardOpDefs.Hardmax).axis, normalizes),
  Identity: unary,
  IsInf: unary,
  IsNaN: unary,
  LeakyRelu: unary,
  Less: broadcast,
  LessOrEqual: broadcast,
  Log: unary,
  LogSoftmax: alongAxis((context) => context.attributes(standardOpDefs.LogSoftmax).axis, normalizes),
  Max: broadcast,
  Mean: broadcast,
  Min: broadcast,
  Mish: unary,
  Mod: broadcast,
  Mul: {
    flow: (context) => ({
      ties: broadcastTies(context),
      roles: { 0: 'scale', 1: 'scale' },
      fixed: 'the sizes along it are not known well enough',
    }),
  },
  Neg: unary,
  Not: unary,
  Or: broadcast,
  PRelu: broadcast,
  Pow: broadcast,
  QuantizeLinear: {
    flow: (context) => {
      const { axis, block_size: blockSize } = context.attributes(standardOpDefs.QuantizeLinear);
      return quantizationFlow(context, axis, blockSize);
    },
  },
  Reciprocal: unary,
  Relu: unary,
  Round: unary,
  Selu: unary,
  Shrink: unary,
  Sigmoid: unary,
  Sign: unary,
  Sin: unary,
  Sinh: unary,
  Softmax: alongAxis((context) => context.attributes(standardOpDefs.Softmax).axis, normalizes),
  Softplus: unary,
  Softsign: unary,
  Sqrt: unary,
  Sub: broadcast,
  Sum: broadcast,
  Tan: unary,
  Tanh: unary,
  ThresholdedRelu: unary,
  Where: broadcast,
  Xor: broadcast,
};

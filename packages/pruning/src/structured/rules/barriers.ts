import type { StandardOp } from '@lithe/core';
import { type AxisRules, barrier } from '../axis-rule.ts';
import type { ConvolutionOp } from './convolution.ts';
import type { ElementwiseOp } from './elementwise.ts';
import type { NormalizationOp } from './normalization.ts';
import type { PoolingOp } from './pooling.ts';
import type { ProductOp } from './product.ts';
import type { RecurrentOp } from './recurrent.ts';
import type { ReductionOp } from './reduction.ts';
import type { ReshapeOp } from './reshape.ts';
import type { SlicingOp } from './slicing.ts';

/** Operators that nothing can be cut through: all that no other family answers for. */
export type BarrierOp = Exclude<
  StandardOp,
  | ConvolutionOp
  | ElementwiseOp
  | NormalizationOp
  | PoolingOp
  | ProductOp
  | RecurrentOp
  | ReductionOp
  | ReshapeOp
  | SlicingOp
>;

const subgraph = barrier('what happens in a subgraph is not followed');
const sequence = barrier('tensors in sequences and optionals are not followed');
const scattered = barrier('its elements are found by computed indices');
const random = barrier('random numbers of another shape are other numbers');
const integer = barrier('it computes on quantized numbers; prune before quantizing');
const signal = barrier('its length is that of a signal');
const loss = barrier('it is a loss over classes');
const text = barrier('it works on texts or files');
const generated = barrier('its length makes the values');
const geometry = barrier('its axes are coordinates');

/** How axes flow through the operators that are left: not at all, and why. */
export const barrierAxes: AxisRules<BarrierOp> = {
  AffineGrid: geometry,
  Bernoulli: random,
  BlackmanWindow: generated,
  CenterCropPad: geometry,
  Col2Im: geometry,
  Compress: scattered,
  ConcatFromSequence: sequence,
  Constant: barrier('it is not a weight that can be cut'),
  ConvInteger: integer,
  DFT: signal,
  DeformConv: barrier('groups of offsets are not followed'),
  Det: geometry,
  DynamicQuantizeLinear: integer,
  EyeLike: generated,
  GatherElements: scattered,
  GatherND: scattered,
  HammingWindow: generated,
  HannWindow: generated,
  If: subgraph,
  ImageDecoder: text,
  Loop: subgraph,
  MatMulInteger: integer,
  MaxUnpool: scattered,
  MelWeightMatrix: generated,
  Multinomial: random,
  NegativeLogLikelihoodLoss: loss,
  NonMaxSuppression: geometry,
  NonZero: scattered,
  OneHot: generated,
  Optional: sequence,
  OptionalGetElement: sequence,
  OptionalHasElement: sequence,
  QLinearConv: integer,
  QLinearMatMul: integer,
  RandomNormal: random,
  RandomNormalLike: random,
  RandomUniform: random,
  RandomUniformLike: random,
  Range: generated,
  RegexFullMatch: text,
  STFT: signal,
  Scan: subgraph,
  ScatterElements: scattered,
  ScatterND: scattered,
  SequenceAt: sequence,
  SequenceConstruct: sequence,
  SequenceEmpty: sequence,
  SequenceErase: sequence,
  SequenceInsert: sequence,
  SequenceLength: sequence,
  SequenceMap: subgraph,
  SoftmaxCrossEntropyLoss: loss,
  SplitToSequence: sequence,
  StringConcat: text,
  StringNormalizer: text,
  StringSplit: text,
  TfIdfVectorizer: text,
  Unique: scattered,
};

import type { StandardOp } from '@lithe/core';
import { type GradientRules, refuse } from '../autodiff/gradient-rule.ts';

/** Operators that give numbers of no float type, or random ones, or constants: nothing flows through them. */
export type DiscreteOp =
  | 'And'
  | 'Bernoulli'
  | 'BitShift'
  | 'BitwiseAnd'
  | 'BitwiseNot'
  | 'BitwiseOr'
  | 'BitwiseXor'
  | 'BlackmanWindow'
  | 'Constant'
  | 'ConstantOfShape'
  | 'ConvInteger'
  | 'DynamicQuantizeLinear'
  | 'Equal'
  | 'EyeLike'
  | 'Greater'
  | 'GreaterOrEqual'
  | 'HammingWindow'
  | 'HannWindow'
  | 'ImageDecoder'
  | 'IsInf'
  | 'IsNaN'
  | 'Less'
  | 'LessOrEqual'
  | 'MatMulInteger'
  | 'MelWeightMatrix'
  | 'Multinomial'
  | 'NonMaxSuppression'
  | 'NonZero'
  | 'Not'
  | 'OptionalHasElement'
  | 'Or'
  | 'QLinearConv'
  | 'QLinearMatMul'
  | 'RandomNormal'
  | 'RandomNormalLike'
  | 'RandomUniform'
  | 'RandomUniformLike'
  | 'Range'
  | 'RegexFullMatch'
  | 'SequenceLength'
  | 'StringConcat'
  | 'StringNormalizer'
  | 'StringSplit'
  | 'TfIdfVectorizer'
  | 'Xor';

/** Answers for {@link DiscreteOp}. */
export const discreteGradients: GradientRules<DiscreteOp> = {
  And: 'none',
  Bernoulli: 'none',
  BitShift: 'none',
  BitwiseAnd: 'none',
  BitwiseNot: 'none',
  BitwiseOr: 'none',
  BitwiseXor: 'none',
  BlackmanWindow: 'none',
  Constant: 'none',
  ConstantOfShape: 'none',
  ConvInteger: 'none',
  DynamicQuantizeLinear: 'none',
  Equal: 'none',
  EyeLike: 'none',
  Greater: 'none',
  GreaterOrEqual: 'none',
  HammingWindow: 'none',
  HannWindow: 'none',
  ImageDecoder: 'none',
  IsInf: 'none',
  IsNaN: 'none',
  Less: 'none',
  LessOrEqual: 'none',
  MatMulInteger: 'none',
  MelWeightMatrix: 'none',
  Multinomial: 'none',
  NonMaxSuppression: 'none',
  NonZero: 'none',
  Not: 'none',
  OptionalHasElement: 'none',
  Or: 'none',
  QLinearConv: 'none',
  QLinearMatMul: 'none',
  RandomNormal: 'none',
  RandomNormalLike: 'none',
  RandomUniform: 'none',
  RandomUniformLike: 'none',
  Range: 'none',
  RegexFullMatch: 'none',
  SequenceLength: 'none',
  StringConcat: 'none',
  StringNormalizer: 'none',
  StringSplit: 'none',
  TfIdfVectorizer: 'none',
  Xor: 'none',
};

/** Operators that have a gradient which no rule here gives. */
export type RefusedOp = Extract<
  StandardOp,
  | 'AffineGrid'
  | 'CenterCropPad'
  | 'Col2Im'
  | 'Compress'
  | 'ConcatFromSequence'
  | 'DFT'
  | 'DeformConv'
  | 'Det'
  | 'GridSample'
  | 'If'
  | 'Loop'
  | 'MaxRoiPool'
  | 'MaxUnpool'
  | 'NegativeLogLikelihoodLoss'
  | 'OneHot'
  | 'Optional'
  | 'OptionalGetElement'
  | 'RoiAlign'
  | 'STFT'
  | 'Scan'
  | 'SequenceAt'
  | 'SequenceConstruct'
  | 'SequenceEmpty'
  | 'SequenceErase'
  | 'SequenceInsert'
  | 'SequenceMap'
  | 'SoftmaxCrossEntropyLoss'
  | 'SplitToSequence'
  | 'Unique'
>;

const subgraph = refuse(
  'gradients do not flow through subgraphs; unroll the loop or inline the branch before training (simplify does so where the condition or the count is constant)',
);
const sequence = refuse('gradients do not flow through sequences and optionals; use tensors');
const missing = refuse('no gradient rule is known for the operator');
const loss = refuse(
  'a loss inside the model has no gradient rule; take the scores and use a loss of this package',
);

/** Answers for {@link RefusedOp}: each says why. */
export const refusedGradients: GradientRules<RefusedOp> = {
  AffineGrid: missing,
  CenterCropPad: missing,
  Col2Im: missing,
  Compress: missing,
  ConcatFromSequence: sequence,
  DFT: missing,
  DeformConv: missing,
  Det: missing,
  GridSample: missing,
  If: subgraph,
  Loop: subgraph,
  MaxRoiPool: missing,
  MaxUnpool: missing,
  NegativeLogLikelihoodLoss: loss,
  OneHot: missing,
  Optional: sequence,
  OptionalGetElement: sequence,
  RoiAlign: missing,
  STFT: missing,
  Scan: subgraph,
  SequenceAt: sequence,
  SequenceConstruct: sequence,
  SequenceEmpty: sequence,
  SequenceErase: sequence,
  SequenceInsert: sequence,
  SequenceMap: subgraph,
  SoftmaxCrossEntropyLoss: loss,
  SplitToSequence: sequence,
  Unique: missing,
};

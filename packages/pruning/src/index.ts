/**
 * Pruning: what matters least in a model is found and removed, and the model stays plain ONNX.
 *
 * @packageDocumentation
 */
export {
  type ActivationOptions,
  activationMean,
  nonZeroActivations,
  wandaScore,
} from './criteria/activation.ts';
export { blockInfluence, type InfluenceOptions } from './criteria/block-influence.ts';
export type { Criterion, CriterionContext, CriterionNeed } from './criteria/criterion.ts';
export { geometricMedian } from './criteria/geometric-median.ts';
export { fisherScore, type GradientOptions, type TaylorOptions, taylorScore } from './criteria/gradient.ts';
export { batchNormScale, type GroupScoreOptions, l1Norm, l2Norm, lampScore } from './criteria/magnitude.ts';
export { randomScore } from './criteria/random.ts';
export type { Normalizer, Reduction } from './criteria/reduce.ts';
export type { AxisOptions } from './structured/axis-model.ts';
export {
  type AxisContext,
  type AxisEdit,
  type AxisEnd,
  type AxisFlow,
  type AxisRule,
  axisFlow,
  barrier,
  inputAxis,
  outputAxis,
  type Pin,
  type Tie,
  tie,
  type WeightRole,
} from './structured/axis-rule.ts';
export { type AxisView, coordinatesOf, factorOf, windowOf } from './structured/axis-view.ts';
export type { Obstacle } from './structured/closure.ts';
export type { Cost } from './structured/cut-cost.ts';
export type { GroupAxis, GroupWeight, PruningGroup, Removal } from './structured/pruning-group.ts';
export { type GroupOptions, pruningGroups } from './structured/pruning-groups.ts';
export { removeAll, removeUnits } from './structured/remove-units.ts';
export {
  type BlockOptions,
  dropBlocks,
  type ResidualBlock,
  residualBlocks,
} from './structured/residual-blocks.ts';
export { standardAxisRules } from './structured/standard-axis-rules.ts';

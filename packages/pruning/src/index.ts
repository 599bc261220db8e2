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
export {
  type CriterionName,
  criterionNames,
  type NamedCriterionOptions,
  namedCriterion,
} from './criteria/named-criterion.ts';
export { randomScore } from './criteria/random.ts';
export { type Normalizer, normalizers, type Reduction, reductions } from './criteria/reduce.ts';
export { type LowRankBudget, type LowRankOptions, lowRank } from './low-rank/low-rank.ts';
export { plugin } from './plugin.ts';
export {
  type BatchNormReestimationOptions,
  batchNormReestimation,
} from './recovery/batch-norm-reestimation.ts';
export {
  batchNormPenalty,
  type GrowingPenaltyOptions,
  groupLassoPenalty,
  growingPenalty,
} from './recovery/penalties.ts';
export {
  type LeastSquaresRefitOptions,
  leastSquaresRefit,
  type RefitLayer,
  type RefitOptions,
  type RefitReport,
  type RefitResult,
  type RefitSettings,
  refit,
} from './recovery/refit.ts';
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
export {
  type DepthPruningOptions,
  type DepthPruningReport,
  type DroppedBlock,
  depthPruning,
} from './structured/depth-pruning.ts';
export { memoryJournal, type SearchJournal } from './structured/journal.ts';
export type { LatencyTrial } from './structured/latency-search.ts';
export { type PlannedPruning, type PruneReport, planPruning, prune } from './structured/prune.ts';
export type {
  PruneBudget,
  PruneLatencyOptions,
  PruneOptions,
  PruneSettings,
} from './structured/prune-options.ts';
export type { GroupAxis, GroupWeight, PruningGroup, Removal } from './structured/pruning-group.ts';
export { type GroupOptions, pruningGroups } from './structured/pruning-groups.ts';
export type { CostBudget, GroupChange, PruningPlan } from './structured/pruning-plan.ts';
export { removeAll, removeUnits } from './structured/remove-units.ts';
export {
  type BlockOptions,
  dropBlocks,
  type ResidualBlock,
  residualBlocks,
} from './structured/residual-blocks.ts';
export type { Scope } from './structured/select-units.ts';
export {
  type GroupSensitivity,
  pruningSensitivity,
  type SensitivityOptions,
} from './structured/sensitivity.ts';
export { standardAxisRules } from './structured/standard-axis-rules.ts';
export type { UnitSpan } from './structured/unit-span.ts';
export { type GradualOptions, gradualSparsity } from './unstructured/gradual-sparsity.ts';
export { type HeldWeights, holdZeros, sparsifiableWeights } from './unstructured/held-zeros.ts';
export type { InputStatistics } from './unstructured/input-statistics.ts';
export { type ParsedPattern, parsePattern, type SparsityPattern } from './unstructured/pattern.ts';
export { type SparseGptOptions, sparseGpt } from './unstructured/sparse-gpt.ts';
export type { SparseLayer } from './unstructured/sparse-layer.ts';
export { type LayerSparsity, type SparsifyReport, sparsify } from './unstructured/sparsify.ts';
export type {
  SparsifyOptions,
  SparsifySettings,
  SparsityCriterionName,
} from './unstructured/sparsify-options.ts';
export type {
  ScoredWeight,
  SolvedWeight,
  SparsityCriterion,
  SparsityRequest,
  SparsityScope,
} from './unstructured/sparsity-criterion.ts';
export { type SparsitySchedule, sparsityAt } from './unstructured/sparsity-schedule.ts';
export { givenScores, lampWeights, wandaWeights, weightMagnitude } from './unstructured/weight-criteria.ts';

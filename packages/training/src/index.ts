/**
 * Training as graphs: a training step is an ordinary graph of standard operators, derived from the inference graph.
 *
 * @packageDocumentation
 */
export { type EmitAttributes, Emitter } from './autodiff/emitter.ts';
export { type GradientContext, type GradientRule, gradient } from './autodiff/gradient-rule.ts';
export { addGradients, type GradientRequest, gradients } from './autodiff/gradients.ts';
export { type ContentHash, contentHash } from './checkpoint/content-hash.ts';
export { readSafetensors, type SafetensorsFile, writeSafetensors } from './checkpoint/safetensors.ts';
export { type CheckpointStore, memoryCheckpoints } from './checkpoint/store.ts';
export {
  type Augmentation,
  cutout,
  flip,
  type ImageInput,
  type MixupOptions,
  mixup,
  randomCrop,
} from './data/augment.ts';
export { gatherRows, type SampleTable, sampleTable, type TableArrays } from './data/sample-table.ts';
export { fit } from './fit/fit.ts';
export {
  type EpochRecord,
  type FitOptions,
  type FitResult,
  type MetricLines,
  metricLines,
  type StepRecord,
} from './fit/fit-options.ts';
export {
  constantSchedule,
  cosineSchedule,
  type OneCycleOptions,
  oneCycleSchedule,
  polynomialSchedule,
  type Schedule,
  type SchedulePoint,
  stepSchedule,
  warmUp,
} from './fit/schedule.ts';
export { trainedModel } from './fit/trained-model.ts';
export type { AttentionOptions } from './layers/attention.ts';
export {
  type FreshWeight,
  type FreshWeights,
  type FreshWeightsOptions,
  freshWeights,
} from './layers/fresh-weights.ts';
export {
  filledWith,
  type GainOptions,
  type Initializer,
  type KaimingOptions,
  kaimingNormal,
  kaimingUniform,
  orthogonal,
  type TruncatedNormalOptions,
  truncatedNormal,
  type WeightRequest,
  xavierNormal,
  xavierUniform,
} from './layers/initializer.ts';
export { type Layers, layers } from './layers/layers.ts';
export {
  cnn,
  type ImageNetworkOptions,
  type MlpOptions,
  type MobileNetOptions,
  mlp,
  mobileNetV2,
  type NetworkOptions,
  resnet20,
  resnet56,
  type TransformerOptions,
  transformerEncoder,
} from './layers/networks.ts';
export type { BatchNormOptions, LayerNormOptions } from './layers/normalization.ts';
export type { PoolOptions } from './layers/pool.ts';
export type { WeightRole } from './layers/weight-role.ts';
export type { Conv2dOptions, EmbeddingOptions, LinearOptions } from './layers/weighted.ts';
export { type AddedLoss, addLoss } from './losses/add-loss.ts';
export { huberBetween, oneHot } from './losses/building-blocks.ts';
export {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropy,
  type CrossEntropyOptions,
  crossEntropy,
} from './losses/classification.ts';
export {
  type Loss,
  type LossContext,
  type LossState,
  type WeightedLoss,
  weightedSum,
} from './losses/loss.ts';
export {
  cosineDistance,
  type HuberOptions,
  huber,
  type KlOptions,
  klDivergence,
  meanSquaredError,
  type RegressionOptions,
} from './losses/regression.ts';
export {
  type ActivationCheckpointingOptions,
  type ActivationCheckpointingSettings,
  activationCheckpointing,
} from './memory/activation-checkpointing.ts';
export {
  type CheckpointingOptions,
  type CheckpointingResult,
  checkpointActivations,
} from './memory/checkpoint-activations.ts';
export type { Optimizer, ParameterUpdate, UpdateContext } from './optimizers/optimizer.ts';
export {
  type AdamOptions,
  adam,
  adamW,
  type LionOptions,
  lion,
  type RmspropOptions,
  rmsprop,
  type SgdOptions,
  sgd,
} from './optimizers/standard.ts';
export type { DynamicLossScale, LossScaleOutputs } from './precision/loss-scale.ts';
export type { MixedPrecisionOptions } from './precision/mixed-precision.ts';
export type { AugmentationChoice, AugmentationSettings, FillField } from './recipe/augment-options.ts';
export { matchesPattern } from './recipe/choice.ts';
export { epochsTable } from './recipe/epochs-table.ts';
export { type FitDraftRequest, fitDraft } from './recipe/fit-draft.ts';
export {
  type LossChoice,
  type LossSettings,
  type OutputField,
  type Scores,
  type ScoresField,
  scoresOf,
  type TaskLoss,
  type TaskLossRequest,
  taskLoss,
} from './recipe/loss-options.ts';
export { type OptimizerChoice, type OptimizerSettings, optimizerOf } from './recipe/optimizer-options.ts';
export { plugin } from './recipe/plugin.ts';
export {
  type ScheduleChoice,
  type ScheduleSettings,
  scheduleOf,
  type WarmUpField,
} from './recipe/schedule-options.ts';
export { train } from './recipe/train.ts';
export {
  type TrainingData,
  type TrainingResources,
  trainingData,
  trainingResources,
} from './recipe/training-data.ts';
export {
  type TrainingFields,
  type TrainingOptions,
  type TrainingSettings,
  trainingFields,
  trainingRule,
} from './recipe/training-options.ts';
export { type ReadSamplesOptions, readSamples, subsetTable } from './recipe/training-samples.ts';
export type { UnseenClasses } from './recipe/unseen-classes.ts';
export { standardGradients } from './rules/standard-gradients.ts';
export type { ForwardContext, ForwardForm, StatisticState } from './step/forward-form.ts';
export { Graft, type GraftRequest } from './step/graft.ts';
export { promoteConstants } from './step/promote-constants.ts';
export { sortNodes } from './step/sort-nodes.ts';
export type { DropoutMask } from './step/training-form.ts';
export {
  type ParameterGroup,
  type TrainingStep,
  type TrainingStepOptions,
  trainingStep,
} from './step/training-step.ts';
export { findWeights } from './step/weights.ts';

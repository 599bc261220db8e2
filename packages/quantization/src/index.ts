/**
 * Quantization: parameters and kernels, and passes that store or compute in fewer bits.
 *
 * @packageDocumentation
 */

export { finishQuantizationAware } from './aware-training/finish.ts';
export { quantizationAwareTraining } from './aware-training/pass.ts';
export type {
  AwareTrainingOptions,
  AwareTrainingSettings,
  TeacherChoice,
} from './aware-training/pass-options.ts';
export {
  type AwareTraining,
  type QuantizationAware,
  type QuantizationAwareOptions,
  quantizationAware,
} from './aware-training/quantization-aware.ts';
export type {
  AwareQuantizationOptions,
  AwareQuantizationSettings,
  AwareTimes,
} from './aware-training/settings.ts';
export { type Calibrator, calibratedRange, type RealRange } from './calibration/calibrator.ts';
export type { CalibratorChoice, CalibratorName } from './calibration/choice.ts';
export { type EntropyOptions, entropyCalibrator } from './calibration/entropy.ts';
export { minMaxCalibrator } from './calibration/min-max.ts';
export { type MovingAverageOptions, movingAverageCalibrator } from './calibration/moving-average.ts';
export { mseCalibrator } from './calibration/mse.ts';
export { type ObserveOptions, observe } from './calibration/observe.ts';
export {
  minMaxObserver,
  type StatisticsObserverOptions,
  statisticsObserver,
} from './calibration/observers.ts';
export { type PercentileOptions, percentileCalibrator } from './calibration/percentile.ts';
export {
  type BatchExtremes,
  type CalibrationStats,
  type ChannelStatistics,
  type Observer,
  statisticsOf,
  type TensorStatistics,
  type ValueHistogram,
} from './calibration/statistics.ts';
export { readCalibrationStats } from './calibration/stats-schema.ts';
export {
  type Arithmetic,
  type ExplainOptions,
  type Explanation,
  explain,
  type OperatorExplanation,
} from './explain/explain.ts';
export { type FormatExplanationOptions, formatExplanation } from './explain/format.ts';
export type { Deviation } from './mixed-precision/comparison.ts';
export type {
  FormatContext,
  PrecisionFormat,
  PrecisionFormatChoice,
  PrecisionFormatName,
} from './mixed-precision/formats.ts';
export {
  type MixedPrecisionOptions,
  type MixedPrecisionSettings,
  mixedPrecision,
  type PrecisionBudget,
} from './mixed-precision/mixed-precision.ts';
export {
  type LayerSensitivity,
  type SensitivityOptions,
  type SensitivityReport,
  sensitivity,
} from './mixed-precision/sensitivity.ts';
export {
  type AffineParameters,
  asymmetricParameters,
  SMALLEST_SCALE,
  symmetricParameters,
} from './parameters/affine.ts';
export {
  freeScalesOfEmptyChannels,
  type QuantizedBias,
  quantizeBias,
  raiseScalesForBias,
} from './parameters/bias.ts';
export { type Granularity, granularity } from './parameters/granularity.ts';
export { type GroupLayout, groupLayout } from './parameters/group-layout.ts';
export {
  type GroupParameterOptions,
  type GroupParameters,
  type GroupScheme,
  groupParameters,
} from './parameters/group-parameters.ts';
export {
  type IntegerRange,
  integerRange,
  type QuantizedDType,
  type RangeOptions,
} from './parameters/integer-range.ts';
export {
  dequantizeGroups,
  type IntegerArray,
  integerArray,
  type QuantizeOptions,
  quantizeGroups,
} from './parameters/kernels.ts';
export { type NBitsOptions, type NBitsWeight, type ProductSize, packNBits } from './parameters/nbits.ts';
export {
  type NormalFloat4Weight,
  normalFloat4Levels,
  quantizeNormalFloat4,
} from './parameters/normal-float4.ts';
export { type GroupRanges, groupExtremes, groupMagnitudes, groupRanges } from './parameters/reduce.ts';
export { roundHalfEven } from './parameters/rounding.ts';
export { type Bfloat16StorageOptions, bfloat16Storage } from './passes/bfloat16-storage.ts';
export { type DynamicInt8Options, dynamicInt8 } from './passes/dynamic-int8.ts';
export {
  type Float16ComputeOptions,
  type Float16ComputeSettings,
  float16Compute,
} from './passes/float16-compute.ts';
export { type Float16StorageOptions, float16Storage } from './passes/float16-storage.ts';
export {
  type FoldableWeightsOptions,
  type FoldableWeightsSettings,
  foldableWeights,
} from './passes/foldable-weights.ts';
export { type IntegerOperatorsOptions, integerOperators } from './passes/integer-operators.ts';
export { type NormalFloat4Options, normalFloat4 } from './passes/normal-float4.ts';
export type { Resolved } from './passes/resolved.ts';
export type { ActivationType, StaticInt8Options, StaticInt8Settings } from './passes/static/settings.ts';
export { staticInt8 } from './passes/static-int8.ts';
export { type TableRowsOptions, tableRows } from './passes/table-rows.ts';
export type {
  AlgorithmOptions,
  WeightOnlyOptions,
  WeightOnlySettings,
} from './passes/weight-only/options.ts';
export { weightOnly } from './passes/weight-only.ts';
export { plugin } from './plugin.ts';
export { saturatesProducts } from './portability/saturates.ts';
export {
  type BytesProduct,
  multiplySaturating,
  type SaturatedSums,
} from './portability/saturating-product.ts';
export {
  type LayerSaturation,
  layersToReduce,
  type SaturationOptions,
  type SaturationReport,
  simulateSaturation,
} from './portability/simulate.ts';
export {
  type TransformersJsDType,
  type TransformersJsFile,
  type TransformersJsOptions,
  type TransformersJsPreset,
  type TransformersJsSettings,
  transformersJs,
  transformersJsDTypes,
  transformersJsSuffixes,
} from './presets/transformers-js.ts';
export {
  type BatchNormalizationReestimationOptions,
  type BatchNormalizationReestimationSettings,
  batchNormalizationReestimation,
} from './recovery/batch-norm/batch-normalization-reestimation.ts';
export {
  type CrossLayerEqualizationOptions,
  type CrossLayerEqualizationSettings,
  crossLayerEqualization,
} from './recovery/equalization/cross-layer-equalization.ts';
export type {
  AdaRoundOptions,
  FallbackOptions,
  FallbackSettings,
  RecoveryOptions,
  RecoverySettings,
} from './recovery/options.ts';
export {
  type SmoothQuantOptions,
  type SmoothQuantSettings,
  smoothQuant,
} from './recovery/smooth/smooth-quant.ts';
export { withRecovery } from './recovery/with-recovery.ts';
export { type AwqOptions, awq } from './weight-algorithms/awq.ts';
export { type GptqOptions, gptq } from './weight-algorithms/gptq.ts';
export { type HqqOptions, hqq } from './weight-algorithms/hqq.ts';
export type { WeightAlgorithmName } from './weight-algorithms/named.ts';
export { type RoundToNearestOptions, roundToNearest } from './weight-algorithms/round-to-nearest.ts';
export type {
  InputMoments,
  ProductGroup,
  QuantizedMatrix,
  WeightAlgorithm,
  WeightMatrix,
  WeightTools,
} from './weight-algorithms/weight-algorithm.ts';

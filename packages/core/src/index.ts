/**
 * The core of Lithe: tensors, the graph, operators, and the contracts of passes, backends, targets and datasets.
 *
 * @packageDocumentation
 */
export {
  BACKEND_CONTRACT,
  type Backend,
  type BackendStats,
  type CompileOptions,
  type EncodedModel,
  type Executable,
  type ExecuteOptions,
  type StatePair,
  type Support,
  type TimingOptions,
} from './backend/backend.ts';
export type { IntegerCosts, IntegerForm, IntegerRule, IntegerRules } from './backend/integer-rules.ts';
export type {
  FormatAdvice,
  OpenTargetOptions,
  Target,
  TargetProfile,
  WeightFormat,
} from './backend/target.ts';
export { type CallAttributes, GraphBuilder } from './builder/graph-builder.ts';
export type {
  AttributeArgument,
  AttributeArguments,
  BuilderInput,
  BuilderNodeOptions,
  FreeOperator,
  MicrosoftSchemas,
  OperatorResult,
  Operators,
  StandardSchemas,
  StrictOperator,
  SubgraphBody,
} from './builder/op-signatures.ts';
export type { ArtifactStore } from './context/artifact-store.ts';
export { createRng, type Rng } from './context/rng.ts';
export {
  createRunContext,
  type Logger,
  type ProgressEvent,
  type RunContext,
  type RunOptions,
} from './context/run-context.ts';
export { type ArraySamples, arrayDataset, type DatasetOptions } from './data/array-dataset.ts';
export type { Batch, BatchOptions, Dataset, Feeds } from './data/dataset.ts';
export { type IterableDatasetOptions, iterableDataset, type Sample } from './data/iterable-dataset.ts';
export {
  type RandomDataset,
  type RandomDatasetOptions,
  randomDataset,
  randomTensor,
} from './data/random-dataset.ts';
export { concatRows, sliceRows, stackRows } from './data/rows.ts';
export { mapDataset, takeSamples } from './data/transforms.ts';
export { errors, formatShape, invariant } from './errors/catalogue.ts';
export { type ErrorCode, isLitheError, LitheError, type LitheErrorOptions } from './errors/lithe-error.ts';
export {
  type CostOptions,
  type ModelCost,
  modelCost,
  type NodeCostEntry,
  type UnknownCost,
} from './infer/cost.ts';
export { inferNodeTypes } from './infer/infer-node-types.ts';
export type { InferConflict, InferOptions, InferReport, UnknownOperator } from './infer/infer-report.ts';
export { inferShapes } from './infer/infer-shapes.ts';
export { type Attribute, type AttributeKind, attribute, subgraphsOf, toSafeNumber } from './ir/attribute.ts';
export { cloneGraph } from './ir/clone.ts';
export {
  addDims,
  broadcastDims,
  ceilDivideDim,
  divideDims,
  evaluateDim,
  floorDivideDim,
  isAtLeast,
  maxDims,
  mergeDims,
  minDims,
  multiplyDims,
  productOfDims,
  sameDim,
  subtractDims,
  symbolsOf,
} from './ir/dims.ts';
export { Graph, type OutputInit, type Revision } from './ir/graph.ts';
export { Meta, type MetaKey, metaKey } from './ir/meta.ts';
export { Model, type ModelFunction, type ModelInit, type ModelOrigin, WORKING_OPSET } from './ir/model.ts';
export { Node, type NodeInit } from './ir/node.ts';
export type { Placement } from './ir/node-list.ts';
export {
  type Dim,
  formatType,
  isStaticShape,
  type OpaqueType,
  type OptionalType,
  type SequenceType,
  type TensorType,
  tensorType,
  type ValueType,
} from './ir/types.ts';
export { constantOf, type Use, Value } from './ir/value.ts';
export { cholesky, inverseFactor } from './linear-algebra/cholesky.ts';
export { type PanelProduct, subtractProduct } from './linear-algebra/subtract-product.ts';
export {
  compareLatency,
  isFaster,
  isSlower,
  type LatencyComparison,
  type LatencyEntry,
  type LatencyOptions,
  type LatencyReport,
  type LatencyStats,
  measureLatency,
} from './measure/latency.ts';
export { type Interval, median, medianInterval, quantile } from './measure/statistics.ts';
export { agreement, topKAccuracy } from './metrics/classification.ts';
export {
  compareOutputs,
  createDrift,
  type Drift,
  type DriftAccumulator,
  type DriftOptions,
  type OutputDrift,
} from './metrics/drift.ts';
export { cosineSimilarity, maxAbsError, maxRelative, sqnrDb } from './metrics/tensor-metrics.ts';
export { type CtcOptions, characterAccuracy, ctcGreedyDecode, editDistance } from './metrics/text.ts';
export {
  type AttributeSpec,
  type AttributeSpecs,
  type AttributesOf,
  attr,
  readAttributes,
} from './op/attributes.ts';
export {
  type AnyOpDef,
  attributesOf,
  type CostContext,
  defineOp,
  floatDTypes,
  type InferContext,
  integerDTypes,
  type NodeCost,
  numericDTypes,
  type OpDef,
  type OpInit,
  type ParameterSpec,
  type SubgraphOptions,
} from './op/op-def.ts';
export { OpSet } from './op/op-set.ts';
export { defineTrait, type Trait, type TraitEntry, type TraitTable } from './op/trait.ts';
export {
  type AnyInferContext,
  axesOf,
  axisOf,
  broadcastShapes,
  type ElementRule,
  followElements,
  sameAsInput,
} from './ops/rules.ts';
export {
  type MicrosoftOpDefs,
  microsoftOpDefs,
  type StandardOp,
  type StandardOpDefs,
  standardOpDefs,
  standardOps,
} from './ops/standard-ops.ts';
export { definePass, type StandardOptions } from './pass/define-pass.ts';
export {
  noFunctions,
  noOperator,
  noSubgraphs,
  opsetAtLeast,
  shapesInferred,
  staticShapes,
  topologicallySorted,
  validModel,
} from './pass/invariants.ts';
export { type OptimizeOptions, type OptimizeResult, optimize, type StepList } from './pass/optimize.ts';
export type {
  Invariant,
  Pass,
  PassContext,
  PassNeed,
  PassSpec,
  PassStep,
  Preservation,
} from './pass/pass.ts';
export { createPassContext, type PassResources, passContextIn } from './pass/pass-context.ts';
export { type AnyPass, definePlugin, type Plugin } from './pass/plugin.ts';
export {
  type DriftCheck,
  type Metric,
  type OptimizeReport,
  type PassReport,
  ReportBuilder,
  type ReportColumn,
  type ReportPlot,
  type ReportTable,
  type Skip,
  type StepReport,
} from './pass/report.ts';
export { type PrintOptions, printModel } from './print/print-model.ts';
export { type Match, matchAt, type SmallTensors } from './rewrite/match.ts';
export {
  type AnyPattern,
  type AnyPatternOf,
  type ChoicePattern,
  type ConstantPattern,
  choice,
  constant,
  type OpPattern,
  type OpPatternOptions,
  op,
  optional,
  type Pattern,
  type ScalarPattern,
  scalar,
  type ValuePatternOptions,
  value,
} from './rewrite/pattern.ts';
export {
  type AppliedRule,
  type RewriteOptions,
  type RewriteReport,
  rewrite,
  type SkippedRule,
} from './rewrite/rewrite.ts';
export {
  defineRule,
  type PatternRuleInit,
  type RewriteContext,
  type RewriteRule,
  type RuleOutcome,
} from './rewrite/rule.ts';
export {
  byteLengthOf,
  type DType,
  type DTypeArrays,
  type DTypeInfo,
  dtypeFromOnnx,
  dtypes,
  elementsOf,
  isFloat,
  isInteger,
  type NumericArray,
  stridesOf,
} from './tensor/dtype.ts';
export {
  type Float8DType,
  float8Table,
  fromBfloat16Bits,
  fromFloat8Bits,
  fromFloat16Bits,
  toBfloat16Bits,
  toFloat8Bits,
  toFloat16Bits,
} from './tensor/half.ts';
export { packNibbles, unpackInt4, unpackUint4 } from './tensor/packed4.ts';
export { lazyTensor, Tensor, type TensorSource } from './tensor/tensor.ts';
export { assertValid, type VerifyOptions, verify } from './verify/verify.ts';

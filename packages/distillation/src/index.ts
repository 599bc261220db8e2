/**
 * Knowledge distillation: a student learns from a teacher in one training graph.
 *
 * @packageDocumentation
 */

export { type DiagnoseOptions, type Diagnosis, diagnose } from './diagnostics/diagnose.ts';
export {
  type Sweep,
  type SweepOptions,
  type SweepPoint,
  temperatureSweep,
} from './diagnostics/temperature-sweep.ts';
export { type DistillationOptions, type DistillationTerm, distillation } from './distillation.ts';
export { type ContrastTableOptions, contrastTable } from './losses/contrast-table.ts';
export { type ContrastiveOptions, contrastiveDistillation } from './losses/contrastive.ts';
export { type CorrelationDistillationOptions, correlationDistillation } from './losses/correlation.ts';
export type { DistillationContext, DistillationLoss, Tap } from './losses/distillation-loss.ts';
export {
  type AttentionTransferOptions,
  attentionTransfer,
  type HintOptions,
  hintDistillation,
  similarityPreserving,
} from './losses/features.ts';
export {
  type DecoupledDistillationOptions,
  decoupledDistillation,
  type LogitDistillationOptions,
  logitDistillation,
} from './losses/logits.ts';
export type { ProjectorOptions } from './losses/projector.ts';
export { type RelationalOptions, relationalDistillation } from './losses/relational.ts';
export {
  attentionDistillation,
  type HiddenStateOptions,
  hiddenStateDistillation,
  type RelationOptions,
  relationDistillation,
} from './losses/transformer.ts';
export { type MutualLearningOptions, mutualLearning } from './mutual-learning.ts';
export { distil } from './recipe/distil.ts';
export type { DistilOptions, DistilSettings } from './recipe/distil-options.ts';
export {
  type InitializeFromTeacherOptions,
  type InitializeFromTeacherSettings,
  initializeFromTeacher,
} from './recipe/initialize-pass.ts';
export { type MutualOptions, type MutualSettings, mutual } from './recipe/mutual.ts';
export { plugin } from './recipe/plugin.ts';
export type { TermChoice, TermFields, TermOptions, TermSettings } from './recipe/term-options.ts';
export {
  type InitializedStudent,
  type InitializeOptions,
  initializeFrom,
  type WeightLeft,
} from './students/initialize-from.ts';
export { findTaps, suggestTaps, type TapSuggestion } from './taps.ts';
export {
  type RecordedTeacher,
  type RecordTeacherOptions,
  recordTeacher,
} from './teacher/record-teacher.ts';
export { memoryRows, type RowStore } from './teacher/row-store.ts';
export { type Teacher, type TeacherModelOptions, teacherEnsemble, teacherModel } from './teacher/teacher.ts';

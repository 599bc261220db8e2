/**
 * The `lithe` command as a library: what `lithe compress` and `lithe run` do, callable from Node.
 *
 * @packageDocumentation
 */
export type { Top1Names } from './compress/bench.ts';
export type { NotTried } from './compress/candidates.ts';
export { type CompressOptions, compressFile } from './compress/compress.ts';
export { printCompression } from './compress/print.ts';
export type {
  AccuracyChange,
  CandidateResult,
  CompressReport,
  DriftFigures,
  LatencyChange,
  Limits,
  PassSummary,
  SizeChange,
} from './compress/report.ts';
export { type ModelFile, openModel } from './model-file.ts';
export type { Objective, TargetName } from './options.ts';
export { run } from './program.ts';
export type { DocumentPath, Place, RecipeDocument } from './recipe/document.ts';
export { type PlanOptions, planRecipe, type RecipePlan } from './recipe/plan.ts';
export type { PlannedStep } from './recipe/plan-steps.ts';
export { parseRecipe, type RecipeFile, readRecipe } from './recipe/read-recipe.ts';
export type {
  CalibrationSource,
  DataFileSource,
  Recipe,
  RecipeLimits,
  RecipeMetric,
  RecipeModel,
  RecipeStep,
  RecipeTarget,
} from './recipe/recipe.ts';
export { type RunRecipeOptions, runRecipe } from './recipe/run-recipe.ts';
export { htmlCompression } from './report/html/html-compression.ts';
export { htmlReport } from './report/html/html-report.ts';
export { printRun } from './report/print-run.ts';
export { parseRunReport, readRunReport } from './report/read-report.ts';
export type {
  BatchLatency,
  LimitCheck,
  RunReport,
  ScoredParts,
  SeedResult,
  StepResult,
  UsedData,
  WeightHistogram,
} from './report/run-report.ts';
export type { CommandIO } from './terminal/io.ts';
export { printSet } from './transformers-js/print-set.ts';
export type { SetFile, SetReport, Verification } from './transformers-js/report.ts';
export { type TransformersJsSetOptions, writeTransformersJsSet } from './transformers-js/write-set.ts';

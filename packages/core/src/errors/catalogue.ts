import { LitheError } from './lithe-error.ts';

/** Prints a shape for a message: `[2, N, ?]`. */
export function formatShape(shape: readonly (number | string | null)[] | null | undefined): string {
  if (shape === null || shape === undefined) return '[unknown rank]';
  return `[${shape.map((dim) => (dim === null ? '?' : String(dim))).join(', ')}]`;
}

/**
 * Every failure Lithe reports, one factory per kind, sorted by code. Call sites read
 * `throw errors.opUnsupported(...)`; nothing else in the project constructs a {@link LitheError}.
 */
export const errors = {
  /** An attribute is missing, has the wrong type, or a value the operator does not allow. */
  attributeInvalid: (node: string, attribute: string, problem: string): LitheError =>
    new LitheError('ATTRIBUTE_INVALID', `Attribute "${attribute}" of node "${node}" ${problem}.`, {
      details: { node, attribute },
    }),
  /** The runtime refused or failed to run a model. */
  backendFailed: (backend: string, problem: string, cause?: unknown): LitheError =>
    new LitheError('BACKEND_FAILED', `Backend "${backend}" failed: ${problem}`, {
      details: { backend },
      cause,
    }),
  /** The runtime is not installed or has no device. `fix` is the install line or the setting. */
  backendUnavailable: (backend: string, reason: string, fix: string, cause?: unknown): LitheError =>
    new LitheError('BACKEND_UNAVAILABLE', `Backend "${backend}" is not available: ${reason}`, {
      hint: fix,
      details: { backend },
      cause,
    }),
  /** A checkpoint was written by a run with another model, other data or other options. */
  checkpointMismatch: (differences: readonly string[]): LitheError =>
    new LitheError(
      'CHECKPOINT_MISMATCH',
      `The checkpoint is of another run. It differs in: ${differences.join(', ')}.`,
      {
        hint: 'Go on with the model, data and options it was written with, or use another checkpoint.',
        details: { differences },
      },
    ),
  /** A backend or pass under test does not do what its contract says. */
  conformanceFailed: (test: string, problem: string): LitheError =>
    new LitheError('CONFORMANCE_FAILED', `${test}: ${problem}`, { details: { test } }),
  /** A plugin was written for another version of a contract. */
  contractMismatch: (what: string, expected: number, actual: unknown): LitheError =>
    new LitheError(
      'CONTRACT_MISMATCH',
      `${what} implements contract version ${String(actual)}; this core speaks version ${expected}.`,
      { hint: 'Install versions of the plugin and of @lithe/core that belong together.' },
    ),
  /** A dataset or data file cannot be used. */
  dataInvalid: (source: string, problem: string, hint?: string, cause?: unknown): LitheError =>
    new LitheError('DATA_INVALID', `Data "${source}" cannot be used: ${problem}`, {
      hint,
      details: { source },
      cause,
    }),
  /** A disposed object was used. */
  disposed: (what: string): LitheError =>
    new LitheError('DISPOSED', `${what} was disposed and cannot be used any more.`),
  /** A backend cannot compute in a dtype here. `reason` says what is missing. */
  dtypeUnavailable: (backend: string, dtype: string, reason: string, cause?: unknown): LitheError =>
    new LitheError('DTYPE_UNSUPPORTED', `Backend "${backend}" cannot compute in ${dtype}: ${reason}.`, {
      hint: 'Use a backend that can, or compute in float32.',
      details: { backend, dtype },
      cause,
    }),
  /** An operation is not defined for a dtype. */
  dtypeUnsupported: (what: string, dtype: string, supported: readonly string[]): LitheError =>
    new LitheError('DTYPE_UNSUPPORTED', `${what} does not support dtype "${dtype}".`, {
      hint: `Supported: ${supported.join(', ')}.`,
      details: { dtype, supported },
    }),
  /** A tensor that a model is fed does not fit the input. `problem` continues the name: "is missing". */
  feedMismatch: (input: string, problem: string): LitheError =>
    new LitheError('SHAPE_MISMATCH', `Input "${input}" ${problem}.`, { details: { input } }),
  /** A file is malformed. */
  fileInvalid: (file: string, problem: string, cause?: unknown): LitheError =>
    new LitheError('FILE_INVALID', `File "${file}" is not valid: ${problem}`, { details: { file }, cause }),
  /** A file does not exist or cannot be read. */
  fileNotFound: (file: string, reason: string, cause?: unknown): LitheError =>
    new LitheError('FILE_NOT_FOUND', `File "${file}" cannot be read: ${reason}`, {
      details: { file },
      cause,
    }),
  /** A file cannot be written. */
  fileNotWritten: (file: string, reason: string, cause?: unknown): LitheError =>
    new LitheError('FILE_NOT_WRITTEN', `File "${file}" cannot be written: ${reason}`, {
      hint: 'Check that the folder exists, is writable and has room. What was there before is untouched.',
      details: { file },
      cause,
    }),
  /** Another run is at work in a folder. */
  folderLocked: (folder: string, lock: string, holder?: number): LitheError =>
    new LitheError(
      'FOLDER_LOCKED',
      `Folder "${folder}" is in use by another run${holder === undefined ? '' : ` (process ${holder})`}.`,
      {
        hint: `Wait for it, or choose another folder. If there is no such run, remove "${lock}" from the folder.`,
        details: { folder, holder },
      },
    ),
  /** An edit would break the graph. */
  graphEditInvalid: (problem: string, hint?: string): LitheError =>
    new LitheError('GRAPH_EDIT_INVALID', `The graph edit is not valid: ${problem}.`, { hint }),
  /** A bug of ours. */
  internal: (problem: string, cause?: unknown): LitheError =>
    new LitheError('INTERNAL', `Internal error: ${problem}.`, {
      hint: 'This is a bug in Lithe. Report it with the model and options that led here.',
      cause,
    }),
  /** Input exceeds a named safety limit. */
  limitExceeded: (limit: string, maximum: number, actual: number | bigint, where: string): LitheError =>
    new LitheError(
      'LIMIT_EXCEEDED',
      `${where} exceeds the limit "${limit}": ${String(actual)} is more than ${maximum}.`,
      {
        hint: 'The limit can be raised in the options if the input is trusted.',
        details: { limit, maximum },
      },
    ),
  /** A model breaks the rules of the graph or of ONNX. `problems` lists every diagnostic. */
  modelInvalid: (problems: readonly string[], where?: string): LitheError =>
    new LitheError(
      'MODEL_INVALID',
      `The model${where === undefined ? '' : ` ${where}`} is not valid: ${problems.slice(0, 10).join(' ')}${
        problems.length > 10 ? ` (and ${problems.length - 10} more)` : ''
      }`,
      { details: { problems } },
    ),
  /** A model declares, or is asked for, an opset that cannot be served. */
  opsetUnsupported: (domain: string, version: number, problem: string): LitheError =>
    new LitheError('OPSET_UNSUPPORTED', `Opset ${version} of domain "${domain || 'ai.onnx'}" ${problem}.`, {
      details: { domain, version },
    }),
  /** Options of a pass, command or function are not valid. */
  optionsInvalid: (what: string, problems: readonly string[], hint?: string): LitheError =>
    new LitheError('OPTIONS_INVALID', `Options of ${what} are not valid: ${problems.join(' ')}`, {
      hint,
      details: { problems },
    }),
  /** Two definitions claim the same operator or trait. */
  opConflict: (what: string): LitheError =>
    new LitheError('OP_CONFLICT', `${what} is defined twice.`, { hint: 'Leave out one of the two plugins.' }),
  /** An operator cannot be run or transformed here. */
  opUnsupported: (node: string, op: string, where: string, reason: string, hint?: string): LitheError =>
    new LitheError('OP_UNSUPPORTED', `${where} cannot handle node "${node}" (${op}): ${reason}.`, {
      hint,
      details: { node, op, where },
    }),
  /** An output, or a tensor that is compared with another, is missing or of the wrong shape or dtype. */
  outputMismatch: (name: string, problem: string): LitheError =>
    new LitheError('SHAPE_MISMATCH', `Tensor "${name}" ${problem}.`, { details: { name } }),
  /** A pass changed the results more than it declared. */
  passDrift: (pass: string, measured: string, allowed: string): LitheError =>
    new LitheError(
      'PASS_DRIFT',
      `Pass "${pass}" changed the outputs by ${measured}; it may change them by ${allowed}.`,
      {
        hint: 'The model was not changed. Report this with the model, or leave the pass out.',
        details: { pass },
      },
    ),
  /** A pass threw. */
  passFailed: (pass: string, step: number, cause: unknown): LitheError =>
    new LitheError(
      'PASS_FAILED',
      `Pass "${pass}" (step ${step}) failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      { details: { pass, step }, hint: cause instanceof LitheError ? cause.hint : undefined, cause },
    ),
  /** A pass needs something the context does not hold. */
  passNeeds: (pass: string, missing: readonly string[]): LitheError =>
    new LitheError(
      'PASS_NEEDS',
      `Pass "${pass}" needs ${missing.join(' and ')}, which the context does not hold.`,
      {
        hint: `Give ${missing.map((name) => `\`${name === 'training-data' ? 'trainingData' : name}\``).join(' and ')} to optimize().`,
        details: { pass, missing },
      },
    ),
  /** A model in memory is larger than a runtime takes in one piece. */
  modelTooLarge: (backend: string, maximum: number, actual: number): LitheError =>
    new LitheError(
      'LIMIT_EXCEEDED',
      `The model takes ${actual} bytes; backend "${backend}" takes at most ${maximum} in one piece.`,
      {
        hint: 'Save it with external data and compile it by its path.',
        details: { limit: 'modelBytes', maximum, actual },
      },
    ),
  /** The model does not meet what a pass requires. */
  passPrecondition: (pass: string, problems: readonly string[]): LitheError =>
    new LitheError('PASS_PRECONDITION', `Pass "${pass}" cannot start: ${problems.join(' ')}`, {
      details: { pass, problems },
    }),
  /** A path in a file leads out of the folder it must stay in. */
  pathEscapes: (path: string, base: string): LitheError =>
    new LitheError(
      'PATH_ESCAPES',
      `Path "${path}" leads out of the folder "${base}" or is not allowed there.`,
      {
        hint: 'External data must lie beside the model, as a plain file. The file may be hostile.',
        details: { path },
      },
    ),
  /** A step of a recipe failed while it ran. `place` is that of the step in the text. */
  recipeFailed: (step: string, place: string, cause: unknown, hint: string): LitheError =>
    new LitheError(
      'RECIPE_FAILED',
      `Step "${step}" (${place}) failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: cause instanceof LitheError && cause.hint !== undefined ? `${cause.hint} ${hint}` : hint,
        details: { step },
        cause,
      },
    ),
  /** A recipe is not well-formed, or cannot be run as it is. Lines and columns count from 1. */
  recipeInvalid: (
    recipe: string,
    problems: readonly { readonly line: number; readonly column: number; readonly message: string }[],
    hint?: string,
    cause?: unknown,
  ): LitheError =>
    new LitheError(
      'RECIPE_INVALID',
      `Recipe "${recipe}" cannot be run:${problems
        .map(({ line, column, message }) => `\n  ${recipe}:${line}:${column}: ${message}`)
        .join('')}`,
      { hint, details: { recipe, problems }, cause },
    ),
  /** Shapes or dtypes of connected values do not fit. */
  shapeMismatch: (node: string, problem: string): LitheError =>
    new LitheError('SHAPE_MISMATCH', `Node "${node}": ${problem}.`, { details: { node } }),
  /** Tensor data does not fit its dtype and shape. */
  tensorInvalid: (problem: string): LitheError =>
    new LitheError('TENSOR_INVALID', `The tensor is not valid: ${problem}.`),
  /** The training loss is not a finite number any more. */
  trainingDiverged: (step: number, loss: number): LitheError =>
    new LitheError('TRAINING_DIVERGED', `The loss of training step ${step} is ${loss}.`, {
      hint: 'Lower the learning rate, warm it up, or clip the gradients ("clipNorm"). In the first step: look for NaN in the data and for labels that are no class.',
      details: { step, loss: String(loss) },
    }),
  /** A number does not fit where it has to go. */
  valueOutOfRange: (what: string, value: number | bigint, range: string): LitheError =>
    new LitheError('VALUE_OUT_OF_RANGE', `${what} is ${String(value)}, outside ${range}.`),
  /** A trained weight is not finite, though the losses were. */
  weightsDiverged: (name: string): LitheError =>
    new LitheError('TRAINING_DIVERGED', `Weight "${name}" is not finite at the end of training.`, {
      hint: 'Lower the learning rate, warm it up, or clip the gradients ("clipNorm").',
      details: { weight: name },
    }),
} as const;

/**
 * Stops with an `INTERNAL` error when `condition` is false: for what only a bug of ours can break.
 *
 * @throws {LitheError} INTERNAL when `condition` is false
 */
export function invariant(condition: unknown, problem: string): asserts condition {
  if (!condition) throw errors.internal(problem);
}

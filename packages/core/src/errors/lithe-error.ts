/** Every error code. Codes are permanent: one is never renamed or given a second meaning. */
export type ErrorCode =
  | 'ATTRIBUTE_INVALID'
  | 'BACKEND_FAILED'
  | 'BACKEND_UNAVAILABLE'
  | 'CHECKPOINT_MISMATCH'
  | 'CONFORMANCE_FAILED'
  | 'CONTRACT_MISMATCH'
  | 'DATA_INVALID'
  | 'DISPOSED'
  | 'DTYPE_UNSUPPORTED'
  | 'FILE_INVALID'
  | 'FILE_NOT_FOUND'
  | 'FILE_NOT_WRITTEN'
  | 'FOLDER_LOCKED'
  | 'GRAPH_EDIT_INVALID'
  | 'INTERNAL'
  | 'LIMIT_EXCEEDED'
  | 'MODEL_INVALID'
  | 'OPSET_UNSUPPORTED'
  | 'OPTIONS_INVALID'
  | 'OP_CONFLICT'
  | 'OP_UNSUPPORTED'
  | 'PASS_DRIFT'
  | 'PASS_FAILED'
  | 'PASS_NEEDS'
  | 'PASS_PRECONDITION'
  | 'PATH_ESCAPES'
  | 'RECIPE_FAILED'
  | 'RECIPE_INVALID'
  | 'SHAPE_MISMATCH'
  | 'TENSOR_INVALID'
  | 'TRAINING_DIVERGED'
  | 'VALUE_OUT_OF_RANGE';

/** What a {@link LitheError} carries beside its message. */
export interface LitheErrorOptions {
  /** What the reader can do about it, as a full sentence. */
  readonly hint?: string | undefined;
  /** Machine-readable facts: names, shapes, limits. JSON-serializable. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/**
 * The one error class of Lithe. `code` says what kind of failure it is and never changes its meaning;
 * `hint` says what to do; `cause` keeps the original error.
 *
 * Use {@link isLitheError} rather than `instanceof` where two copies of the package may be installed.
 */
export class LitheError extends Error {
  /** Brand that survives duplicate installs of the package. */
  readonly '~lithe' = 'error' as const;
  /** The permanent code of this failure. */
  readonly code: ErrorCode;
  /** What the reader can do about it, or `undefined`. */
  readonly hint: string | undefined;
  /** Machine-readable facts about the failure. */
  readonly details: Readonly<Record<string, unknown>>;

  /**
   * @param code the permanent code
   * @param message one or more full sentences: what happened, to what, expected against actual
   * @param options hint, details and cause
   */
  constructor(code: ErrorCode, message: string, options: LitheErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LitheError';
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}

/**
 * Whether `error` is a {@link LitheError}, also one from another installed copy of `@lithe/core`.
 *
 * @param error anything that was thrown
 * @param code when given, only an error of this code qualifies
 */
export function isLitheError(error: unknown, code?: ErrorCode): error is LitheError {
  if (!(error instanceof Error) || (error as Partial<LitheError>)['~lithe'] !== 'error') return false;
  return code === undefined || (error as LitheError).code === code;
}

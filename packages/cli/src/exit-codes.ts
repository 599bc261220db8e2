/** What the process says when it ends. */
export const exitCodes = {
  /** Done. */
  done: 0,
  /** The work failed, or a check did not hold. */
  failed: 1,
  /** The command was called in a way that makes no sense. */
  usage: 2,
  /** Interrupted by Ctrl-C. */
  interrupted: 130,
} as const;

/** A mistake in how the command was called. */
export class UsageError extends Error {
  /**
   * @param message what is wrong with the call, as a full sentence
   * @param options what showed it, under `cause`
   */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UsageError';
  }
}

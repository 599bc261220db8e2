import { type ErrorCode, errors, isLitheError } from '@lithe/core';

/** What a suite needs of a test runner. `describe` and `it` of vitest, jest, mocha or `node:test` will do. */
export interface SuiteRunner {
  /** Groups tests. */
  describe(name: string, body: () => void): void;
  /** Adds a test. */
  it(name: string, body: () => void | Promise<void>): void;
}

/**
 * Fails a test when `condition` does not hold.
 *
 * @throws {LitheError} CONFORMANCE_FAILED
 */
export function expectThat(condition: unknown, test: string, problem: string): asserts condition {
  if (!condition) throw errors.conformanceFailed(test, problem);
}

/** The code of what a call throws: a Lithe code, `AbortError`, `none` when it succeeds, or the name of another error. */
export async function outcomeOf(run: () => unknown): Promise<ErrorCode | 'none' | (string & {})> {
  try {
    await run();
    return 'none';
  } catch (error) {
    if (isLitheError(error)) return error.code;
    return error instanceof Error ? error.name : String(error);
  }
}

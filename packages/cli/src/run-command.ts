import { isLitheError } from '@lithe/core';
import { exitCodes, UsageError } from './exit-codes.ts';
import type { CommandIO } from './terminal/io.ts';

/** Codes of failures that come from how the command was called, not from the work. */
const usageCodes = new Set(['OPTIONS_INVALID', 'PASS_NEEDS', 'RECIPE_INVALID']);

/** What a command's action gives: the exit code. */
export type Action = () => Promise<number>;

/** Runs a command's action and turns what it throws into a message on the error stream and an exit code. */
export async function runCommand(io: CommandIO, action: Action): Promise<number> {
  try {
    return await action();
  } catch (error) {
    if (io.signal.aborted) {
      io.err.write('Interrupted: nothing was left half-written.\n');
      return exitCodes.interrupted;
    }
    io.err.write(`error: ${describeError(error)}\n`);
    if (error instanceof UsageError) return exitCodes.usage;
    return isLitheError(error) && usageCodes.has(error.code) ? exitCodes.usage : exitCodes.failed;
  }
}

/** An error for people: its message, its code, and what to do. */
export function describeError(error: unknown): string {
  if (!isLitheError(error)) return error instanceof Error ? error.message : String(error);
  const lines = [`${error.message} [${error.code}]`];
  if (error.hint !== undefined) lines.push(`hint: ${error.hint}`);
  return lines.join('\n');
}

/** Prints a result as JSON, infinite and missing numbers as `null`. */
export function printJson(io: CommandIO, result: unknown): void {
  io.out.write(
    `${JSON.stringify(result, (_key, value: unknown) => (typeof value === 'bigint' ? Number(value) : value), 2)}\n`,
  );
}

import { spawnSync } from 'node:child_process';
import path from 'node:path';

/** A Python program that a benchmark compares with. */
export interface PythonPeer {
  /** The interpreter. */
  readonly python: string;
  /** File of the program, from the folder of the benchmarks. */
  readonly script: string;
  /** What it reads from its standard input, as JSON; nothing by default. */
  readonly input?: unknown;
  /** Its arguments. */
  readonly arguments?: readonly string[] | undefined;
  /** Packages that the interpreter must have, for the message. */
  readonly needs: string;
}

/**
 * Runs a Python program to its end.
 *
 * @returns the JSON of the last line that it prints
 * @throws when it cannot be run or fails, with the end of what it said
 */
export function runPython<Answer>({ python, script, input, needs, ...more }: PythonPeer): Answer {
  const file = path.join(import.meta.dirname, script);
  const { status, stdout, stderr, error } = spawnSync(python, [file, ...(more.arguments ?? [])], {
    ...(input === undefined ? {} : { input: JSON.stringify(input) }),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (error !== undefined || status !== 0) {
    // A program that ends before it read its input leaves an error here; what it said itself is the cause.
    const said = stderr ? stderr.slice(-2000) : (error?.message ?? '');
    throw new Error(`${script} failed; has the interpreter of --python ${needs}?\n${said}`);
  }
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Answer;
}

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errors, isLitheError } from '@lithe/core';
import type { z } from 'zod';
import { runReportSchema } from './report-schema.ts';
import type { RunReport } from './run-report.ts';

/** Bytes of a report that are read. */
const MOST_BYTES = 64 * 2 ** 20;
/** Problems that a message lists. */
const MOST_PROBLEMS = 5;

/** Where something is wrong, as one would write it in code: `seeds[0].steps[2].bytes`. */
function placeOf(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index > 0 ? '.' : ''}${String(key)}`))
    .join('');
}

function problemText({ issues }: z.ZodError): string {
  const shown = issues.slice(0, MOST_PROBLEMS).map(({ path, message }) => {
    const place = placeOf(path);
    return place === '' ? message : `${place}: ${message}`;
  });
  const more = issues.length - shown.length;
  return `it is no report of a run. ${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}.`;
}

/**
 * Checks what was read as JSON: names that are told apart, steps that come from steps before them, and sizes that can be
 * shown. `null` where a number belongs is one that JSON has no word for.
 *
 * @param source where it came from, for messages
 * @throws {LitheError} `FILE_INVALID` when it is no report of a run, or one of a version that is not known
 */
export function parseRunReport(json: unknown, source: string): RunReport {
  const parsed = runReportSchema.safeParse(json);
  if (!parsed.success) throw errors.fileInvalid(source, problemText(parsed.error), parsed.error);
  return parsed.data;
}

/**
 * Reads the report of a run: a JSON file that `lithe run` wrote, or the folder of the run.
 *
 * @throws {LitheError} `FILE_NOT_FOUND` when there is none; `FILE_INVALID` when it is no report of a run;
 *   `LIMIT_EXCEEDED` when it has more than 64 MiB
 */
export async function readRunReport(path: string, signal?: AbortSignal): Promise<RunReport> {
  const reason = (cause: unknown): string => (cause instanceof Error ? `${cause.message}.` : String(cause));
  let text: string;
  let file = path;
  try {
    if ((await stat(path)).isDirectory()) file = join(path, 'report.json');
    const { size } = await stat(file);
    if (size > MOST_BYTES)
      throw errors.limitExceeded('bytes of a report', MOST_BYTES, size, `File "${file}"`);
    text = await readFile(file, { encoding: 'utf8', signal });
  } catch (cause) {
    if (signal?.aborted === true || isLitheError(cause)) throw cause;
    throw errors.fileNotFound(file, reason(cause), cause);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw errors.fileInvalid(file, `it is not JSON. ${reason(cause)}`, cause);
  }
  return parseRunReport(json, file);
}

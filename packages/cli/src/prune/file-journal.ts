import { appendFile, readFile, truncate } from 'node:fs/promises';
import { errors } from '@lithe/core';
import type { SearchJournal } from '@lithe/pruning';

/**
 * A journal in a file of one JSON line per entry. Lines are only added, so that a process that is killed loses at most
 * the one it was writing.
 *
 * @throws {LitheError} FILE_INVALID when the file is something else, or cannot be written
 */
export async function fileJournal(path: string): Promise<SearchJournal> {
  const entries = new Map<string, unknown>();
  // Measurements take minutes: whether they can be kept is known before the first.
  const text = await appendFile(path, '')
    .then(() => readFile(path, 'utf8'))
    .catch((error: NodeJS.ErrnoException) => {
      throw errors.fileInvalid(path, `a journal cannot be kept there (${error.message}).`, error);
    });
  const lines = text.split('\n');
  for (const [index, line] of lines.entries()) {
    if (line === '') continue;
    // A last line without an end was cut off.
    if (index === lines.length - 1) break;
    const entry = parsed(line);
    if (entry !== undefined) entries.set(entry.key, entry.value);
    else throw errors.fileInvalid(path, `line ${index + 1} is not an entry of a journal.`);
  }
  const half = lines.at(-1) ?? '';
  let whole = half === '' ? undefined : Buffer.byteLength(text) - Buffer.byteLength(half);
  return {
    get: (key) => Promise.resolve(entries.get(key)),
    set: async (key, value) => {
      entries.set(key, value);
      if (whole !== undefined) await truncate(path, whole);
      whole = undefined;
      await appendFile(path, `${JSON.stringify({ key, value })}\n`);
    },
  };
}

function parsed(line: string): { readonly key: string; readonly value: unknown } | undefined {
  try {
    const entry: unknown = JSON.parse(line);
    if (typeof entry === 'object' && entry !== null && 'key' in entry && typeof entry.key === 'string')
      return { key: entry.key, value: 'value' in entry ? entry.value : undefined };
    return undefined;
  } catch {
    // Not JSON: the caller decides whether that is a fault.
    return undefined;
  }
}

import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errors } from '@lithe/core';
import { hasCode, isAlive, makeFolder } from './run-folder.ts';

/** Name of the file that says which process is at work in a run folder. */
export const LOCK_FILE = 'run.lock';

/** Locks of this process: one that bears its id and is not among them is of an earlier process of that id. */
const held = new Set<string>();

/** Locks that are left behind and removed before somebody else is taken to be faster each time. */
const ATTEMPTS = 5;

/**
 * Keeps other runs out of a run folder until it is disposed of. What a process left that is no more is taken over. The
 * process is known by its id, so the lock holds among the processes of one machine.
 *
 * @throws {LitheError} FOLDER_LOCKED when another run is at work there; FILE_NOT_WRITTEN
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  await makeFolder(folder);
  const path = resolve(folder, LOCK_FILE);
  const text = `${process.pid} ${randomUUID()}\n`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await created(path, text)) {
      held.add(path);
      return {
        [Symbol.asyncDispose]: async () => {
          await rm(path, { force: true });
          held.delete(path);
        },
      };
    }
    const there = await contentsOf(path);
    if (there === undefined) continue;
    const holder = Number.parseInt(there, 10);
    // One without an id was made this very moment, or is not ours: it is left alone.
    if (!(holder > 0) || (holder === process.pid ? held.has(path) : isAlive(holder)))
      throw errors.folderLocked(folder, LOCK_FILE, holder > 0 ? holder : undefined);
    await discard(path, there);
  }
  throw errors.folderLocked(folder, LOCK_FILE);
}

/** Makes the lock; `false` where there is one. */
async function created(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: 'wx' });
    return true;
  } catch (cause) {
    if (hasCode(cause, 'EEXIST')) return false;
    throw errors.fileNotWritten(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
}

async function contentsOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined;
    throw errors.fileNotFound(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
}

/** Removes a lock that was left behind, unless another process was faster and this is its own: that is put back. */
async function discard(path: string, stale: string): Promise<void> {
  const aside = join(path, '..', `.${LOCK_FILE}.${process.pid}-${randomUUID()}.tmp`);
  try {
    await rename(path, aside);
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return;
    throw errors.fileNotWritten(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
  const moved = await contentsOf(aside);
  if (moved !== undefined && moved !== stale) await created(path, moved);
  await rm(aside, { force: true });
}

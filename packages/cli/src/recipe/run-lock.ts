import { createHash, randomUUID } from 'node:crypto';
import { readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errors } from '@lithe/core';
import { hasCode, isAlive, makeFolder } from './run-folder.ts';

/** Name of the file that says which process is at work in a run folder. */
export const LOCK_FILE = 'run.lock';

/** Locks of this process: one that bears its id and is not among them is of an earlier process of that id. */
const held = new Set<string>();

/** Locks that somebody else takes and gives back meanwhile, before the folder is taken to be in use. */
const ATTEMPTS = 5;

/**
 * Keeps other runs out of a run folder until it is disposed of. What a process left that is no more is taken over. The
 * process is known by its id, so the lock holds among the processes of one machine.
 *
 * @throws {LitheError} FOLDER_LOCKED when another run is at work there; FILE_NOT_WRITTEN
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  await makeFolder(folder);
  const path = join(await realpath(folder), LOCK_FILE);
  if (held.has(path)) throw errors.folderLocked(folder, LOCK_FILE, process.pid);
  // From here to the end of this process's run, before anything is awaited: a lock with its id is not left behind.
  held.add(path);
  const text = `${process.pid} ${randomUUID()}\n`;
  try {
    await acquire(path, text, folder);
  } catch (failure) {
    held.delete(path);
    throw failure;
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await rm(path, { force: true });
      held.delete(path);
    },
  };
}

/**
 * Makes a lock, or takes over one that was left behind. Before that, one needs a lock on its very text first: whoever has it
 * and still finds the text is alone with it, and its own lock then becomes the lock in one rename. A claim that was left
 * behind is taken over in the same way.
 */
async function acquire(path: string, text: string, folder: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await created(path, text)) return;
    const there = await contentsOf(path);
    if (there === undefined) continue;
    const holder = Number.parseInt(there, 10);
    // One without an id was made this very moment, or is not ours: it is left alone.
    if (!(holder > 0) || (holder !== process.pid && isAlive(holder)))
      throw errors.folderLocked(folder, LOCK_FILE, holder > 0 ? holder : undefined);
    const name = createHash('sha256').update(there).digest('hex').slice(0, 16);
    const claim = join(path, '..', `.${LOCK_FILE}.${name}.tmp`);
    if (claim === path) throw errors.folderLocked(folder, LOCK_FILE);
    await acquire(claim, text, folder);
    if ((await contentsOf(path)) === there) return renamed(claim, path);
    await rm(claim, { force: true });
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
    throw notWritten(path, cause);
  }
}

async function renamed(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (cause) {
    throw notWritten(to, cause);
  }
}

const notWritten = (path: string, cause: unknown): Error =>
  errors.fileNotWritten(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);

async function contentsOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined;
    throw errors.fileNotFound(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
}

import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type ArtifactStore, errors, type StepReport } from '@lithe/core';
import type { StepResult } from '../report/run-report.ts';
import { identityOf } from './identity.ts';

/** What was measured of a model. */
export interface Figures
  extends Pick<
    StepResult,
    'bytes' | 'parameters' | 'macs' | 'metric' | 'latency' | 'drift' | 'weights' | 'failure'
  > {
  /** Nodes whose multiplications are not known, and not in `macs`. */
  readonly uncounted?: number | undefined;
}

/** What a step left beside its model. */
export interface StepRecord {
  /** Version of this format. */
  readonly format: 1;
  /** What the model was made from: another identity asks for another model. */
  readonly identity: string;
  /** Models that the pass asked for by name, with what tells them apart. */
  readonly models: Readonly<Record<string, string>>;
  /** Files of the model, itself first; relative to the folder of the record. */
  readonly files: readonly string[];
  /** Hash of their contents. */
  readonly contents: string;
  /** Bytes of those files. */
  readonly bytes: number;
  /** What the pass did; `null` for the model that the recipe starts from. */
  readonly pass: StepReport | null;
  /** What was measured, and with what. */
  readonly measured?: { readonly identity: string; readonly figures: Figures } | undefined;
}

/** Makes a folder, and those around it. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw errors.fileNotWritten(folder, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
}

/** Writes a file beside and renames it: whatever happens, there is the old file or the new one, whole. */
export async function writeWhole(path: string, contents: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${randomUUID()}.tmp`);
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(contents);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    // Where the folder is a file, removing fails like writing did; the first failure is the one to tell.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw errors.fileNotWritten(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
}

/** Bytes in a file; what a process that was killed left half-written is never seen. */
export function fileStore(path: string): ArtifactStore {
  return {
    read: async (signal) => {
      try {
        return new Uint8Array(await readFile(path, { signal }));
      } catch (cause) {
        if (hasCode(cause, 'ENOENT')) return undefined;
        if (signal?.aborted === true) throw cause;
        throw errors.fileNotFound(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
      }
    },
    write: (bytes) => writeWhole(path, bytes),
  };
}

/** Name of the file that a store of a pass has: passes choose names freely, file systems do not take all of them. */
export function storeFileName(name: string): string {
  if (/^[A-Za-z0-9_][\w.-]{0,99}$/.test(name)) return name;
  return `${name.replace(/[^\w-]/g, '_').slice(0, 40)}-${identityOf(name).slice(0, 12)}`;
}

/** The record at a path; `undefined` when there is none, or it is not one of ours. */
export async function readRecord(path: string): Promise<StepRecord | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined;
    throw errors.fileNotFound(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
  try {
    const record = JSON.parse(text) as Partial<StepRecord> | null;
    const whole =
      record?.format === 1 &&
      typeof record.identity === 'string' &&
      typeof record.contents === 'string' &&
      typeof record.models === 'object' &&
      Array.isArray(record.files);
    return whole ? (record as StepRecord) : undefined;
  } catch {
    // Not JSON: somebody else's file, or a damaged one; the step is made anew.
    return undefined;
  }
}

/** Writes a record. */
export async function writeRecord(path: string, record: StepRecord): Promise<void> {
  await writeWhole(path, `${JSON.stringify(record, null, 1)}\n`);
}

/** Removes what a process left half-written that is no more; the names say which process it was. */
export async function removeTemporary(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const [, pid] = /^\..*\.(\d+)-[\w-]+\.tmp$/.exec(entry.name) ?? [];
    if (entry.isFile() && pid !== undefined && !isAlive(Number(pid)))
      await rm(join(folder, entry.name), { force: true });
  }
}

/** Whether there is a process of this id. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return !hasCode(cause, 'ESRCH');
  }
}

/** Whether an error of the system has a code. */
export function hasCode(cause: unknown, code: string): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === code;
}

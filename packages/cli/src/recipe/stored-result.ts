import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isLitheError } from '@lithe/core';
import { identityOf } from './identity.ts';
import { contentsOf } from './model-contents.ts';
import type { PlannedStep } from './plan-steps.ts';
import { readRecord, type StepRecord } from './run-folder.ts';

/** Version of what identities are made of. */
export const IDENTITY_FORMAT = 1;

/** Paths of the n-th model of a seed, the original being the 0th. */
export function pathsOf(
  folder: string,
  index: number,
  name: string,
): { readonly model: string; readonly record: string; readonly work: string } {
  const base = `${String(index).padStart(2, '0')}-${name}`;
  return {
    model: join(folder, `${base}.onnx`),
    record: join(folder, `${base}.json`),
    work: join(folder, 'work', base),
  };
}

/** What the model of a step is made from. */
export function stepIdentity(step: PlannedStep, seed: number, parent: string, surroundings: unknown): string {
  return identityOf({
    format: IDENTITY_FORMAT,
    pass: step.step.name,
    version: step.step.version,
    given: step.given,
    options: step.step.options,
    seed,
    parent,
    surroundings,
  });
}

/** A result of an earlier run. */
export interface StoredResult {
  /** What is known about it. */
  readonly record: StepRecord;
  /** Path of its model. */
  readonly path: string;
}

/**
 * The result of an earlier run that was made from the same things, with files as they were: that at the step's own place,
 * or one that a step of another name or place left, so that steps may be renamed, added and left out.
 *
 * @param contents of the models that are done, by name
 */
export async function storedResult(
  folder: string,
  paths: { readonly model: string; readonly record: string },
  identity: string,
  at: { readonly contents: ReadonlyMap<string, string>; readonly signal: AbortSignal },
): Promise<StoredResult | undefined> {
  const others = (await readdir(folder).catch((): string[] => []))
    .filter((name) => /^\d+-.*\.json$/.test(name))
    .map((name) => join(folder, name));
  for (const recordPath of new Set([paths.record, ...others])) {
    const record = await readRecord(recordPath);
    if (record?.identity !== identity) continue;
    const path = recordPath.replace(/\.json$/, '.onnx');
    const same = Object.entries(record.models).every(([name, known]) => at.contents.get(name) === known);
    if (!same || !existsSync(path)) continue;
    if (await isWhole(path, record.contents, at.signal)) return { record, path };
  }
  return undefined;
}

/** Whether a model's files hold what they held; damaged ones are made anew. */
async function isWhole(path: string, contents: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await contentsOf(path, signal)).hash === contents;
  } catch (error) {
    if (isLitheError(error)) return false;
    throw error;
  }
}

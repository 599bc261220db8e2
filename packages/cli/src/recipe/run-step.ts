import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  type Backend,
  type Dataset,
  errors,
  type Model,
  optimize,
  type RunContext,
  type StepReport,
  type Target,
} from '@lithe/core';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { identityOf } from './identity.ts';
import { contentsOf } from './model-contents.ts';
import { plainReport } from './plain-report.ts';
import { ORIGINAL, type PlannedStep } from './plan-steps.ts';
import {
  fileStore,
  readRecord,
  removeTemporary,
  type StepRecord,
  storeFileName,
  writeRecord,
} from './run-folder.ts';
import { IDENTITY_FORMAT, pathsOf, type StoredResult, stepIdentity, storedResult } from './stored-result.ts';

/** A model in the run folder. */
export interface StoredModel {
  /** Name of the step. */
  readonly name: string;
  /** Path of the model. */
  readonly path: string;
  /** Path of the record beside it. */
  readonly recordPath: string;
  /** What is known about it. */
  readonly record: StepRecord;
  /** Whether it was there from an earlier run. */
  readonly resumed: boolean;
}

/** What the steps of one seed share. */
export interface SeedWork {
  /** Seed. */
  readonly seed: number;
  /** Folder of its results. */
  readonly folder: string;
  /** What tells its data and its runtime from others. */
  readonly surroundings: unknown;
  /** Randomness, messages, cancellation. */
  readonly context: RunContext;
  /** Runtime that passes run models in. */
  readonly backend: Backend;
  /** What is compressed for. */
  readonly target: Target;
  /** Real inputs, for passes. */
  readonly data: Dataset | undefined;
  /** Labelled samples, for passes. */
  readonly trainingData: Dataset | undefined;
  /** Whether results of earlier runs are left aside. */
  readonly fresh: boolean;
  /** Models that are done, by name. */
  readonly done: Map<string, StoredModel>;
}

/** Saves the model that a seed starts from. A file is copied byte for byte. */
export async function storeOriginal(work: Omit<SeedWork, 'done'>, model: Model): Promise<StoredModel> {
  const { signal } = work.context;
  const paths = pathsOf(work.folder, 0, ORIGINAL);
  await removeTemporary(work.folder);
  const saved = await saveOnnx(model, paths.model, { signal });
  const contents = await contentsOf(paths.model, signal);
  const identity = identityOf({ format: IDENTITY_FORMAT, original: contents.hash });
  const known = await readRecord(paths.record);
  const record: StepRecord = {
    format: 1,
    identity,
    models: {},
    files: saved.files.map((file) => basename(file)),
    contents: contents.hash,
    bytes: contents.bytes,
    pass: null,
    measured: known?.identity === identity && !work.fresh ? known.measured : undefined,
  };
  await writeRecord(paths.record, record);
  return { name: ORIGINAL, path: paths.model, recordPath: paths.record, record, resumed: false };
}

/** Makes the model of a step, or takes over the one that is there. */
export async function runStep(work: SeedWork, step: PlannedStep, index: number): Promise<StoredModel> {
  const { signal } = work.context;
  const paths = pathsOf(work.folder, index + 1, step.name);
  const parent = work.done.get(step.from ?? ORIGINAL);
  if (parent === undefined) throw errors.internal(`step "${step.name}" starts from nothing`);
  const identity = stepIdentity(step, work.seed, parent.record.contents, work.surroundings);
  const contents = new Map([...work.done].map(([name, model]) => [name, model.record.contents]));
  const stored = { name: step.name, path: paths.model, recordPath: paths.record };
  if (work.fresh) await rm(paths.work, { recursive: true, force: true });
  else {
    const found = await storedResult(work.folder, paths, identity, { contents, signal });
    if (found !== undefined)
      return { ...stored, record: await takeOver(found, paths, signal), resumed: true };
  }
  // What an interrupted pass left belongs to these very models and options, or is not looked at.
  const own = join(paths.work, identityOf({ identity, models: [...contents] }).slice(0, 16));
  const asked = new Set<string>();
  const { model, report } = await optimize(await loadOnnx(parent.path, { signal }), [step.step], {
    seed: work.seed,
    signal,
    onProgress: work.context.progress,
    log: work.context.log,
    backend: work.backend,
    target: work.target,
    data: work.data,
    trainingData: work.trainingData,
    models: namedModels(work, asked, signal),
    // Where only accuracy is promised nothing could come of a check: the drift is measured afterwards, and a model that
    // the target refuses is a finding, not the end of the run.
    check: step.step.preserves === 'accuracy' ? 'off' : 'when-possible',
    store: (name) => fileStore(join(own, storeFileName(name))),
  });
  // The record of an older model must not stand beside a newer one.
  await rm(paths.record, { force: true });
  const saved = await saveOnnx(model, paths.model, { signal });
  const { hash, bytes } = await contentsOf(paths.model, signal);
  const record: StepRecord = {
    format: 1,
    identity,
    models: Object.fromEntries([...asked].sort().map((name) => [name, contents.get(name) ?? ''])),
    files: saved.files.map((file) => basename(file)),
    contents: hash,
    bytes,
    pass: plainReport(report.steps[0] as StepReport),
  };
  await writeRecord(paths.record, record);
  await rm(paths.work, { recursive: true, force: true });
  return { ...stored, record, resumed: false };
}

/** Brings a result to the place of its step; the one that it was found at is left as it is. */
async function takeOver(
  found: StoredResult,
  paths: { readonly model: string; readonly record: string },
  signal: AbortSignal,
): Promise<StepRecord> {
  if (found.path === paths.model) return found.record;
  await rm(paths.record, { force: true });
  const saved = await saveOnnx(await loadOnnx(found.path, { signal }), paths.model, { signal });
  const record = { ...found.record, files: saved.files.map((file) => basename(file)) };
  await writeRecord(paths.record, record);
  return record;
}

/** Models that a pass may ask for: the original and all earlier steps, read when they are asked for. */
function namedModels(
  work: SeedWork,
  asked: Set<string>,
  signal: AbortSignal,
): Record<string, () => Promise<Model>> {
  return Object.fromEntries(
    [...work.done.values()].map((model) => [
      model.name,
      () => {
        asked.add(model.name);
        return loadOnnx(model.path, { signal });
      },
    ]),
  );
}

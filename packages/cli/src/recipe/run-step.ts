import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
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
import { externalFiles } from '@lithe/onnx';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { EQUAL_SQNR_DB } from '../compress/bench.ts';
import { openModel } from '../model-file.ts';
import { hashFiles, identityOf } from './identity.ts';
import { ORIGINAL, type PlannedStep } from './plan-steps.ts';
import {
  fileStore,
  readRecord,
  removeTemporary,
  type StepRecord,
  storeFileName,
  writeRecord,
} from './run-folder.ts';

/** Version of what identities are made of. */
const IDENTITY_FORMAT = 1;

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

/**
 * The result of an earlier run, where it was made from the same things and its files are as they were.
 *
 * @param contents of the models that are done, by name
 */
export async function storedResult(
  paths: { readonly model: string; readonly record: string },
  identity: string,
  contents: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<StepRecord | undefined> {
  const record = await readRecord(paths.record);
  if (record === undefined || record.identity !== identity || !existsSync(paths.model)) return undefined;
  for (const [name, known] of Object.entries(record.models)) {
    if (contents.get(name) !== known) return undefined;
  }
  const now = await contentsOf(paths.model, signal);
  return now.hash === record.contents ? record : undefined;
}

/** Hash and size of a model's files. */
async function contentsOf(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly hash: string; readonly bytes: number }> {
  const file = await openModel(path, signal);
  // The name of the model file itself is left out, so that a renamed step is still the same model.
  const files = [
    { path, label: 'model' },
    ...externalFiles(file.model).map((name, index) => ({ path: file.files[index + 1] ?? name, label: name })),
  ];
  return { hash: await hashFiles(files, signal), bytes: file.bytes };
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
    const record = await storedResult(paths, identity, contents, signal);
    if (record !== undefined) return { ...stored, record, resumed: true };
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
  await removeStale(work.folder, index + 1, step.name);
  return { ...stored, record, resumed: false };
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

/** Removes what a step of another name left at this place. */
async function removeStale(folder: string, index: number, name: string): Promise<void> {
  const prefix = `${String(index).padStart(2, '0')}-`;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.startsWith(prefix)) continue;
    const rest = entry.name.slice(prefix.length);
    if (rest !== `${name}.json` && !rest.startsWith(`${name}.onnx`))
      await rm(join(folder, entry.name), { force: true });
  }
}

/** A report that JSON can hold: infinite and missing numbers are written as texts, or said to be left out. */
export function plainReport(report: StepReport): StepReport {
  const { check, tables, metrics, skipped } = report;
  const finite = (value: number): number => (Number.isFinite(value) ? value : Number.MAX_VALUE);
  const lost = Object.entries(metrics).filter(([, metric]) => !Number.isFinite(metric.value));
  return {
    ...report,
    options: JSON.parse(
      JSON.stringify(report.options ?? null, (_key, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      ),
    ),
    metrics: Object.fromEntries(
      Object.entries(metrics).filter(([, metric]) => Number.isFinite(metric.value)),
    ),
    skipped: [
      ...skipped,
      ...lost.map(([name, { value }]) => ({
        target: name,
        code: 'figure-not-finite',
        reason: `the figure is ${value}`,
      })),
    ],
    check:
      check === undefined
        ? undefined
        : {
            ...check,
            maxAbs: finite(check.maxAbs),
            maxRelative: finite(check.maxRelative),
            sqnrDb: Math.min(check.sqnrDb, EQUAL_SQNR_DB),
          },
    ...(tables === undefined
      ? {}
      : {
          tables: Object.fromEntries(
            Object.entries(tables).map(([name, table]) => [
              name,
              {
                ...table,
                rows: table.rows.map((row) =>
                  row.map((cell) =>
                    typeof cell === 'number' && !Number.isFinite(cell) ? String(cell) : cell,
                  ),
                ),
              },
            ]),
          ),
        }),
  };
}

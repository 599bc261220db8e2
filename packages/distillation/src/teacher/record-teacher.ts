import {
  type Backend,
  type Batch,
  createRunContext,
  type Executable,
  elementsOf,
  errors,
  type Feeds,
  type Model,
  type RunContext,
  type RunOptions,
  Tensor,
} from '@lithe/core';
import type { SampleTable } from '@lithe/training';
import { identityOf } from './model-identity.ts';
import { recordingForm } from './recording-form.ts';
import { memoryRows, type RowStore } from './row-store.ts';
import type { Teacher } from './teacher.ts';

/** How a teacher's outputs are recorded. */
export interface RecordTeacherOptions extends RunOptions {
  /** Runs the teacher. */
  readonly backend: Backend;
  /** Values to record, inner ones included; its outputs by default. Each must be float with the samples as first axis. */
  readonly values?: readonly string[] | undefined;
  /** Where the rows of a value go; memory by default, `fileRows` of `@lithe/distillation/node` for files. */
  readonly store?: ((value: string) => RowStore) | undefined;
  /** Samples in one run; 64 by default. A teacher that takes one sample only needs 1. */
  readonly batchSize?: number | undefined;
  /** For reports and the names of inputs; `teacher` by default. Several teachers of one table need names of their own. */
  readonly name?: string | undefined;
  /** The samples' input for each of the teacher's, by the teacher's name; the same names by default. */
  readonly inputs?: Readonly<Record<string, string>> | undefined;
}

/** A teacher whose outputs are known for all samples. */
export interface RecordedTeacher {
  /** Takes them from what the table feeds: the teacher is not run again. */
  readonly teacher: Teacher;
  /** The samples with the teacher's outputs among the targets. */
  readonly table: SampleTable;
}

/**
 * Runs a teacher once over all samples and keeps what it says, so that training does not run it in every epoch. Rows
 * are written as they come; a run that was stopped goes on where it was. Rows of another teacher, of another number of
 * samples or of other samples are dropped; whether samples are others is told by 64 of them, evenly spread, so that a few
 * that changed in a large table may go unseen: begin with an empty store then. Do not change the samples afterwards: what
 * the teacher said is of the sample as it was here, and augmentation (but for mixing that mixes targets alike) makes it
 * wrong. Labels are not needed.
 *
 * @param model the teacher; not changed
 * @throws {LitheError} OPTIONS_INVALID when a value is unknown or has no row for each sample, the batch size is no whole
 *   number above 0, or another teacher of the same name was recorded with the table; DATA_INVALID when there are no
 *   samples; BACKEND_FAILED
 */
export async function recordTeacher(
  model: Model,
  table: SampleTable,
  options: RecordTeacherOptions,
): Promise<RecordedTeacher> {
  const { backend, batchSize = 64, name = 'teacher', store = () => memoryRows() } = options;
  const context = createRunContext(options);
  if (!(Number.isInteger(batchSize) && batchSize > 0))
    throw errors.optionsInvalid('recordTeacher', ['"batchSize" must be a whole number above 0.']);
  if (table.size === 0) throw errors.dataInvalid(table.description, 'it holds no samples.');
  const values = options.values ?? model.graph.outputs.map((output) => output.name);
  const targetOf = (value: string): string => `${name}:${value}`;
  const seen = await table.gather(spread(table.size, PROBED), context.signal);
  refuseTaken(seen, values.map(targetOf), name);
  const inputs = options.inputs ?? {};
  const probe = await recordingForm(model, values, (input) => seen.inputs[inputs[input] ?? input]?.dtype);
  const stores = new Map(values.map((value) => [value, store(value)]));
  await using executable = await backend.compile(probe, { signal: context.signal });
  const run: Recording = { executable, table, values, stores, inputs, name };
  const identity = await identityOf(probe, feedsOf(run, seen), `${table.size} samples`);
  const shapes = await prepare(run, { identity, count: Math.min(2, batchSize, table.size) }, context);
  await record(run, { batchSize, context, shapes });
  return {
    teacher: {
      name: `${name} (recorded)`,
      value: (value, loss) => {
        const shape = shapes.get(value);
        if (shape === undefined)
          throw errors.optionsInvalid(
            `teacher "${name}"`,
            [`Its value "${value}" was not recorded.`],
            `Recorded are ${values.join(', ')}.`,
          );
        return loss.target(targetOf(value), 'float32', ['N', ...shape]);
      },
    },
    table: {
      size: table.size,
      description: `${table.description}, with what ${name} says`,
      gather: async (indices, signal) => {
        const batch = await table.gather(indices, signal);
        const said: Record<string, Tensor> = {};
        for (const [value, rows] of stores)
          said[targetOf(value)] = Tensor.fromBytes(
            'float32',
            [indices.length, ...(shapes.get(value) ?? [])],
            await rows.read(indices),
          );
        return { ...batch, targets: { ...batch.targets, ...said } };
      },
    },
  };
}

interface Recording {
  readonly executable: Executable;
  readonly table: SampleTable;
  readonly values: readonly string[];
  readonly stores: ReadonlyMap<string, RowStore>;
  readonly inputs: Readonly<Record<string, string>>;
  readonly name: string;
}

/** Samples that tell whether a recording is of the same ones. */
const PROBED = 64;

/** At most `count` numbers below `size`, evenly spread, the first and the last among them. */
function spread(size: number, count: number): Uint32Array {
  const all = Math.min(size, count);
  return Uint32Array.from({ length: all }, (_, at) => Math.floor((at * (size - 1)) / Math.max(1, all - 1)));
}

/** Refuses names of targets that the samples have: what another teacher said would be lost. */
function refuseTaken({ inputs, targets }: Batch, names: readonly string[], teacher: string): void {
  const taken = names.filter((name) => inputs[name] !== undefined || targets?.[name] !== undefined);
  if (taken.length > 0)
    throw errors.optionsInvalid(
      'recordTeacher',
      taken.map((name) => `The samples have a "${name}" already.`),
      `Give each teacher a name of its own: name, which is "${teacher}" here.`,
    );
}

function feedsOf({ executable, inputs }: Recording, batch: Batch): Feeds {
  const feeds: Record<string, Tensor> = {};
  for (const name of executable.inputNames) {
    const tensor = batch.inputs[inputs[name] ?? name];
    if (tensor === undefined)
      throw errors.optionsInvalid('recordTeacher', [
        `The samples have no "${inputs[name] ?? name}" for the teacher's input "${name}".`,
      ]);
    feeds[name] = tensor;
  }
  return feeds;
}

async function feedsFor(run: Recording, indices: Uint32Array, signal: AbortSignal): Promise<Feeds> {
  return feedsOf(run, await run.table.gather(indices, signal));
}

/** Finds the shape of a row of each value, and clears stores that hold something else. */
async function prepare(
  run: Recording,
  { identity, count }: { readonly identity: string; readonly count: number },
  { signal }: RunContext,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const first = Uint32Array.from({ length: count }, (_, index) => index);
  const outputs = await run.executable.run(await feedsFor(run, first, signal), { signal });
  const shapes = new Map<string, readonly number[]>();
  for (const [name, rows] of run.stores) {
    const tensor = outputs[name];
    const shape = tensor?.shape.slice(1) ?? [];
    if (tensor?.dtype !== 'float32' || tensor.shape[0] !== count || elementsOf(shape) === 0)
      throw errors.optionsInvalid('recordTeacher', [
        `Value "${name}" is ${tensor?.dtype} [${tensor?.shape.join(', ')}]: it must be float with a row for each sample.`,
      ]);
    shapes.set(name, shape);
    if ((await rows.identity()) !== identity) await rows.reset(identity, 4 * elementsOf(shape));
  }
  return shapes;
}

async function record(
  run: Recording,
  {
    batchSize,
    context,
    shapes,
  }: {
    readonly batchSize: number;
    readonly context: RunContext;
    readonly shapes: ReadonlyMap<string, readonly number[]>;
  },
): Promise<void> {
  const { table, stores, executable } = run;
  const done = new Map<string, number>();
  for (const [name, rows] of stores) done.set(name, await rows.rows());
  for (let start = Math.min(...done.values()); start < table.size; start += batchSize) {
    context.signal.throwIfAborted();
    const end = Math.min(start + batchSize, table.size);
    const indices = Uint32Array.from({ length: end - start }, (_, at) => start + at);
    const outputs = await executable.run(await feedsFor(run, indices, context.signal), {
      signal: context.signal,
    });
    for (const [name, rows] of stores) {
      // One value may be further than another when a run was stopped between two of them.
      const known = Math.max(start, Math.min(done.get(name) ?? 0, end));
      const rowBytes = 4 * elementsOf(shapes.get(name) ?? []);
      const tensor = outputs[name];
      if (tensor !== undefined && known < end)
        await rows.append(tensor.bytes.subarray((known - start) * rowBytes));
    }
    context.progress({ task: 'record teacher', done: end, total: table.size });
  }
}

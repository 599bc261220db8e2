import { type Backend, errors, inferShapes, type Model, Tensor, topKAccuracy } from '@lithe/core';
import type { SampleTable } from '../data/sample-table.ts';
import { addLoss } from '../losses/add-loss.ts';
import type { Loss } from '../losses/loss.ts';
import type { TaskLoss } from './loss-options.ts';

/** How a model is measured on samples. */
export interface EvaluateSamplesOptions {
  /** Runs it. */
  readonly backend: Backend;
  /** Samples in one run. */
  readonly batchSize: number;
  /** Cancellation. */
  readonly signal: AbortSignal;
}

function* rowsOf(size: number, batchSize: number): Generator<Uint32Array> {
  for (let start = 0; start < size; start += batchSize)
    yield Uint32Array.from({ length: Math.min(batchSize, size - start) }, (_, at) => start + at);
}

/** Share of samples whose class is that of the largest score, in [0, 1]. */
export async function accuracyOnSamples(
  model: Model,
  table: SampleTable,
  {
    output,
    target,
    backend,
    batchSize,
    signal,
  }: EvaluateSamplesOptions & Pick<TaskLoss, 'output' | 'target'>,
): Promise<number> {
  const probe = model.clone();
  const value = probe.graph.value(output);
  if (value === undefined) throw errors.internal(`the trained model has no "${output}"`);
  probe.graph.setOutputs([value]);
  await using executable = await backend.compile(probe, { signal });
  let right = 0;
  for (const rows of rowsOf(table.size, batchSize)) {
    signal.throwIfAborted();
    const { inputs, targets } = await table.gather(rows, signal);
    const feeds = Object.fromEntries(
      executable.inputNames.flatMap((name) => (inputs[name] === undefined ? [] : [[name, inputs[name]]])),
    );
    const scores = (await executable.run(feeds, { signal }))[output];
    const labels = targets?.[target];
    if (!(scores instanceof Tensor) || labels === undefined)
      throw errors.internal(`no scores "${output}" or no labels "${target}"`);
    right += topKAccuracy(scores, labels) * rows.length;
  }
  return right / table.size;
}

/** Mean loss over samples, with the weights of the loss itself where they start. */
export async function lossOnSamples(
  model: Model,
  table: SampleTable,
  { loss, backend, batchSize, signal }: EvaluateSamplesOptions & { readonly loss: Loss },
): Promise<number> {
  const probe = model.clone();
  await inferShapes(probe);
  const { value } = addLoss(probe, loss);
  probe.graph.setOutputs([value]);
  await using executable = await backend.compile(probe, { signal });
  let sum = 0;
  for (const rows of rowsOf(table.size, batchSize)) {
    signal.throwIfAborted();
    const { inputs, targets } = await table.gather(rows, signal);
    const all = { ...inputs, ...targets };
    const feeds = Object.fromEntries(
      executable.inputNames.flatMap((name) => (all[name] === undefined ? [] : [[name, all[name]]])),
    );
    const result = (await executable.run(feeds, { signal }))[value.name];
    if (!(result instanceof Tensor)) throw errors.internal('the loss gave no number');
    sum += (result.toFloat64Array()[0] ?? Number.NaN) * rows.length;
  }
  return sum / table.size;
}

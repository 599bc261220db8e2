import { createRunContext, type Executable, errors, type Feeds, type Model, type Tensor } from '@lithe/core';
import type { SampleTable } from '../data/sample-table.ts';
import { checkFloat16 } from '../precision/check-float16.ts';
import { type TrainingStep, trainingStep } from '../step/training-step.ts';
import { prepareStep, rateAt, shuffledOrder } from './batches.ts';
import { type KeptRun, type Progressed, packCheckpoint, unpackCheckpoint } from './fit-checkpoint.ts';
import type { EpochRecord, FitOptions, FitResult } from './fit-options.ts';
import type { Run } from './run.ts';
import { runIdentity } from './run-identity.ts';
import { trainedModel } from './trained-model.ts';

/**
 * Trains a model. Weights and optimizer slots stay on the device; only batches go in and losses come out. Samples are
 * shuffled anew in each epoch by the seed, and the next batch is prepared while a step runs. The same seed, data and
 * backend give the same weights, and a run that was killed goes on from its checkpoint to the same weights as an
 * unbroken one. Cancellation takes effect after the step that runs; a checkpoint is written first where there is a store.
 *
 * @param model the model; it is not changed
 * @param data what it is trained on
 * @throws {LitheError} OPTIONS_INVALID; OP_UNSUPPORTED when the model cannot be differentiated; FILE_INVALID when the
 *   checkpoint is damaged; CHECKPOINT_MISMATCH when it is of another run; TRAINING_DIVERGED when the loss or a
 *   weight of the result is not finite
 */
export async function fit(model: Model, data: SampleTable, options: FitOptions): Promise<FitResult> {
  checkOptions(options);
  const context = createRunContext(options);
  context.signal.throwIfAborted();
  const { batchSize, dropLast = true, backend, checkpoint } = options;
  const stepsPerEpoch = dropLast ? Math.floor(data.size / batchSize) : Math.ceil(data.size / batchSize);
  if (stepsPerEpoch === 0) {
    throw errors.optionsInvalid('fit', [`${data.size} samples do not fill one batch of ${batchSize}.`]);
  }
  if ((options.mixedPrecision ?? false) !== false) await checkFloat16(backend, context.signal);
  const step = await trainingStep(model, options);
  const identity =
    checkpoint === undefined ? {} : await runIdentity(step, options, { samples: data.size, stepsPerEpoch });
  const run: Run = { model, data, options, context, step, identity, stepsPerEpoch };
  const bytes = await checkpoint?.read(context.signal);
  const kept = bytes === undefined ? undefined : unpackCheckpoint(bytes, step, identity);
  if (kept !== undefined && isFinished(run, kept.progressed)) return result(run, kept);
  const executable = await backend.compile(step.model, { state: step.state, signal: context.signal });
  try {
    if (kept !== undefined) await executable.writeState(kept.state);
    return await train(
      run,
      executable,
      kept?.progressed ?? { step: 0, epochLoss: 0, history: [], best: undefined, bestState: undefined },
    );
  } finally {
    await executable.dispose();
  }
}

function checkOptions(options: FitOptions): void {
  const { backend, batchSize, epochs, learningRate, checkpointEvery = 1, patience = 1 } = options;
  const problems: string[] = [];
  for (const [name, value] of Object.entries({ batchSize, epochs, checkpointEvery, patience })) {
    if (!Number.isInteger(value) || value < 1) problems.push(`"${name}" must be a whole number above 0.`);
  }
  if (!(learningRate > 0 && Number.isFinite(learningRate))) problems.push('"learningRate" must be above 0.');
  if (options.patience !== undefined && options.evaluate === undefined)
    problems.push('"patience" needs "evaluate".');
  if (!backend.features.has('state'))
    problems.push(`Backend "${backend.name}" does not keep state between runs.`);
  if (problems.length > 0) throw errors.optionsInvalid('fit', problems);
}

async function train(run: Run, executable: Executable, progressed: Progressed): Promise<FitResult> {
  const { options, context, stepsPerEpoch } = run;
  const steps = options.epochs * stepsPerEpoch;
  const first = progressed.step;
  let trained = 0;
  let lost = 0;
  while (!isFinished(run, progressed)) {
    const epoch = Math.floor(progressed.step / stepsPerEpoch);
    const end = (epoch + 1) * stepsPerEpoch;
    const order = shuffledOrder(run, epoch);
    const before = trained;
    let next = prepareStep(run, order, progressed.step);
    while (progressed.step < end) {
      if (context.signal.aborted) {
        await Promise.allSettled([next]);
        await save(run, executable, progressed);
        context.signal.throwIfAborted();
      }
      const started = context.now();
      const { feeds, size } = await next;
      const running = executable.run(feeds, { outputs: stepOutputs(run.step) });
      // The next batch is gathered while this step runs on its own thread.
      if (progressed.step + 1 < end) next = prepareStep(run, order, progressed.step + 1);
      const [outcome] = await Promise.allSettled([running, next]);
      if (outcome.status === 'rejected') throw outcome.reason;
      const scaled = scaleOf(run.step, outcome.value);
      const loss = lossOf(run, progressed, {
        results: outcome.value,
        skipped: scaled?.skipped === true,
        lost,
      });
      lost = Number.isFinite(loss) ? 0 : lost + 1;
      const learningRate = rateAt(run, progressed.step);
      progressed.step++;
      progressed.epochLoss += (Number.isFinite(loss) ? loss : meanLoss(run, progressed)) * size;
      const milliseconds = context.now() - started;
      trained += milliseconds;
      const remainingMilliseconds = (trained / (progressed.step - first)) * (steps - progressed.step);
      options.onStep?.({
        step: progressed.step,
        steps,
        epoch: epoch + 1,
        loss,
        learningRate,
        milliseconds,
        remainingMilliseconds,
        ...scaled,
      });
      const label = `epoch ${epoch + 1} of ${options.epochs}, loss ${loss.toFixed(4)}, ${Math.ceil(remainingMilliseconds / 1000)} s left`;
      context.progress({ task: 'fit', done: progressed.step, total: steps, label });
      const { checkpointEvery } = options;
      if (checkpointEvery !== undefined && progressed.step < end && progressed.step % checkpointEvery === 0) {
        await save(run, executable, progressed);
      }
    }
    await endEpoch(run, executable, progressed, trained - before);
  }
  return result(run, { state: await executable.readState(weightNames(run.step)), progressed });
}

function stepOutputs({ loss, lossScale }: TrainingStep): readonly string[] {
  return lossScale === undefined ? [loss] : [loss, lossScale.scale, lossScale.skipped];
}

const numberOf = (results: Feeds, name: string): number =>
  (results[name] as Tensor).toFloat64Array()[0] as number;

/** How the loss of a step was scaled; `undefined` when it was not. */
function scaleOf(
  { lossScale }: TrainingStep,
  results: Feeds,
): { lossScale: number; skipped: boolean } | undefined {
  if (lossScale === undefined) return undefined;
  return {
    lossScale: numberOf(results, lossScale.scale),
    skipped: numberOf(results, lossScale.skipped) !== 0,
  };
}

/** Steps in a row whose loss may be no number because float16 overflowed in the forward part, and which are skipped. */
const MAX_LOST = 32;

function lossOf(
  { step }: Run,
  progressed: Progressed,
  { results, skipped, lost }: { readonly results: Feeds; readonly skipped: boolean; readonly lost: number },
): number {
  const loss = numberOf(results, step.loss);
  if (!Number.isFinite(loss) && !(skipped && lost < MAX_LOST))
    throw errors.trainingDiverged(progressed.step + 1, loss);
  return loss;
}

/** Mean loss of the epoch before the step that was just counted. */
function meanLoss({ stepsPerEpoch, options }: Run, { step, epochLoss }: Progressed): number {
  const before = (step - 1) % stepsPerEpoch;
  return before === 0 ? 0 : epochLoss / (before * options.batchSize);
}

async function endEpoch(
  run: Run,
  executable: Executable,
  progressed: Progressed,
  milliseconds: number,
): Promise<void> {
  const { options, step, context, stepsPerEpoch, data } = run;
  const state = options.evaluate === undefined ? undefined : await executable.readState(weightNames(step));
  const metric =
    state === undefined ? undefined : await options.evaluate?.(inferenceModel(run, state), context);
  const { dropLast = true, batchSize } = options;
  const entry: EpochRecord = {
    epoch: progressed.history.length + 1,
    loss: progressed.epochLoss / (dropLast ? stepsPerEpoch * batchSize : data.size),
    learningRate: rateAt(run, progressed.step - 1),
    milliseconds,
    ...(metric === undefined ? {} : { metric }),
  };
  progressed.history.push(entry);
  progressed.epochLoss = 0;
  if (metric !== undefined && metric > (progressed.best?.metric ?? Number.NEGATIVE_INFINITY)) {
    progressed.best = { epoch: entry.epoch, metric };
    progressed.bestState = options.keepBest === false ? undefined : state;
  }
  await save(run, executable, progressed);
  options.onEpoch?.(entry);
}

/** Whether all steps are done, or the metric has not become better for long enough. */
function isFinished({ options, stepsPerEpoch }: Run, { step, best, history }: Progressed): boolean {
  if (step >= options.epochs * stepsPerEpoch) return true;
  const { patience } = options;
  return (
    patience !== undefined && step % stepsPerEpoch === 0 && history.length - (best?.epoch ?? 0) >= patience
  );
}

async function save(
  { options, identity }: Run,
  executable: Executable,
  progressed: Progressed,
): Promise<void> {
  if (options.checkpoint === undefined) return;
  await options.checkpoint.write(
    packCheckpoint({ state: await executable.readState(), progressed }, identity),
  );
}

/** State that makes up the trained model. */
function weightNames({ parameters, averages, statistics }: TrainingStep): readonly string[] {
  return [...parameters.map((name) => averages.get(name) ?? name), ...statistics];
}

function inferenceModel({ model, step }: Run, state: Feeds): Model {
  const weights: Record<string, Tensor> = {};
  for (const name of [...step.parameters, ...step.statistics]) {
    const tensor = state[step.averages.get(name) ?? name];
    if (tensor === undefined) throw errors.internal(`the state has no "${name}"`);
    weights[name] = tensor;
  }
  return trainedModel(model, weights);
}

function result(run: Run, { state, progressed }: KeptRun): FitResult {
  const { best, bestState, history } = progressed;
  const isBest = best !== undefined && bestState !== undefined;
  const weights = isBest ? bestState : state;
  // The loss of a step is that of the weights before it: of the last ones there is none.
  for (const name of weightNames(run.step)) {
    const tensor = weights[name];
    if (tensor !== undefined && !allFinite(tensor)) throw errors.weightsDiverged(name);
  }
  return { model: inferenceModel(run, weights), history, epoch: isBest ? best.epoch : history.length };
}

/** Whether a float tensor holds no infinite number and no NaN: either times 0 is NaN. */
function allFinite(tensor: Tensor): boolean {
  const { data } = tensor;
  const numbers =
    data instanceof Float32Array || data instanceof Float64Array ? data : tensor.toFloat64Array();
  let sum = 0;
  for (let index = 0; index < numbers.length; index++) sum += numbers[index]! * 0;
  return sum === 0;
}

import { type Batch, type Feeds, Tensor } from '@lithe/core';
import { maskFeeds, symbolSizes } from './dropout-masks.ts';
import type { Run } from './run.ts';
import { constantSchedule } from './schedule.ts';

/** The order in which an epoch reads the samples. */
export function shuffledOrder({ data, context }: Run, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: data.size }, (_, index) => index);
  context.rng.fork(`order:${epoch}`).shuffle(order);
  return order;
}

/** Learning rate of a step, from 0. */
export function rateAt({ options, stepsPerEpoch }: Run, step: number): number {
  const { schedule = constantSchedule(), epochs, learningRate } = options;
  return (
    learningRate * schedule({ step, steps: epochs * stepsPerEpoch, epoch: Math.floor(step / stepsPerEpoch) })
  );
}

/** Everything one step is fed, and the number of its samples. Depends on the seed and the number of the step alone. */
export async function prepareStep(
  run: Run,
  order: Uint32Array,
  step: number,
): Promise<{ readonly feeds: Feeds; readonly size: number }> {
  const { options, data, context, stepsPerEpoch } = run;
  const start = (step % stepsPerEpoch) * options.batchSize;
  const indices = order.subarray(start, Math.min(start + options.batchSize, order.length));
  const rng = context.rng.fork(`step:${step}`);
  let batch: Batch = await data.gather(indices);
  for (const change of options.augment ?? []) batch = change(batch, rng);
  const feeds = {
    ...batch.inputs,
    ...batch.targets,
    ...maskFeeds(run.step.masks, symbolSizes(run.step.model.graph, batch.inputs), rng),
    [run.step.learningRate]: Tensor.from('float32', [], Float32Array.of(rateAt(run, step))),
  };
  return { feeds, size: indices.length };
}

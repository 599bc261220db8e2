import type { Backend, Model } from '@lithe/core';
import { distillation, logitDistillation, teacherModel } from '@lithe/distillation';
import {
  adamW,
  crossEntropy,
  fit,
  flip,
  freshWeights,
  type Loss,
  oneCycleSchedule,
  sampleTable,
} from '@lithe/training';
import type { FashionPart } from '@lithe-internal/models';

/** How a network is trained on. */
export interface TrainRequest {
  /** Runs it. */
  readonly backend: Backend;
  /** What it learns from. */
  readonly images: FashionPart;
  /** Passes over the images. */
  readonly epochs: number;
  /** Largest learning rate of one cycle. */
  readonly learningRate: number;
  /** Order of the samples and mirror images. */
  readonly seed: number;
  /** The network it is to be like; labels alone by default. */
  readonly teacher?: Model | undefined;
  /** Says how it goes. */
  readonly log: (line: string) => void;
}

/** Trains a network on, with AdamW, one cycle and mirror images: as the originals were trained. */
export async function train(model: Model, request: TrainRequest): Promise<Model> {
  const { backend, images, epochs, learningRate, seed, teacher, log } = request;
  const task = crossEntropy({ logits: 'logits' });
  const loss: Loss =
    teacher === undefined
      ? task
      : distillation({
          teacher: await teacherModel(teacher),
          terms: [{ loss: logitDistillation({ temperature: 4 }), weight: 0.9 }],
          task,
          taskWeight: 0.1,
        });
  const result = await fit(
    model,
    sampleTable({ inputs: { x: images.x }, targets: { label: images.label } }),
    {
      backend,
      loss,
      optimizer: adamW(),
      learningRate,
      schedule: oneCycleSchedule(),
      augment: [flip()],
      epochs,
      batchSize: 128,
      seed,
      onEpoch: ({ epoch, loss: mean, milliseconds }) =>
        log(`epoch ${epoch} of ${epochs}, loss ${mean.toFixed(4)}, ${(milliseconds / 1000).toFixed(0)} s`),
    },
  );
  return result.model;
}

/** The same network with the weights it would have before training: what the pruned one is compared with. */
export async function fresh(model: Model, seed: number): Promise<Model> {
  const copy = model.clone();
  const { left } = await freshWeights(copy, { seed });
  if (left.length > 0) throw new Error(`Not drawn: ${left.map(({ name }) => name).join(', ')}.`);
  return copy;
}

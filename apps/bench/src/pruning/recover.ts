import { type Backend, createRng, elementsOf, type Model, Tensor } from '@lithe/core';
import { distillation, logitDistillation, teacherModel } from '@lithe/distillation';
import {
  adamW,
  crossEntropy,
  fit,
  flip,
  kaimingNormal,
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
export function fresh(model: Model, seed: number): Model {
  const copy = model.clone();
  const rng = createRng(seed);
  const draw = kaimingNormal({ fan: 'in' });
  for (const value of copy.graph.initializers) {
    const source = value.initializer;
    if (source?.dtype !== 'float32') continue;
    const { shape } = source;
    const use = value.uses[0];
    const even = (number: number): Tensor =>
      Tensor.from('float32', shape, new Float32Array(elementsOf(shape)).fill(number));
    if (shape.length >= 2) {
      const fanIn = elementsOf(shape.slice(1));
      copy.graph.setInitializer(value, draw({ shape, fanIn, fanOut: shape[0] ?? 1, rng }));
    } else if (use?.node.is('BatchNormalization') === true) {
      // Scale and variance begin at 1, shift and mean at 0.
      copy.graph.setInitializer(value, even(use.index === 1 || use.index === 4 ? 1 : 0));
    } else if (shape.length === 1 && use?.index === 2) copy.graph.setInitializer(value, even(0));
  }
  return copy;
}

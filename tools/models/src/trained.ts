import path from 'node:path';
import type { Backend, Model } from '@lithe/core';
import { loadOnnx } from '@lithe/onnx/node';
import { accuracyOf } from '@lithe-internal/example-cnn/train';
import type { FashionPart } from './fashion-mnist.ts';
import type { TrainedName } from './networks.ts';

/**
 * A network of this folder as `train-all.ts` left it: batch normalization not folded, float32 weights. Accuracy on
 * the 10,000 held-out images: README.md.
 */
export function loadTrainedModel(name: TrainedName): Promise<Model> {
  return loadOnnx(path.join(import.meta.dirname, '../trained', `${name}.onnx`));
}

/** Share of images whose class a model gets right, in batches of 500. */
export function accuracyOn(model: Model, backend: Backend, images: FashionPart): Promise<number> {
  return accuracyOf(model, backend, images);
}

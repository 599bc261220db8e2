import { arrayDataset, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { passConformance } from '@lithe/testkit';
import { cnn, mlp, train } from '@lithe/training';
import { describe, it } from 'vitest';

const label = Tensor.from('int64', [8], BigInt64Array.of(0n, 1n, 2n, 0n, 1n, 2n, 0n, 1n));
const waves = (shape: readonly number[]): Tensor<'float32'> => {
  const size = shape.reduce((left, right) => left * right, 1);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: size }, (_, at) => Math.sin(at)),
  );
};
const steps = { epochs: 1, batchSize: 4, learningRate: 0.01 };

for (const [name, x, model] of [
  ['a perceptron', waves([8, 3]), () => mlp({ inputs: 3, hidden: [4], classes: 3 })],
  ['a CNN', waves([8, 1, 8, 8]), () => cnn({ image: [1, 8, 8], classes: 3 })],
] as const) {
  passConformance(() => train({ ...steps, initialize: true }), [{ name, model, feeds: { x } }], {
    describe,
    it,
    // Training what was trained is what it is for.
    idempotent: false,
    context: {
      backend: referenceBackend(),
      trainingData: arrayDataset({ inputs: { x }, targets: { label } }),
    },
  });
}

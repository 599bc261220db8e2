import { arrayDataset, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { distil, initializeFromTeacher, mutual } from '@lithe/distillation';
import { passConformance } from '@lithe/testkit';
import { mlp } from '@lithe/training';
import { describe, it } from 'vitest';
import { floats } from './support.ts';

const x = floats(
  [8, 3],
  Array.from({ length: 24 }, (_, at) => Math.sin(at)),
);
const label = Tensor.from('int64', [8], BigInt64Array.of(0n, 1n, 2n, 0n, 1n, 2n, 0n, 1n));
const subjects = [
  { name: 'a perceptron', model: () => mlp({ inputs: 3, hidden: [4], classes: 3 }), feeds: { x } },
];
const context = {
  backend: referenceBackend(),
  trainingData: arrayDataset({ inputs: { x }, targets: { label } }),
  models: { teacher: () => mlp({ inputs: 3, hidden: [8], classes: 3, seed: 1 }) },
};
const steps = { epochs: 1, batchSize: 4, learningRate: 0.01 };

for (const make of [
  () => distil({ ...steps, teacher: 'teacher' }),
  () => mutual(steps),
  () => initializeFromTeacher({ teacher: 'teacher' }),
])
  passConformance(make, subjects, { describe, it, idempotent: false, context });

import { createRng, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { type RoundingProblem, roundingError, roundingStep } from './rounding-graph.ts';

const sizes = { groups: 2, outputs: 3, length: 4 };
const count = sizes.groups * sizes.outputs * sizes.length;
const rows = 5;

function random(size: number, seed: number): Float32Array<ArrayBuffer> {
  const rng = createRng(seed);
  return Float32Array.from({ length: size }, () => rng.normal());
}

const problem: RoundingProblem = {
  sizes,
  rows,
  inputs: random(2 * rows * 4, 1),
  targets: random(2 * rows * 3, 2).map((item) => Math.max(0, item)),
  bias: random(6, 3),
  scales: new Float32Array(count).fill(0.4),
  floors: random(count, 4).map(Math.floor),
  bounds: [-8, 7],
  activation: { low: 0, high: 2 },
};
const setting = { beta: 3, weight: 0.05, reconstruction: 0.7 };

/** Equations 21 to 24 of the paper, element by element. */
function loss(v: ArrayLike<number>, picked: readonly number[]): number {
  const h = Array.from(v, (item) => Math.min(1, Math.max(0, 1.2 / (1 + Math.exp(-item)) - 0.1)));
  let error = 0;
  for (let group = 0; group < 2; group++) {
    for (const row of picked) {
      for (let output = 0; output < 3; output++) {
        let sum = problem.bias[group * 3 + output]!;
        for (let at = 0; at < 4; at++) {
          const place = (group * 3 + output) * 4 + at;
          sum += problem.inputs[(group * rows + row) * 4 + at]! * 0.4 * (problem.floors[place]! + h[place]!);
        }
        const target = problem.targets[(group * rows + row) * 3 + output]!;
        error += (Math.min(2, Math.max(0, sum)) - target) ** 2;
      }
    }
  }
  const regularizer = h.reduce((total, item) => total + 1 - Math.abs(2 * item - 1) ** setting.beta, 0);
  return (setting.reconstruction * error) / picked.length + setting.weight * regularizer;
}

const scalar = (value: number): Tensor => Tensor.from('float32', [], Float32Array.of(value));

describe('a step of learned rounding', () => {
  it('goes down the gradient of the loss of the paper', async () => {
    const picked = [4, 0, 2];
    const v = random(count, 6);
    const zeros = (): Tensor => Tensor.from('float32', [2, 3, 4], new Float32Array(count));
    await using executable = await referenceBackend().compile(await roundingStep(problem, picked.length));
    const results = await executable.run({
      rows: Tensor.from('int64', [3], BigInt64Array.from(picked, BigInt)),
      v: Tensor.from('float32', [2, 3, 4], v),
      first: zeros(),
      second: zeros(),
      beta: scalar(setting.beta),
      weight: scalar(setting.weight),
      reconstruction: scalar(setting.reconstruction),
      step: scalar(0.01 / (1 - 0.9)),
      correction: scalar(1 / (1 - 0.999)),
    });
    // The first moment of the first step is a tenth of the gradient.
    const gradient = (results['first_next'] as Tensor<'float32'>).data.map((item) => 10 * item);
    const next = (results['v_next'] as Tensor<'float32'>).data;
    for (let index = 0; index < count; index++) {
      const moved = (by: number): number => {
        const other = Float64Array.from(v);
        other[index] = other[index]! + by;
        return loss(other, picked);
      };
      expect(gradient[index]).toBeCloseTo((moved(1e-4) - moved(-1e-4)) / 2e-4, 3);
      // Adam's first step is the learning rate against the sign of the gradient.
      if (Math.abs(gradient[index]!) > 1e-4)
        expect(next[index]! - v[index]!).toBeCloseTo(-0.01 * Math.sign(gradient[index]!), 4);
    }
  });

  it('knows the error of given weights', async () => {
    const weight = random(count, 9);
    await using executable = await referenceBackend().compile(
      await roundingError({
        ...problem,
        activation: { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY },
      }),
    );
    const { error } = await executable.run({ weight: Tensor.from('float32', [2, 3, 4], weight) });
    let expected = 0;
    for (let group = 0; group < 2; group++) {
      for (let row = 0; row < rows; row++) {
        for (let output = 0; output < 3; output++) {
          let sum = problem.bias[group * 3 + output]! - problem.targets[(group * rows + row) * 3 + output]!;
          for (let at = 0; at < 4; at++)
            sum += problem.inputs[(group * rows + row) * 4 + at]! * weight[(group * 3 + output) * 4 + at]!;
          expected += sum ** 2 / rows;
        }
      }
    }
    expect((error as Tensor<'float32'>).data[0]).toBeCloseTo(expected, 3);
  });
});

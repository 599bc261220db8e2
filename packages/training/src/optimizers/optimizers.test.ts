import { readFileSync } from 'node:fs';
import { type Feeds, GraphBuilder, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { meanSquaredError } from '../losses/regression.ts';
import { type TrainingStepOptions, trainingStep } from '../step/training-step.ts';
import type { Optimizer } from './optimizer.ts';
import { adam, adamW, lion, rmsprop, sgd } from './standard.ts';

/** What PyTorch gives; test/fixtures/pytorch.py writes it. */
interface Fixture {
  readonly inputs: Readonly<Record<'x' | 'y' | 'start', readonly number[]>>;
  readonly optimizers: Readonly<Record<string, readonly (readonly number[])[]>>;
}

const fixture = JSON.parse(
  readFileSync(new URL('../../test/fixtures/pytorch.json', import.meta.url), 'utf8'),
) as Fixture;
const { x, y, start } = fixture.inputs;

const floats = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('float32', shape, Float32Array.from(values));

interface TraceOptions {
  readonly rate?: number;
  readonly steps?: number;
  /** First row of a step's batch, and the one behind its last. */
  readonly rows?: (step: number) => readonly [number, number];
  /** State that is read. */
  readonly read?: string;
}

/** Weights after each of some steps of linear regression, on the rows from `from` on. */
async function trace(
  options: Omit<TrainingStepOptions, 'loss'>,
  { rate = 0.05, steps = 6, rows = () => [0, 5], read = 'w' }: TraceOptions = {},
): Promise<readonly (readonly number[])[]> {
  const builder = new GraphBuilder('regression');
  const input = builder.input('x', 'float32', ['N', 3]);
  builder.output('p', builder.op.MatMul([input, builder.constant('w', floats([3, 2], start))]));
  const step = await trainingStep(await builder.build(), {
    loss: meanSquaredError({ output: 'p' }),
    ...options,
  });
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  const result: (readonly number[])[] = [];
  for (let index = 0; index < steps; index++) {
    const [from, to] = rows(index);
    const feeds: Feeds = {
      x: floats([to - from, 3], x.slice(from * 3, to * 3)),
      target: floats([to - from, 2], y.slice(from * 2, to * 2)),
      learning_rate: floats([], [rate]),
    };
    await executable.run(feeds);
    result.push([...((await executable.readState([read]))[read]?.toFloat64Array() ?? [])]);
  }
  return result;
}

function expectClose(
  found: readonly (readonly number[])[],
  wanted: readonly (readonly number[])[] | undefined,
): void {
  expect(found.length).toBe(wanted?.length);
  for (const [step, row] of found.entries()) {
    for (const [index, value] of row.entries())
      expect(value).toBeCloseTo(wanted?.[step]?.[index] ?? Number.NaN, 5);
  }
}

/** Gradient of the mean squared error by the weights. */
function gradientAt(weights: readonly number[]): readonly number[] {
  const gradient = Array<number>(6).fill(0);
  for (let row = 0; row < 5; row++) {
    for (let output = 0; output < 2; output++) {
      let error = -(y[row * 2 + output] ?? 0);
      for (let at = 0; at < 3; at++) error += (x[row * 3 + at] ?? 0) * (weights[at * 2 + output] ?? 0);
      for (let at = 0; at < 3; at++) {
        gradient[at * 2 + output] =
          (gradient[at * 2 + output] ?? 0) + (2 * error * (x[row * 3 + at] ?? 0)) / 10;
      }
    }
  }
  return gradient;
}

describe('optimizers', () => {
  it.each<readonly [string, Omit<TrainingStepOptions, 'loss'>]>([
    ['sgd', { optimizer: sgd() }],
    ['momentum', { optimizer: sgd({ momentum: 0.9, weightDecay: 0.1 }) }],
    ['nesterov', { optimizer: sgd({ momentum: 0.9, nesterov: true }) }],
    ['adam', { optimizer: adam({ weightDecay: 0.1 }) }],
    ['adamW', { optimizer: adamW({ weightDecay: 0.1 }) }],
    ['rmsprop', { optimizer: rmsprop({ momentum: 0.5 }) }],
    ['clipNorm', { optimizer: sgd(), clipNorm: 0.5 }],
    ['clipValue', { optimizer: sgd(), clipValue: 0.2 }],
  ])('%s moves weights as PyTorch does', async (name, options) => {
    expectClose(await trace(options), fixture.optimizers[name]);
  });

  it('Lion follows its paper', async () => {
    let weights = [...start];
    let mean = weights.map(() => 0);
    const wanted = Array.from({ length: 6 }, () => {
      const gradient = gradientAt(weights);
      weights = weights.map((weight, index) => {
        const direction = Math.sign(0.9 * (mean[index] ?? 0) + 0.1 * (gradient[index] ?? 0));
        return weight - 0.05 * (direction + 0.1 * weight);
      });
      mean = mean.map((value, index) => 0.99 * value + 0.01 * (gradient[index] ?? 0));
      return weights;
    });
    expectClose(await trace({ optimizer: lion({ weightDecay: 0.1 }) }), wanted);
  });
});

describe('options of optimizers', () => {
  it.each<readonly [string, () => Optimizer]>([
    ['momentum that is no number', () => sgd({ momentum: Number.NaN })],
    ['momentum of 1', () => sgd({ momentum: 1 })],
    ["Nesterov's form without momentum", () => sgd({ nesterov: true })],
    ['a mean that never forgets', () => adam({ beta1: 1 })],
    ['a negative decay of squares', () => adamW({ beta2: -0.1 })],
    ['an epsilon of 0', () => adam({ epsilon: 0 })],
    ['negative weight decay', () => adamW({ weightDecay: -0.01 })],
    ['infinite weight decay', () => lion({ weightDecay: Number.POSITIVE_INFINITY })],
    ['a share above 1', () => rmsprop({ alpha: 1.5 })],
    ['a weight of the mean above 1', () => lion({ beta1: 2 })],
  ])('%s is refused', (_, make) => {
    expect(make).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }));
  });

  it('0 for the decays of Adam leaves only the sign of the gradient', async () => {
    const [first] = await trace({ optimizer: adam({ beta1: 0, beta2: 0 }) }, { steps: 1 });
    const wanted = gradientAt(start).map((value, index) => (start[index] ?? 0) - 0.05 * Math.sign(value));
    expectClose([first ?? []], [wanted]);
  });
});

describe('a training step', () => {
  it('with accumulated gradients moves as one large batch does, and not in between', async () => {
    const optimizers: readonly Optimizer[] = [sgd({ momentum: 0.9 }), adamW(), rmsprop(), lion()];
    for (const optimizer of optimizers) {
      const halves = await trace(
        { optimizer, accumulate: 2 },
        { steps: 8, rows: (index) => (index % 2 === 0 ? [0, 2] : [2, 4]) },
      );
      const whole = await trace({ optimizer }, { steps: 4, rows: () => [0, 4] });
      expectClose(
        halves.filter((_, index) => index % 2 === 1),
        whole,
      );
      expect(halves[2]).toEqual(halves[1]);
    }
    await expect(trace({ optimizer: sgd(), accumulate: 1.5 })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });

  it('averages weights, forgetting the first ones', async () => {
    const moved = await trace({ optimizer: sgd() });
    const averaged = await trace({ optimizer: sgd(), emaDecay: 0.5 }, { read: 'ema:w' });
    let average = [...start];
    const wanted = moved.map((weights, index) => {
      const decay = Math.min(0.5, (2 + index) / (11 + index));
      average = average.map((value, at) => decay * value + (1 - decay) * (weights[at] ?? 0));
      return average;
    });
    expectClose(averaged, wanted);
    // Weights that stand still between accumulated steps are not averaged twice.
    const held = await trace(
      { optimizer: sgd(), emaDecay: 0.5, accumulate: 2 },
      { read: 'ema:w', steps: 12 },
    );
    expectClose(
      held.filter((_, index) => index % 2 === 1),
      wanted,
    );
    await expect(trace({ optimizer: sgd(), emaDecay: 1 })).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
  });

  it('gives groups a rate and a decay of their own', async () => {
    const group = { matches: (name: string) => name === 'w', weightDecay: 0, learningRateScale: 0.5 };
    const own = await trace({ optimizer: adamW({ weightDecay: 0.1 }), groups: [group] }, { rate: 0.1 });
    expectClose(own, await trace({ optimizer: adamW({ weightDecay: 0 }) }));
  });
});

import { createRng, GraphBuilder, type Model, optimize, Tensor, type Value } from '@lithe/core';
import {
  adamW,
  crossEntropy,
  type FitOptions,
  fit,
  layers,
  meanSquaredError,
  memoryCheckpoints,
  type Optimizer,
  type SampleTable,
  sampleTable,
  sgd,
  trainingStep,
} from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { gradualSparsity, holdZeros, sparsifiableWeights, sparsify, sparsityAt } from '../src/index.ts';
import { nodeBackend, normal } from './support.ts';

const backend = await nodeBackend();

async function network(): Promise<Model> {
  const builder = new GraphBuilder('net');
  const net = layers(builder, 1);
  let x = builder.input('x', 'float32', ['N', 1, 8, 8]);
  x = net.relu(net.batchNorm2d(net.conv2d(x, 8, { padding: 1, stride: 2 })));
  x = net.relu(net.conv2d(x, 8, { padding: 1, stride: 2 }));
  builder.output('logits', net.linear(net.flatten(x), 4));
  return await builder.build();
}

function samples(count: number): SampleTable {
  const rng = createRng(7);
  const labels = BigInt64Array.from({ length: count }, () => BigInt(rng.integer(4)));
  const x = normal([count, 1, 8, 8], 8);
  const pixels = x.data.map(
    (value, at) => value + (Math.floor((at % 64) / 16) === Number(labels[Math.floor(at / 64)]) ? 2 : 0),
  );
  return sampleTable({
    inputs: { x: Tensor.from('float32', [count, 1, 8, 8], pixels) },
    targets: { label: Tensor.from('int64', [count], labels) },
  });
}

const options = (optimizer: Optimizer, extra: Partial<FitOptions> = {}): FitOptions => ({
  loss: crossEntropy({ logits: 'logits' }),
  optimizer,
  learningRate: 0.01,
  epochs: 3,
  batchSize: 16,
  seed: 1,
  backend,
  ...extra,
});

async function weights(model: Model, name: string): Promise<number[]> {
  const tensor = (await (model.graph.value(name) as Value).initializer?.load()) as Tensor;
  return [...tensor.toFloat64Array()];
}

const zerosIn = (values: readonly number[]): number => values.filter((value) => value === 0).length;

describe('holdZeros', () => {
  it.each([
    { title: 'AdamW with decay', optimizer: adamW({ weightDecay: 0.1 }), extra: {} },
    { title: 'momentum, averaged weights', optimizer: sgd({ momentum: 0.9 }), extra: { emaDecay: 0.9 } },
    { title: 'gradients of two steps', optimizer: adamW(), extra: { accumulate: 2 } },
  ])('keeps zeros exactly zero and moves the rest: $title', async ({ optimizer, extra }) => {
    const { model } = await optimize(await network(), [sparsify({ ratio: 0.7, compressedSize: false })]);
    const names = sparsifiableWeights(model);
    expect(names).toHaveLength(3);
    const trained = await fit(model, samples(64), options(holdZeros(optimizer, { weights: names }), extra));
    for (const name of names) {
      const before = await weights(model, name);
      const after = await weights(trained.model, name);
      expect(after.map((value) => Object.is(value, 0))).toEqual(before.map((value) => value === 0));
      const moved = after.filter((value, index) => value !== before[index]).length;
      // What a unit that never fires reads stays where it was.
      expect(moved).toBeGreaterThan(0.8 * (before.length - zerosIn(before)));
    }
  });

  it('holds an N:M pattern, where plain training fills it', async () => {
    const { model } = await optimize(await network(), [sparsify({ pattern: '2:4', compressedSize: false })]);
    const names = sparsifiableWeights(model);
    const data = samples(64);
    const held = await fit(model, data, options(holdZeros(adamW(), { weights: names })));
    const plain = await fit(model, data, options(adamW()));
    const name = names[2] as string;
    expect(zerosIn(await weights(held.model, name))).toBe(zerosIn(await weights(model, name)));
    expect(zerosIn(await weights(plain.model, name))).toBe(0);
    expect(held.history.at(-1)?.loss).toBeLessThan((held.history[0]?.loss ?? 0) * 0.9);
  });
});

describe('sparsityAt', () => {
  it('follows the cubic of the paper', () => {
    const schedule = { ratio: 0.9, initialRatio: 0.1, begin: 100, every: 50, times: 4 };
    // 0.9 - 0.8 (1 - i / 4)^3 for i = 0 to 4, by hand.
    const byHand = [0.1, 0.9 - 0.8 * 0.421875, 0.9 - 0.8 * 0.125, 0.9 - 0.8 * 0.015625, 0.9];
    for (const [index, value] of byHand.entries()) {
      expect(sparsityAt(100 + 50 * index, schedule)).toBeCloseTo(value, 12);
      expect(sparsityAt(149 + 50 * index, schedule)).toBeCloseTo(value, 12);
    }
    expect(sparsityAt(99, schedule)).toBe(0);
    expect(sparsityAt(1e6, schedule)).toBe(0.9);
  });

  it('refuses what cannot be kept', () => {
    for (const wrong of [
      { ratio: 1 },
      { ratio: 0 },
      { initialRatio: 0.95 },
      { begin: 0 },
      { every: 0.5 },
      { times: 0 },
    ])
      expect(() => sparsityAt(1, { ratio: 0.9, times: 1, ...wrong })).toThrow(
        expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
      );
  });
});

describe('gradualSparsity', () => {
  it.each(['magnitude', 'movement'] as const)(
    'reaches the final ratio exactly, and never gives a zero back: %s',
    async (score) => {
      const model = await network();
      const names = sparsifiableWeights(model);
      const schedule = { ratio: 0.8, begin: 2, every: 2, times: 4 };
      const optimizer = gradualSparsity(adamW(), { weights: names, score, ...schedule });
      const data = samples(64);
      const seen: number[][] = [];
      const evaluate = async (now: Model): Promise<number> => {
        const all: number[] = [];
        for (const name of names) all.push(...(await weights(now, name)));
        seen.push(all);
        return 0;
      };
      // Four updates an epoch: 4, 8 and 12 of them.
      const { model: trained } = await fit(model, data, options(optimizer, { evaluate, keepBest: false }));
      const sizes = await Promise.all(names.map(async (name) => (await weights(model, name)).length));
      for (const [index, update] of [4, 8, 12].entries()) {
        const wanted = sizes.map((size) => Math.round(size * sparsityAt(update, schedule)));
        expect(zerosIn(seen[index] as number[])).toBe(wanted.reduce((sum, count) => sum + count, 0));
      }
      for (const index of (seen[0] as number[]).keys())
        if (seen[0]?.[index] === 0) expect([seen[1]?.[index], seen[2]?.[index]]).toEqual([0, 0]);
      for (const [index, name] of names.entries())
        expect(zerosIn(await weights(trained, name))).toBe(Math.round(0.8 * (sizes[index] as number)));
    },
  );

  it('lets all weights compete in a global ranking, and leaves the largest of all', async () => {
    // Without a learning rate weights stay as they are: what is left are the largest of all of them.
    const model = await network();
    const names = sparsifiableWeights(model);
    const schedule = { ratio: 0.8, begin: 2, every: 1, times: 3 };
    const optimizer = gradualSparsity(sgd(), { weights: names, scope: 'global', ...schedule });
    const before: number[] = [];
    for (const name of names) before.push(...(await weights(model, name)));
    const sorted = before.map(Math.abs).sort((left, right) => right - left);
    const kept = before.length - Math.round(0.8 * before.length);
    const threshold = sorted[kept - 1] as number;
    const { model: trained } = await fit(model, samples(64), options(optimizer, { learningRate: 1e-12 }));
    const after: number[] = [];
    for (const name of names) after.push(...(await weights(trained, name)));
    expect(after.length - zerosIn(after)).toBe(kept);
    expect(after.map((value) => value !== 0)).toEqual(before.map((value) => Math.abs(value) >= threshold));
    const shares = await Promise.all(
      names.map(
        async (name) => zerosIn(await weights(trained, name)) / (await weights(trained, name)).length,
      ),
    );
    expect(Math.max(...shares) - Math.min(...shares)).toBeGreaterThan(0.05);
  });

  it.each(['local', 'global'] as const)('moves what is left, and other parameters too: %s', async (scope) => {
    const model = await network();
    const names = sparsifiableWeights(model).slice(0, 2);
    const optimizer = gradualSparsity(adamW(), { weights: names, scope, ratio: 0.5, every: 2, times: 3 });
    const data = samples(64);
    const { model: trained, history } = await fit(model, data, options(optimizer, { accumulate: 2 }));
    const found = await Promise.all(names.map((name) => weights(trained, name)));
    // Six updates of two steps: the choice after update 5 was made, the last one, after update 7, was not.
    const share = sparsityAt(6, { ratio: 0.5, every: 2, times: 3 });
    const wanted = scope === 'local' ? found : [found.flat()];
    const counts = wanted.map((values) => Math.round(values.length * share));
    expect(zerosIn(found.flat())).toBe(counts.reduce((sum, count) => sum + count, 0));
    expect(history.at(-1)?.loss).toBeLessThan(history[0]?.loss ?? 0);
    const other = sparsifiableWeights(model)[2] as string;
    expect(zerosIn(await weights(trained, other))).toBe(0);
    expect(await weights(trained, other)).not.toEqual(await weights(model, other));
  });

  it.each(['local', 'global'] as const)(
    'goes on from a checkpoint to the same weights, and not from one of another schedule: %s',
    async (scope) => {
      const model = await network();
      const names = sparsifiableWeights(model);
      const data = samples(64);
      const optimizer = (ratio: number): Optimizer =>
        gradualSparsity(adamW(), { weights: names, scope, ratio, every: 1, times: 9 });
      const whole = await fit(model, data, options(optimizer(0.9)));
      const checkpoint = memoryCheckpoints();
      const stop = new AbortController();
      await expect(
        fit(model, data, {
          ...options(optimizer(0.9), {
            checkpoint,
            onStep: ({ step }) => step === 6 && stop.abort(new Error('enough')),
          }),
          signal: stop.signal,
        }),
      ).rejects.toThrow('enough');
      await expect(fit(model, data, options(optimizer(0.8), { checkpoint }))).rejects.toMatchObject({
        code: 'CHECKPOINT_MISMATCH',
      });
      const resumed = await fit(model, data, options(optimizer(0.9), { checkpoint }));
      for (const name of names)
        expect(await weights(resumed.model, name)).toEqual(await weights(whole.model, name));
    },
  );

  it('scores movement by the sum of -w dL/dw', async () => {
    // y = w x with two weights, squared error against 0: dL/dw_i = 2 y x_i. w = [1, -0.5], x = [1, 4], y = -1:
    // gradients -2 and -8, movements 2 and -4. The first weight moves away from zero, the second towards it.
    const b = new GraphBuilder('line');
    const x = b.input('x', 'float32', [1, 2]);
    b.output(
      'y',
      b.op.MatMul([x, b.constant('W', Tensor.from('float32', [2, 1], Float32Array.of(1, -0.5)))]),
    );
    const step = await trainingStep(await b.build(), {
      loss: meanSquaredError({ output: 'y' }),
      optimizer: gradualSparsity(sgd(), {
        weights: ['W'],
        score: 'movement',
        ratio: 0.5,
        times: 1,
        every: 1,
      }),
    });
    await using executable = await backend.compile(step.model, { state: step.state });
    const feeds = {
      x: Tensor.from('float32', [1, 2], Float32Array.of(1, 4)),
      target: Tensor.from('float32', [1, 1], Float32Array.of(0)),
      learning_rate: Tensor.from('float32', [], Float32Array.of(0.01)),
    };
    await executable.run(feeds);
    const first = await executable.readState();
    expect([...(first['movement:W'] as Tensor).toFloat64Array()]).toEqual([2, -4]);
    expect((first['W'] as Tensor).toFloat64Array()[0]).toBeCloseTo(1.02, 6);
    await executable.run(feeds);
    const second = await executable.readState();
    expect((second['W'] as Tensor).toFloat64Array()[1]).toBe(0);
    expect([...(second['removed:W'] as Tensor).toFloat64Array()]).toEqual([0, 1]);
  });
});

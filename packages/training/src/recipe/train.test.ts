import {
  type ArtifactStore,
  arrayDataset,
  attribute,
  createRunContext,
  GraphBuilder,
  type Model,
  optimize,
  Tensor,
} from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import {
  basic,
  classes,
  label,
  points,
  run,
  SAMPLES,
  samples,
  small,
  weightOf,
  x,
} from '../../test/two-classes.ts';
import { memoryCheckpoints } from '../checkpoint/store.ts';
import { sampleTable } from '../data/sample-table.ts';
import { fit } from '../fit/fit.ts';
import type { FitOptions } from '../fit/fit-options.ts';
import { oneCycleSchedule } from '../fit/schedule.ts';
import { layers } from '../layers/layers.ts';
import { crossEntropy } from '../losses/classification.ts';
import { adamW, sgd } from '../optimizers/standard.ts';
import { plugin } from './plugin.ts';
import { train } from './train.ts';
import type { TrainingOptions } from './training-options.ts';

/** The same with a batch normalization. */
async function normalized(): Promise<Model> {
  const b = new GraphBuilder('normalized');
  const net = layers(b, 3);
  const hidden = net.batchNorm2d(net.linear(b.input('x', 'float32', ['N', 2]), 8));
  b.output('logits', net.linear(net.relu(hidden), 2, { name: 'classifier' }));
  return await b.build();
}

describe('training/train', () => {
  it('learns, and tells each epoch in a table that a report can draw', async () => {
    const { model, report } = await run({ ...basic, epochs: 12 });
    const { logits } = await evaluateModel(model, { x });
    const scores = logits?.toFloat64Array() ?? [];
    const right = classes.filter(
      (one, at) => ((scores[2 * at + 1] ?? 0) > (scores[2 * at] ?? 0) ? 1 : 0) === one,
    );
    expect(right.length).toBeGreaterThan(0.9 * SAMPLES);
    const [step] = report.steps;
    const table = step?.tables?.['epochs'];
    expect(table?.columns.map(({ name }) => name)).toEqual(['epoch', 'loss', 'learning rate']);
    expect(table?.rows.map(([epoch]) => epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect(table?.plot).toEqual({ kind: 'line', x: 'epoch', y: ['loss'] });
    expect(step?.metrics['samples']?.value).toBe(SAMPLES);
  });

  it('gives the weights that fit gives with the same settings written in code', async () => {
    const { model } = await run(basic, { seed: 5 });
    // The seed of the run inside is what the pass draws from its own stream.
    const inner = Math.floor(
      createRunContext({ seed: 5 }).rng.fork('training/train').fork('fit').next() * 2 ** 32,
    );
    const { model: wanted } = await fit(await small(), sampleTable({ inputs: { x }, targets: { label } }), {
      backend: referenceBackend(),
      loss: crossEntropy({ logits: 'logits' }),
      optimizer: adamW(),
      schedule: oneCycleSchedule(),
      learningRate: 0.05,
      epochs: 3,
      batchSize: 16,
      seed: inner,
    });
    expect(await weightOf(model, 'linear1.weight')).toEqual(await weightOf(wanted, 'linear1.weight'));
  });

  it.each<Partial<TrainingOptions> & Partial<FitOptions>>([
    { frozenStatistics: true },
    { clipNorm: 0.01 },
    { clipValue: 0.001 },
    { emaDecay: 0.5 },
    { accumulate: 2 },
    { checkpointing: true },
  ])('hands %o on to fit', async (option) => {
    const weights = async (model: Model): Promise<readonly number[]> => [
      ...(await weightOf(model, 'classifier.weight')),
      ...(await weightOf(model, 'norm1.mean')),
    ];
    const by = async (more: object): Promise<readonly number[]> => {
      // The optimizer makes the size of gradients count, and the schedule that of single steps.
      const plain = { ...basic, optimizer: 'sgd', schedule: 'constant', ...more };
      const { model } = await optimize(await normalized(), [train.from(plain)], {
        backend: referenceBackend(),
        trainingData: samples,
        seed: 5,
      });
      return await weights(model);
    };
    const inner = Math.floor(
      createRunContext({ seed: 5 }).rng.fork('training/train').fork('fit').next() * 2 ** 32,
    );
    const { model: wanted } = await fit(
      await normalized(),
      sampleTable({ inputs: { x }, targets: { label } }),
      {
        backend: referenceBackend(),
        loss: crossEntropy({ logits: 'logits' }),
        optimizer: sgd(),
        learningRate: 0.05,
        epochs: 3,
        batchSize: 16,
        seed: inner,
        ...option,
      },
    );
    const found = await by(option);
    expect(found).toEqual(await weights(wanted));
    if (option.checkpointing !== true) expect(found).not.toEqual(await by({}));
  });

  it('brings a normalization whose file says that it trains into inference form, and says so', async () => {
    const model = await normalized();
    const [norm] = [...model.graph.nodes()].filter((node) => node.is('BatchNormalization'));
    if (norm === undefined) throw new Error('no normalization');
    model.graph.setAttribute(norm, 'training_mode', attribute.int(1));
    const context = { backend: referenceBackend(), trainingData: samples, seed: 5 };
    const trained = await optimize(model, [train.from(basic)], context);
    const plain = await optimize(await normalized(), [train.from(basic)], context);
    expect(trained.report.steps[0]?.applied).toContain(`bring "${norm.name}" into inference form`);
    const logits = async (one: Model): Promise<unknown> => (await evaluateModel(one, { x }))['logits']?.data;
    expect(await logits(trained.model)).toEqual(await logits(plain.model));
  });

  it('starts from fresh weights of the seed where it is asked to', async () => {
    const weights = async (seed: number, options: object): Promise<readonly number[]> =>
      weightOf((await run({ ...basic, learningRate: 1e-12, ...options }, { seed })).model, 'linear1.weight');
    const original = await weightOf(await small(), 'linear1.weight');
    const kept = await weights(1, {});
    for (const [at, value] of kept.entries()) expect(value).toBeCloseTo(original[at] ?? Number.NaN, 6);
    const [first, again, second] = [
      await weights(1, { initialize: true }),
      await weights(1, { initialize: true }),
      await weights(2, { initialize: true }),
    ];
    expect(first).toEqual(again);
    expect(first).not.toEqual(second);
    expect(Math.abs((first[0] ?? 0) - (original[0] ?? 0))).toBeGreaterThan(1e-3);
  });

  it('keeps a share aside and takes the epoch that is best on it', async () => {
    const { report } = await run({ ...basic, epochs: 4, validation: 0.25 });
    const [step] = report.steps;
    expect(step?.metrics['samples']?.value).toBe(0.75 * SAMPLES);
    const rows = step?.tables?.['epochs']?.rows ?? [];
    const metrics = rows.map((row) => Number(row[3]));
    const best = Math.max(...metrics);
    expect(step?.metrics['validation']?.value).toBe(best);
    expect(step?.metrics['epoch taken']?.value).toBe(metrics.indexOf(best) + 1);
    // Accuracy of 16 samples.
    for (const value of metrics) expect(Number.isInteger(value * 16)).toBe(true);
  });

  it('takes the epoch of the smallest loss where there is no accuracy', async () => {
    const { report } = await run(
      {
        ...basic,
        epochs: 6,
        learningRate: 0.3,
        validation: 0.25,
        loss: { name: 'binary-cross-entropy', logits: 'logits', target: 'share' },
      },
      {
        trainingData: arrayDataset({
          inputs: { x },
          targets: {
            share: Tensor.from(
              'float32',
              [SAMPLES, 2],
              Float32Array.from(points, (value) => (value > 0 ? 1 : 0)),
            ),
          },
        }),
      },
    );
    const [step] = report.steps;
    const losses = (step?.tables?.['epochs']?.rows ?? []).map((row) => -Number(row[3]));
    const least = Math.min(...losses);
    expect(least).toBeGreaterThan(0);
    expect(losses[0]).not.toBe(least);
    expect(step?.metrics['epoch taken']?.value).toBe(losses.indexOf(least) + 1);
  });

  it('goes on from a checkpoint to the same weights, and drops one of other options', async () => {
    const kept = new Map<string, ArtifactStore>();
    const store = (name: string): ArtifactStore => {
      const one = kept.get(name) ?? memoryCheckpoints();
      kept.set(name, one);
      return one;
    };
    const whole = await run({ ...basic, checkpointEvery: 1 });
    const stop = new AbortController();
    let steps = 0;
    const progress = ({
      done,
      label,
    }: {
      readonly done: number;
      readonly label?: string | undefined;
    }): void => {
      if (label?.startsWith('epoch') === true) steps = done;
      if (steps === 6) stop.abort();
    };
    await expect(
      run({ ...basic, checkpointEvery: 1 }, { store, signal: stop.signal, onProgress: progress }),
    ).rejects.toMatchObject({ name: 'AbortError' });
    let first = 0;
    const resumed = await run(
      { ...basic, checkpointEvery: 1 },
      {
        store,
        onProgress: ({ done, label }) => {
          if (first === 0 && label?.startsWith('epoch') === true) first = done;
        },
      },
    );
    expect(first).toBe(7);
    expect(await weightOf(resumed.model, 'linear1.weight')).toEqual(
      await weightOf(whole.model, 'linear1.weight'),
    );
    const warnings: string[] = [];
    const other = { ...basic, learningRate: 0.01 };
    const anew = await run(other, { store, log: { warn: (message) => warnings.push(message) } });
    expect(warnings).toHaveLength(1);
    expect(await weightOf(anew.model, 'linear1.weight')).toEqual(
      await weightOf((await run(other)).model, 'linear1.weight'),
    );
  });

  it('drops a damaged checkpoint with a warning, and trains', async () => {
    const damaged = memoryCheckpoints();
    await damaged.write(Uint8Array.of(1, 2, 3));
    const warnings: string[] = [];
    const { model } = await run(basic, {
      store: () => damaged,
      log: { warn: (message) => warnings.push(message) },
    });
    expect(warnings).toEqual([expect.stringMatching(/not valid.*Training begins anew/)]);
    expect(await weightOf(model, 'linear1.weight')).toEqual(
      await weightOf((await run(basic)).model, 'linear1.weight'),
    );
  });

  it('lets patterns choose what learns', async () => {
    const before = await small();
    const { model } = await run({ ...basic, trainable: ['classifier.*'] });
    expect(await weightOf(model, 'linear1.weight')).toEqual(await weightOf(before, 'linear1.weight'));
    expect(await weightOf(model, 'classifier.weight')).not.toEqual(
      await weightOf(before, 'classifier.weight'),
    );
    await expect(run({ ...basic, trainable: ['classifier.*', 'linear9.*'] })).rejects.toMatchObject({
      cause: { code: 'OPTIONS_INVALID', message: expect.stringContaining('linear9.*') },
    });
  });

  it.each<readonly [string, object, RegExp]>([
    ['an unknown option', { ...basic, epoch: 3 }, /epoch/],
    ['an unknown optimizer', { ...basic, optimizer: 'adagrad' }, /one of adamw, adam, lion, rmsprop, sgd/],
    ['an option of another optimizer', { ...basic, optimizer: { name: 'sgd', beta1: 0.9 } }, /beta1/],
    ['an unknown schedule', { ...basic, schedule: 'linear' }, /one of one-cycle, cosine/],
    ['an unknown augmentation', { ...basic, augment: ['rotate'] }, /augment/],
    ['patience without a validation share', { ...basic, patience: 2 }, /validation/],
    ['no learning rate', { epochs: 1 }, /learningRate/],
  ])('refuses %s', (_, options, message) => {
    expect(() => train.from(options)).toThrow(message);
  });

  it('is in the plugin of the package', () => {
    expect(plugin.passes.map(({ spec }) => spec.name)).toEqual([
      'training/train',
      'training/activation-checkpointing',
    ]);
  });
});

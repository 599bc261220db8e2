import {
  type ArtifactStore,
  arrayDataset,
  attribute,
  createRunContext,
  type Dataset,
  GraphBuilder,
  type Model,
  type OptimizeOptions,
  optimize,
  Tensor,
  takeSamples,
} from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { memoryCheckpoints } from '../checkpoint/store.ts';
import { sampleTable } from '../data/sample-table.ts';
import { fit } from '../fit/fit.ts';
import type { FitOptions } from '../fit/fit-options.ts';
import { oneCycleSchedule } from '../fit/schedule.ts';
import { layers } from '../layers/layers.ts';
import { mlp } from '../layers/networks.ts';
import { crossEntropy } from '../losses/classification.ts';
import { adamW, sgd } from '../optimizers/standard.ts';
import { plugin } from './plugin.ts';
import { train } from './train.ts';
import type { TrainingOptions } from './training-options.ts';

const SAMPLES = 64;

/** Points of two classes, apart by the sign of the sum of their numbers. */
const points = Float32Array.from({ length: SAMPLES * 2 }, (_, at) => Math.sin(at * 12.9898) * 2);
const classes = Array.from({ length: SAMPLES }, (_, at) =>
  (points[2 * at] ?? 0) + (points[2 * at + 1] ?? 0) > 0 ? 1 : 0,
);
const x = Tensor.from('float32', [SAMPLES, 2], points);
const label = Tensor.from('int64', [SAMPLES], BigInt64Array.from(classes, BigInt));
const samples = arrayDataset({ inputs: { x }, targets: { label } });

const small = (): Promise<Model> => mlp({ inputs: 2, hidden: [8], classes: 2 });

/** The same with a batch normalization. */
async function normalized(): Promise<Model> {
  const b = new GraphBuilder('normalized');
  const net = layers(b, 3);
  const hidden = net.batchNorm2d(net.linear(b.input('x', 'float32', ['N', 2]), 8));
  b.output('logits', net.linear(net.relu(hidden), 2, { name: 'classifier' }));
  return await b.build();
}

const basic: TrainingOptions = { epochs: 3, batchSize: 16, learningRate: 0.05 };

async function run(
  options: object,
  more: OptimizeOptions = {},
): Promise<Awaited<ReturnType<typeof optimize>>> {
  return await optimize(await small(), [train.from(options)], {
    backend: referenceBackend(),
    trainingData: samples,
    seed: 1,
    ...more,
  });
}

const weightOf = async (model: Model, name: string): Promise<readonly number[]> => [
  ...((await model.graph.value(name)?.initializer?.load())?.toFloat64Array() ?? []),
];

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

  it('takes bytes as class numbers', async () => {
    const bytes = Tensor.from('uint8', [SAMPLES], Uint8Array.from(classes));
    const data = arrayDataset({ inputs: { x }, targets: { y: bytes } });
    const trained = await run(basic, { trainingData: data });
    expect(await weightOf(trained.model, 'linear1.weight')).toEqual(
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

  it('refuses data that does not fit, in words', async () => {
    const targets = { label: Tensor.from('int64', [SAMPLES], new BigInt64Array(SAMPLES).fill(2n)) };
    const wrong: readonly Dataset[] = [
      arrayDataset({ inputs: { x } }),
      arrayDataset({ inputs: { y: x }, targets: { label } }),
      arrayDataset({ inputs: { x }, targets }),
      arrayDataset({ inputs: { x }, targets: { a: label, b: label } }),
      arrayDataset({ inputs: { x }, targets: { label: x } }),
    ];
    for (const trainingData of wrong)
      await expect(run(basic, { trainingData })).rejects.toMatchObject({ cause: { code: 'DATA_INVALID' } });
    await expect(run({ ...basic, samples: 1, validation: 0.5 })).rejects.toMatchObject({
      cause: { code: 'DATA_INVALID' },
    });
    await expect(run(basic, { trainingData: undefined })).rejects.toMatchObject({ code: 'PASS_NEEDS' });
  });

  describe('with "samples" of data that is sorted by class', () => {
    // 3 classes, 4 samples each, in order: the first 5 have the classes 0 and 1.
    const rows = 12;
    const sorted = {
      inputs: { x: Tensor.from('float32', [rows, 2], points.slice(0, 2 * rows)) },
      targets: {
        label: Tensor.from(
          'int64',
          [rows],
          BigInt64Array.from({ length: rows }, (_, at) => BigInt(Math.floor(at / 4))),
        ),
      },
    };
    const trained = async (
      options: object,
      data: Dataset = arrayDataset(sorted),
    ): Promise<{ readonly skipped: readonly string[]; readonly warnings: readonly string[] }> => {
      const warnings: string[] = [];
      const { report } = await optimize(
        await mlp({ inputs: 2, hidden: [4], classes: 3 }),
        [train.from({ ...basic, epochs: 1, batchSize: 1, ...options })],
        {
          backend: referenceBackend(),
          trainingData: data,
          seed: 1,
          log: { warn: (text) => warnings.push(text) },
        },
      );
      const skipped = report.steps[0]?.skipped ?? [];
      return {
        skipped: skipped.map(({ target, code, reason }) => `${target} ${code}: ${reason}`),
        warnings,
      };
    };

    it('says in report and log which classes the model is not shown', async () => {
      const { skipped, warnings } = await trained({ samples: 5 });
      const reason =
        '"samples" takes the first 5 samples of tensors in memory, and of the 3 classes that the model scores they lack 1: 2. It unlearns what it is not shown. Shuffle the data, leave "samples" out, or choose by chance where the data is opened; in a recipe, data.train.samples does.';
      expect(skipped).toEqual([`1 class classes-unseen: ${reason}`]);
      expect(warnings).toEqual([reason]);
      expect((await trained({ samples: 1 })).warnings[0]).toContain('they lack 2: 1, 2.');
    });

    it('says it of data whose size nobody knows, too', async () => {
      const { batches, description } = arrayDataset(sorted);
      expect((await trained({ samples: 8 }, { batches, description })).warnings).toHaveLength(1);
    });

    it.each([
      ['all classes are there', { samples: 9 }],
      ['no sample is left out', { samples: 12 }],
      ['all samples are asked for', {}],
      ['the target holds no class numbers', { samples: 5, loss: { name: 'mean-squared-error' } }],
    ])('says nothing where %s', async (what, options) => {
      const targets = {
        label: Tensor.from('float32', [rows, 3], new Float32Array(3 * rows)),
      };
      const regression = arrayDataset({ inputs: sorted.inputs, targets });
      const data = what.includes('no class') ? regression : undefined;
      expect(await trained(options, data)).toEqual({ skipped: [], warnings: [] });
    });

    it('says nothing of classes that whole data lacks', async () => {
      const few = takeSamples(arrayDataset(sorted), 5);
      expect(await trained({ samples: 5 }, few)).toEqual({ skipped: [], warnings: [] });
    });
  });

  it('is in the plugin of the package', () => {
    expect(plugin.passes.map(({ spec }) => spec.name)).toEqual([
      'training/train',
      'training/activation-checkpointing',
    ]);
  });
});

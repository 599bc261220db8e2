import {
  type ArtifactStore,
  arrayDataset,
  createRunContext,
  type Dataset,
  GraphBuilder,
  type Model,
  modelCost,
  type OptimizeOptions,
  optimize,
  Tensor,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import {
  attentionDistillation,
  attentionTransfer,
  contrastiveDistillation,
  contrastTable,
  correlationDistillation,
  type DistillationLoss,
  type DistilOptions,
  decoupledDistillation,
  distil,
  distillation,
  findTaps,
  hiddenStateDistillation,
  hintDistillation,
  initializeFromTeacher,
  logitDistillation,
  type MutualOptions,
  mutual,
  plugin,
  relationalDistillation,
  relationDistillation,
  similarityPreserving,
  suggestTaps,
  type Tap,
  type TermChoice,
  type TermFields,
  teacherModel,
} from '@lithe/distillation';
import {
  adamW,
  cnn,
  crossEntropy,
  fit,
  layers,
  memoryCheckpoints,
  mlp,
  oneCycleSchedule,
  sampleTable,
  train,
  transformerEncoder,
} from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { floats, openEncoder, weightOf } from './support.ts';

const SAMPLES = 48;
const points = Float32Array.from({ length: SAMPLES * 2 }, (_, at) => Math.sin((at + 1) * 78.233) * 2);
const classes = Array.from({ length: SAMPLES }, (_, at) =>
  (points[2 * at] ?? 0) > 0 ? ((points[2 * at + 1] ?? 0) > 0 ? 2 : 1) : 0,
);
const x = floats([SAMPLES, 2], points);
const label = Tensor.from('int64', [SAMPLES], BigInt64Array.from(classes, BigInt));
const labelled = arrayDataset({ inputs: { x }, targets: { label } });

const student = (): Promise<Model> => mlp({ inputs: 2, hidden: [6], classes: 3 });
const large = await mlp({ inputs: 2, hidden: [24], classes: 3, seed: 1 });
const basic: DistilOptions = { teacher: 'large', epochs: 2, batchSize: 16, learningRate: 0.03 };

const run = async (
  options: DistilOptions,
  more: OptimizeOptions = {},
): Promise<Awaited<ReturnType<typeof optimize>>> =>
  await optimize(await student(), [distil(options)], {
    backend: referenceBackend(),
    trainingData: labelled,
    models: { large },
    seed: 3,
    ...more,
  });

/** The seed of the training inside: what the pass draws from its own stream. */
const innerSeed = (seed: number): number =>
  Math.floor(createRunContext({ seed }).rng.fork('distillation/distil').fork('fit').next() * 2 ** 32);

const invalid = { cause: { code: 'OPTIONS_INVALID' } };

describe('distillation/distil', () => {
  it('gives the weights that the same distillation written in code gives', async () => {
    const { model, report } = await run({
      ...basic,
      terms: [{ loss: 'logits', temperature: 3, weight: 0.8 }],
      taskWeight: 0.2,
    });
    const wanted = await fit(await student(), sampleTable({ inputs: { x }, targets: { label } }), {
      backend: referenceBackend(),
      loss: distillation({
        teacher: await teacherModel(large),
        terms: [{ loss: logitDistillation({ temperature: 3 }), weight: 0.8 }],
        task: crossEntropy({ logits: 'logits' }),
        taskWeight: 0.2,
      }),
      optimizer: adamW(),
      schedule: oneCycleSchedule(),
      learningRate: 0.03,
      epochs: 2,
      batchSize: 16,
      seed: innerSeed(3),
    });
    expect(await weightOf(model)).toEqual(await weightOf(wanted.model));
    expect(report.steps[0]?.tables?.['epochs']?.rows.length).toBe(2);
    // What came out is the student alone.
    expect(modelCost(model).parameters).toBe(6 * 2 + 6 + 3 * 6 + 3);
  });

  it('gives the same weights with a teacher that is run once, and asks it no more than once', async () => {
    const kept = new Map<string, ArtifactStore>();
    const store = (name: string): ArtifactStore => {
      const one = kept.get(name) ?? memoryCheckpoints();
      kept.set(name, one);
      return one;
    };
    const asked: string[] = [];
    const inner = referenceBackend();
    const backend = {
      ...inner,
      compile: async (model: Model, options?: Parameters<typeof inner.compile>[1]) => {
        const executable = await inner.compile(model, options);
        return new Proxy(executable, {
          get: (target, key) => {
            if (key === 'run' && options?.state === undefined)
              asked.push(model.graph.outputs.map(({ name }) => name).join());
            const member: unknown = Reflect.get(target, key, target);
            return typeof member === 'function' ? (member.bind(target) as unknown) : member;
          },
        });
      },
    } as typeof inner;
    const running = await run(basic);
    const options = { ...basic, taskWeight: 0.5, terms: ['logits'] as const, record: true };
    const direct = await run({ ...options, record: false });
    const recorded = await run(options, { store, backend });
    const [left, right] = [await weightOf(direct.model), await weightOf(recorded.model)];
    for (const [at, value] of left.entries()) expect(right[at]).toBeCloseTo(value, 5);
    expect(await weightOf(running.model)).not.toEqual(left);
    expect([...kept.keys()].sort()).toEqual(['checkpoint', 'teacher-large-logits']);
    expect(asked.filter((outputs) => outputs === 'logits').length).toBeGreaterThan(1);
    kept.delete('checkpoint');
    asked.length = 0;
    const again = await run(options, { store, backend });
    expect(await weightOf(again.model)).toEqual(right);
    // One batch tells that the recording is of this teacher and of these samples.
    expect(asked.filter((outputs) => outputs === 'logits').length).toBe(1);
  });

  it('needs no labels, and says then that there is nothing to compare accuracy with', async () => {
    const unlabelled = arrayDataset({ inputs: { x } });
    const { report } = await run(basic, { trainingData: unlabelled });
    expect(report.steps[0]?.skipped.map(({ target }) => target)).toEqual(['diagnosis']);
    const needy: DistilOptions = { ...basic, terms: ['decoupled'] };
    await expect(run(needy, { trainingData: unlabelled })).rejects.toMatchObject(invalid);
    // Without labels the epoch is chosen by the loss, whose sign is turned: better is larger.
    const held = await run({ ...basic, validation: 0.25 }, { trainingData: unlabelled });
    expect(held.report.steps[0]?.metrics['validation']?.value).toBeLessThan(0);
  });

  it('says how student, teacher and control do', async () => {
    const b = new GraphBuilder('oracle');
    // Scores whose largest is at the class of the sample.
    const input = b.input('points', 'float32', ['N', 2]);
    const weights = floats([2, 3], [-1e3, 1e3, 1e3, 0, -1, 1]);
    b.output('logits', b.op.MatMul([input, b.constant('w', weights)]));
    const oracle = await b.build();
    const untrained = await student();
    const { report } = await run(
      { ...basic, teacher: 'oracle', epochs: 12, control: 'untrained' },
      { models: { oracle, untrained }, data: labelled },
    );
    const metric = (name: string): number => report.steps[0]?.metrics[name]?.value ?? Number.NaN;
    expect(metric('teacher accuracy')).toBe(1);
    expect(metric('agreement with teacher')).toBe(metric('student accuracy'));
    expect(metric('student accuracy')).toBeGreaterThan(metric('control accuracy'));
    const gap = metric('teacher accuracy') - metric('control accuracy');
    expect(metric('share of the gap closed')).toBeCloseTo(
      (metric('student accuracy') - metric('control accuracy')) / gap,
      10,
    );
    expect(report.steps[0]?.tables?.['diagnosis']?.title).toContain('48 calibration samples');
  });

  it('learns from several teachers', async () => {
    const other = await mlp({ inputs: 2, hidden: [24], classes: 3, seed: 2 });
    const { model } = await run({ ...basic, teacher: ['large', 'other'] }, { models: { large, other } });
    expect(await weightOf(model)).not.toEqual(await weightOf((await run(basic)).model));
  });

  const images = floats(
    [8, 1, 8, 8],
    Array.from({ length: 512 }, (_, at) => Math.sin(at)),
  );
  const few = Tensor.from('int64', [8], BigInt64Array.from([0, 1, 2, 3, 0, 1, 2, 3], BigInt));
  const pictures = arrayDataset({ inputs: { x: images }, targets: { label: few } });
  const tokens = Tensor.from(
    'int64',
    [8, 6],
    BigInt64Array.from({ length: 48 }, (_, at) => BigInt(at % 11)),
  );
  const sentences = arrayDataset({ inputs: { tokens }, targets: { label: few } });

  it.each<readonly [TermChoice, 'images' | 'tokens' | 'open', (tap: Tap) => DistillationLoss]>([
    ['logits', 'images', logitDistillation],
    [
      { loss: 'logits', standardize: true, temperature: 2 },
      'images',
      (tap) => logitDistillation({ ...tap, standardize: true, temperature: 2 }),
    ],
    [
      { loss: 'decoupled', beta: 3 },
      'images',
      (tap) => decoupledDistillation({ ...tap, target: 'label', beta: 3 }),
    ],
    [{ loss: 'correlation', gamma: 3 }, 'images', (tap) => correlationDistillation({ ...tap, gamma: 3 })],
    ['hint', 'images', hintDistillation],
    [
      { loss: 'attention-transfer', student: 'MaxPool_*', weight: 10, power: 3 },
      'images',
      (tap) => attentionTransfer({ ...tap, power: 3 }),
    ],
    [{ loss: 'similarity', weight: 100 }, 'images', similarityPreserving],
    [
      { loss: 'relational', warmUp: 2, angle: 4 },
      'images',
      (tap) => relationalDistillation({ ...tap, angle: 4 }),
    ],
    [
      { loss: 'contrastive', student: 'logits', negatives: 4, width: 8 },
      'images',
      (tap) => contrastiveDistillation({ ...tap, negatives: 4, width: 8, samples: 8 }),
    ],
    ['hidden-state', 'tokens', hiddenStateDistillation],
    ['hidden-state', 'open', hiddenStateDistillation],
    [{ loss: 'attention', student: 'scores' }, 'tokens', attentionDistillation],
    [
      { loss: 'relation', student: 'values', heads: 2 },
      'tokens',
      (tap) => relationDistillation({ ...tap, heads: 2 }),
    ],
  ])('has the term %o, as it is in code', async (term, kind, make) => {
    const size = { vocabulary: 11, length: 6, depth: 1, heads: 2, classes: 4 };
    const encoder = async (width: number): Promise<Model> => {
      const model = (await transformerEncoder({ ...size, width })).clone();
      const { graph } = model;
      const softmax = [...graph.nodes()].find((node) => node.is('Softmax'));
      const product = softmax?.output().uses[0]?.node;
      if (softmax?.input(0) != null) graph.rename(softmax.input(0) as never, 'scores');
      if (product?.input(1) != null) graph.rename(product.input(1) as never, 'values');
      return kind === 'open' ? openEncoder(model, ['batch', 'length']) : model;
    };
    const net = (seed: number): Promise<Model> => cnn({ image: [1, 8, 8], classes: 4, seed });
    const [own, teacher] =
      kind === 'images' ? [await net(1), await net(2)] : [await encoder(8), await encoder(16)];
    const data = kind === 'images' ? pictures : sentences;
    const steps = { epochs: 1, batchSize: 4, learningRate: 1e-3 };
    const context = { backend: referenceBackend(), trainingData: data, models: { teacher }, seed: 3 };
    const { report } = await optimize(
      own,
      [distil({ ...steps, teacher: 'teacher', terms: [term] })],
      context,
    );

    const { weight = 1, warmUp, student: pattern } = typeof term === 'string' ? ({} as TermFields) : term;
    const name = typeof term === 'string' ? term : term.loss;
    const onScores = ['logits', 'decoupled', 'correlation'].includes(name);
    const named = (): readonly Tap[] => {
      const [ours, theirs] = [own, teacher].map((one) => findTaps(one, pattern ?? 'logits'));
      return (ours ?? []).map((one, at) => ({ student: one, teacher: theirs?.[at] }));
    };
    const pairs =
      onScores || pattern !== undefined
        ? named()
        : (await suggestTaps(own, teacher)).map((pair) => ({ student: pair.student, teacher: pair.teacher }));
    expect(pairs.length).toBeGreaterThan(0);
    const table = sampleTable(
      kind === 'images'
        ? { inputs: { x: images }, targets: { label: few } }
        : { inputs: { tokens }, targets: { label: few } },
    );
    const wanted = await fit(
      own,
      name === 'contrastive' ? contrastTable(table, { negatives: 4, labels: few.toFloat64Array() }) : table,
      {
        ...steps,
        backend: context.backend,
        optimizer: adamW(),
        schedule: oneCycleSchedule(),
        loss: distillation({
          teacher: await teacherModel(teacher),
          terms: pairs.map((pair) => ({ loss: make(pair), weight: weight / pairs.length, warmUp })),
          task: crossEntropy({ logits: 'logits' }),
        }),
        seed: innerSeed(3),
      },
    );
    const without = await fit(own, table, {
      ...steps,
      backend: context.backend,
      optimizer: adamW(),
      schedule: oneCycleSchedule(),
      loss: crossEntropy({ logits: 'logits' }),
      seed: innerSeed(3),
    });
    const loss = report.steps[0]?.metrics['loss']?.value;
    expect(loss).toBeCloseTo(wanted.history[0]?.loss ?? Number.NaN, 5);
    expect(Math.abs((loss ?? 0) - (without.history[0]?.loss ?? 0))).toBeGreaterThan(1e-4);
  });

  it.each<readonly [string, object, RegExp]>([
    [
      'a teacher that is recorded beside augmentation',
      { ...basic, record: true, augment: ['flip'] },
      /augment/,
    ],
    ['an unknown loss', { ...basic, terms: ['softness'] }, /one of logits, decoupled/],
    ['an option of another loss', { ...basic, terms: [{ loss: 'hint', temperature: 4 }] }, /temperature/],
    ['no term', { ...basic, terms: [] }, /terms/],
  ])('refuses %s', (_, options, message) => {
    expect(() => distil(options as DistilOptions)).toThrow(message);
  });

  it('refuses what is not there', async () => {
    await expect(run({ ...basic, teacher: 'huge' })).rejects.toMatchObject(invalid);
    const pairs: DistilOptions = { ...basic, terms: [{ loss: 'hint', student: 'nothing*' }] };
    await expect(run(pairs)).rejects.toMatchObject(invalid);
    const uneven: DistilOptions = {
      ...basic,
      terms: [{ loss: 'similarity', student: '*', teacher: 'logits' }],
    };
    await expect(run(uneven)).rejects.toMatchObject(invalid);
    const b = new GraphBuilder('other');
    const sum = b.op.Add([b.input('a', 'float32', ['N', 3]), b.input('b', 'float32', ['N', 3])]);
    b.output('logits', sum);
    const two = await b.build();
    await expect(run(basic, { models: { large: two } })).rejects.toMatchObject(invalid);
  });
});

describe('distillation/mutual-learning', () => {
  it('trains with a peer of other weights, which is left behind', async () => {
    const data: Dataset = labelled;
    const options = { epochs: 2, batchSize: 16, learningRate: 0.03 };
    const context = { backend: referenceBackend(), trainingData: data, seed: 1 };
    const { model } = await optimize(await student(), [mutual(options)], context);
    const again = await optimize(await student(), [mutual(options)], context);
    const alone = await optimize(await student(), [train(options)], context);
    expect(await weightOf(model)).toEqual(await weightOf(again.model));
    expect(await weightOf(model)).not.toEqual(await weightOf(alone.model));
    expect(modelCost(model).parameters).toBe(modelCost(await student()).parameters);
    const named = await optimize(await student(), [mutual({ ...options, peer: 'large' })], {
      ...context,
      models: { large },
    });
    expect(await weightOf(named.model)).not.toEqual(await weightOf(model));
    expect(() => mutual({ ...options, loss: 'huber' })).toThrow(/cross-entropy/);
  });

  it('freezes the statistics of a peer with those of the model', async () => {
    const b = new GraphBuilder('normed');
    const net = layers(b, 3);
    const hidden = net.relu(net.batchNorm2d(net.linear(b.input('x', 'float32', ['N', 2]), 6)));
    b.output('logits', net.linear(hidden, 3));
    const peer = await b.build();
    const weights = async (frozenStatistics: boolean): Promise<readonly number[]> => {
      const options = { epochs: 1, batchSize: 16, learningRate: 0.03, peer: 'peer', frozenStatistics };
      const { model } = await optimize(await student(), [mutual(options)], {
        backend: referenceBackend(),
        trainingData: labelled,
        models: { peer },
      });
      return await weightOf(model);
    };
    // The model has no normalization of its own: what differs is what the peer says.
    expect(await weights(true)).not.toEqual(await weights(false));
  });

  it('takes probabilities where the loss says so: certain ones teach what labels teach', async () => {
    const certain = floats(
      [SAMPLES, 3],
      Array.from({ length: 3 * SAMPLES }, (_, at) => (classes[Math.floor(at / 3)] === at % 3 ? 1 : 0)),
    );
    const weights = async (loss: MutualOptions['loss'], target: Tensor): Promise<readonly number[]> => {
      const { model } = await optimize(
        await student(),
        [mutual({ epochs: 1, learningRate: 0.03, batchSize: 16, loss })],
        {
          backend: referenceBackend(),
          trainingData: arrayDataset({ inputs: { x }, targets: { target } }),
        },
      );
      return await weightOf(model);
    };
    const [soft, hard] = [
      await weights({ name: 'cross-entropy', targets: 'probabilities' }, certain),
      await weights('cross-entropy', label),
    ];
    for (const [at, value] of soft.entries()) expect(value).toBeCloseTo(hard[at] ?? Number.NaN, 6);
  });
});

describe('distillation/initialize-from', () => {
  it('takes weights by name and by pattern', async () => {
    const deep = await mlp({ inputs: 2, hidden: [6, 6, 6], classes: 3, seed: 5 });
    const shallow = await mlp({ inputs: 2, hidden: [6, 6], classes: 3, seed: 6 });
    const { model, report } = await optimize(
      shallow,
      [initializeFromTeacher({ teacher: 'deep', weights: { 'linear2.*': 'linear3.*' } })],
      { models: { deep } },
    );
    expect(await weightOf(model, 'linear1.weight')).toEqual(await weightOf(deep, 'linear1.weight'));
    expect(await weightOf(model, 'linear2.weight')).toEqual(await weightOf(deep, 'linear3.weight'));
    expect(await weightOf(model, 'linear2.bias')).toEqual(await weightOf(deep, 'linear3.bias'));
    expect(report.steps[0]?.applied.length).toBe(6);
  });

  it('refuses names that fit nothing, and patterns that say nothing', async () => {
    const from = (weights: Readonly<Record<string, string>>): Promise<unknown> =>
      student().then((model) =>
        optimize(model, [initializeFromTeacher({ teacher: 'large', weights })], { models: { large } }),
      );
    await expect(from({ 'linear1.*': 'linear1.*', 'layer7.*': 'linear1.*' })).rejects.toMatchObject({
      cause: { code: 'OPTIONS_INVALID', message: expect.stringContaining('"layer7.*" fits no weight') },
    });
    await expect(from({ 'lin*r1.*': 'linear1.weight' })).rejects.toThrow(/one \*/);
    await expect(from({ 'linear1.weight': 'linear*' })).rejects.toThrow(/pattern has one/);
  });

  it('takes weights that the student holds in Constant nodes', async () => {
    const b = new GraphBuilder('constants');
    const input = b.input('x', 'float32', ['N', 2]);
    const weight = b.op.Constant([], { value: floats([2, 3], [0, 0, 0, 0, 0, 0]) });
    const half = b.op.Constant([], { value: floats([], [0.5]) });
    b.output('logits', b.op.Mul([b.op.MatMul([input, weight]), half]));
    const held = await b.build();
    held.graph.rename(held.graph.nodes().next().value?.output() as never, 'w');
    const t = new GraphBuilder('teacher');
    t.output(
      'logits',
      t.op.MatMul([t.input('x', 'float32', ['N', 2]), t.constant('w', floats([2, 3], [1, 2, 3, 4, 5, 6]))]),
    );
    const teacher = await t.build();
    const { model, report } = await optimize(held, [initializeFromTeacher({ teacher: 'teacher' })], {
      models: { teacher },
    });
    expect(report.steps[0]?.applied.length).toBe(1);
    expect(report.steps[0]?.skipped).toEqual([]);
    expect(await weightOf(model, 'w')).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe('the plugin', () => {
  it('has the passes of the package', () => {
    expect(plugin.passes.map(({ spec }) => spec.name)).toEqual([
      'distillation/distil',
      'distillation/mutual-learning',
      'distillation/initialize-from',
    ]);
  });
});

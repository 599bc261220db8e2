import { arrayDataset, createRng, type Feeds, GraphBuilder, type Model, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { diagnose, initializeFrom, mutualLearning, temperatureSweep } from '@lithe/distillation';
import { crossEntropy, layers, mlp, sgd, trainingStep } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { floats, weightOf } from './support.ts';

/** A model that hands its scores through: `logits` = `x`, times one. */
async function echo(factor: readonly number[]): Promise<Model> {
  const b = new GraphBuilder('echo');
  b.output('logits', b.op.Mul([b.input('x', 'float32', ['N', 3]), b.constant('w', floats([3], factor))]));
  return await b.build();
}

const normal = (shape: readonly number[], seed: number): Tensor => {
  const rng = createRng(seed);
  return floats(
    shape,
    Float32Array.from({ length: shape.reduce((size, dim) => size * dim, 1) }, () => rng.normal()),
  );
};

/** A small CNN whose running statistics are far from those of a batch. */
async function normed(seed: number): Promise<Model> {
  const b = new GraphBuilder('normed');
  const net = layers(b, seed);
  const x = b.input('x', 'float32', ['N', 2, 3, 3]);
  const normalized = net.batchNorm2d(net.conv2d(x, 4, { padding: 1, bias: false }));
  b.output('logits', net.linear(net.flatten(net.relu(normalized)), 3, { name: 'classifier' }));
  const model = await b.build();
  const norm = [...model.graph.nodes()].find((node) => node.is('BatchNormalization'));
  for (const [index, values] of [
    [3, [1, -1, 0.5, 2]],
    [4, [3, 0.5, 2, 4]],
  ] as const) {
    const value = norm?.input(index);
    if (value != null) model.graph.setInitializer(value, floats([4], values));
  }
  return model;
}

describe('initializeFrom', () => {
  it('takes weights of equal name, evenly spaced slices where the teacher is wider', async () => {
    const teacher = await mlp({ inputs: 2, hidden: [6, 5], classes: 3, seed: 1 });
    const student = await mlp({ inputs: 2, hidden: [3, 5], classes: 3, seed: 2 });
    const { model, taken, left } = await initializeFrom(student, teacher);
    expect(taken.length).toBe(6);
    expect(left).toEqual([]);
    const theirs = await weightOf(teacher, 'linear1.bias');
    expect(await weightOf(model, 'linear1.bias')).toEqual([theirs[0], theirs[2], theirs[4]]);
    const wide = await weightOf(teacher, 'linear2.weight');
    // [5, 3] of [5, 6]: the second row holds every second number of the teacher's.
    const narrow = await weightOf(model, 'linear2.weight');
    expect(narrow.slice(3, 6)).toEqual([wide[6], wide[8], wide[10]]);
    expect(await weightOf(student, 'linear2.weight')).not.toEqual(narrow);
  });

  it('takes the first slices where that is asked for', async () => {
    const teacher = await mlp({ inputs: 2, hidden: [6], classes: 3, seed: 1 });
    const student = await mlp({ inputs: 2, hidden: [3], classes: 3, seed: 2 });
    const { model } = await initializeFrom(student, teacher, { slices: 'first' });
    expect(await weightOf(model, 'linear1.bias')).toEqual(
      (await weightOf(teacher, 'linear1.bias')).slice(0, 3),
    );
    expect(await weightOf(model, 'linear1.weight')).toEqual(
      (await weightOf(teacher, 'linear1.weight')).slice(0, 6),
    );
  });

  it('says what it left, and refuses when nothing fits', async () => {
    const teacher = await mlp({ inputs: 2, hidden: [2], classes: 3, seed: 1 });
    const student = await mlp({ inputs: 2, hidden: [4], classes: 3, seed: 2 });
    const { taken, left } = await initializeFrom(student, teacher);
    expect(taken).toEqual(['classifier.bias']);
    expect(left.map(({ name }) => name)).toEqual(['linear1.weight', 'linear1.bias', 'classifier.weight']);
    await expect(initializeFrom(student, teacher, { source: () => 'other' })).rejects.toThrow(
      'No weight of the student',
    );
  });
});

describe('mutualLearning', () => {
  it.each([1, 3])(
    'adds both tasks and both divergences at temperature %d, and both networks learn',
    async (T) => {
      const x = floats([2, 3], [1, 0, -1, 0.5, 2, 1]);
      const label = Tensor.from('int64', [2], BigInt64Array.of(0n, 2n));
      const [ours, theirs] = [
        [1, 1, 1],
        [2, 0.5, 1],
      ];
      const task = (logits: string): ReturnType<typeof crossEntropy> => crossEntropy({ logits });
      const step = await trainingStep(await echo(ours), {
        loss: await mutualLearning(await echo(theirs), { task, temperature: T }),
        optimizer: sgd({ momentum: 0 }),
      });
      expect(step.lossParameters).toEqual(['loss:peer:w']);
      await using executable = await referenceBackend().compile(step.model, { state: step.state });
      const results = await executable.run({ x, label, learning_rate: floats([], [0.1]) });
      const rows = [
        [1, 0, -1],
        [0.5, 2, 1],
      ];
      const probabilities = (factor: readonly number[], temperature: number): number[][] =>
        rows.map((row) => {
          const exp = row.map((value, at) => Math.exp((value * (factor[at] ?? 0)) / temperature));
          return exp.map((value) => value / exp.reduce((sum, item) => sum + item, 0));
        });
      const [p, q] = [probabilities(ours, 1), probabilities(theirs, 1)];
      const [soft, other] = [probabilities(ours, T), probabilities(theirs, T)];
      const entropy = (m: number[][]): number => -(Math.log(m[0]?.[0] ?? 0) + Math.log(m[1]?.[2] ?? 0)) / 2;
      const kl = (a: number[][], b: number[][]): number =>
        a
          .flatMap((row, n) => row.map((value, at) => value * Math.log(value / (b[n]?.[at] ?? 0))))
          .reduce((sum, value) => sum + value, 0) / 2;
      expect(results[step.loss]?.toFloat64Array()[0]).toBeCloseTo(
        entropy(p) + T ** 2 * kl(other, soft) + entropy(q) + T ** 2 * kl(soft, other),
        5,
      );
      // The student's gradient: softmax - onehot from its task, T (p - q) of softened ones from the divergence, each times x, over the batch.
      const after = await executable.readState();
      const wanted = ours.map((value, at) => {
        const gradient = rows.map((row, n) => {
          const hot = (n === 0 ? 0 : 2) === at ? 1 : 0;
          const apart = (soft[n]?.[at] ?? 0) - (other[n]?.[at] ?? 0);
          return (row[at] ?? 0) * ((p[n]?.[at] ?? 0) - hot + T * apart);
        });
        return value - (0.1 * gradient.reduce((sum, item) => sum + item, 0)) / 2;
      });
      after['w']?.toFloat64Array().forEach((value, at) => {
        expect(value).toBeCloseTo(wanted[at] ?? 0, 5);
      });
      expect([...(after['loss:peer:w']?.toFloat64Array() ?? [])]).not.toEqual(theirs);
    },
  );

  it('teaches a peer whose weights are held in nodes, and none of its other constants', async () => {
    const b = new GraphBuilder('held');
    const scores = b.op.MatMul([
      b.input('x', 'float32', ['N', 3]),
      b.op.Constant([], { value: floats([3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]) }),
    ]);
    b.output('logits', b.op.Pow([scores, b.constant('powers', floats([3], [1, 1, 3]))]));
    const peer = await b.build();
    const step = await trainingStep(await echo([1, 1, 1]), {
      loss: await mutualLearning(peer, { task: (logits) => crossEntropy({ logits }) }),
      optimizer: sgd(),
    });
    expect(step.lossParameters.length).toBe(1);
  });

  it('refuses a peer that gives other scores', async () => {
    const b = new GraphBuilder('single');
    const weight = b.constant('w', floats([3, 1], [1, 1, 1]));
    b.output('logits', b.op.MatMul([b.input('x', 'float32', ['N', 3]), weight]));
    const loss = await mutualLearning(await b.build(), { task: (logits) => crossEntropy({ logits }) });
    await expect(trainingStep(await echo([1, 1, 1]), { loss, optimizer: sgd() })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
    await expect(
      mutualLearning(await echo([1, 1, 1]), { task: (logits) => crossEntropy({ logits }), temperature: 0 }),
    ).rejects.toThrow('above 0');
  });

  it.each([
    ['by the batch', false],
    ['by running statistics that are frozen', true],
  ])(
    'normalizes the peer %s, as the student: turned round, they learn the same',
    async (_, frozenStatistics) => {
      const nets = await Promise.all([1, 2].map((seed) => normed(seed)));
      const label = Tensor.from('int64', [4], BigInt64Array.of(0n, 2n, 1n, 2n));
      const x = normal([4, 2, 3, 3], 5);
      const trained = async (student: Model, peer: Model): Promise<readonly [Feeds, Feeds]> => {
        const step = await trainingStep(student, {
          loss: await mutualLearning(peer, { task: (logits) => crossEntropy({ logits }), frozenStatistics }),
          optimizer: sgd({ momentum: 0 }),
          frozenStatistics,
        });
        await using executable = await referenceBackend().compile(step.model, { state: step.state });
        for (let at = 0; at < 3; at++) await executable.run({ x, label, learning_rate: floats([], [0.1]) });
        const state = await executable.readState();
        const taken = (begin: string): Feeds =>
          Object.fromEntries(step.parameters.map((name) => [name, state[`${begin}${name}`] as Tensor]));
        expect(step.lossParameters).toEqual(step.parameters.map((name) => `loss:peer:${name}`));
        return [taken(''), taken('loss:peer:')];
      };
      const [one, other] = [
        await trained(nets[0] as Model, nets[1] as Model),
        await trained(nets[1] as Model, nets[0] as Model),
      ];
      for (const [first, second] of [
        [one[0], other[1]],
        [one[1], other[0]],
      ] as const) {
        expect(Object.keys(first).length).toBe(5);
        for (const [name, weight] of Object.entries(first))
          for (const [at, value] of weight.toFloat64Array().entries())
            expect(second[name]?.toFloat64Array()[at]).toBeCloseTo(value, 6);
      }
    },
  );

  it('refuses a peer that needs masks in training', async () => {
    const b = new GraphBuilder('with-dropout');
    b.output('logits', layers(b, 0).dropout(b.input('x', 'float32', ['N', 3]), 0.5));
    const peer = await b.build();
    await expect(mutualLearning(peer, { task: (logits) => crossEntropy({ logits }) })).rejects.toThrow(
      'Dropout',
    );
  });
});

describe('diagnose', () => {
  const scores = [3, 0, 0, 0, 3, 0, 0, 0, 3, 3, 0, 0];
  const data = arrayDataset({
    inputs: { x: floats([4, 3], scores) },
    targets: { label: Tensor.from('int64', [4], BigInt64Array.of(0n, 1n, 2n, 1n)) },
  });

  it('counts by hand', async () => {
    const backend = referenceBackend();
    // The teacher says 0, 1, 2, 0; the student, whose second class is turned round, 0, 0, 2, 0; the control 0, 1, 0, 0.
    const [teacher, student, control] = [
      await echo([1, 1, 1]),
      await echo([1, -1, 1]),
      await echo([1, 1, -1]),
    ];
    const found = await diagnose(teacher, student, { backend, data, control });
    expect(found).toMatchObject({
      samples: 4,
      teacher: 0.75,
      student: 0.5,
      control: 0.5,
      agreement: 0.75,
      controlAgreement: 0.75,
      gapClosed: 0,
    });
    const top = Math.exp(3) / (Math.exp(3) + 2);
    expect(found.teacherConfidence).toBeCloseTo(top, 6);
    expect(found.remarks.join(' ')).toContain('not better than the control');
    const alone = await diagnose(teacher, student, { backend, data });
    expect(alone.gapClosed).toBeUndefined();
    expect(alone.remarks.join(' ')).toContain('Without a control');
    const sure = await diagnose(await echo([9, 9, 9]), student, { backend, data });
    expect(sure.remarks.join(' ')).toContain('sure of itself');
  });

  it('takes a difference for noise by the accuracies that differ', async () => {
    // The teacher is always right; student and control in 20 and 19 of 25: 2 sqrt((0.16 + 0.1824) / 25) is 23 points.
    const rows = Array.from({ length: 25 }, (_, at) => at % 3);
    const oneHot = rows.flatMap((row) => [0, 1, 2].map((at) => (at === row ? 3 : 0)));
    const wrongIn = (count: number): Tensor =>
      floats(
        [25, 3],
        oneHot.map((score, at) => (at < 3 * count ? -score : score)),
      );
    const data = arrayDataset({
      inputs: { t: wrongIn(0), s: wrongIn(5), c: wrongIn(6) },
      targets: { label: Tensor.from('int64', [25], BigInt64Array.from(rows, BigInt)) },
    });
    const reading = async (input: string): Promise<Model> => {
      const b = new GraphBuilder('reading');
      b.output('logits', b.op.Neg([b.op.Neg([b.input(input, 'float32', ['N', 3])])]));
      return await b.build();
    };
    const found = await diagnose(await reading('t'), await reading('s'), {
      backend: referenceBackend(),
      data,
      control: await reading('c'),
    });
    expect([found.teacher, found.student, found.control]).toEqual([1, 20 / 25, 19 / 25]);
    expect(found.remarks.join(' ')).toContain(
      'not better than the control beyond the noise of 25 samples (23.41 %)',
    );
  });

  it('compares models of the same classes, by one class number for each sample', async () => {
    const backend = referenceBackend();
    const model = await echo([1, 1, 1]);
    const oneHot = arrayDataset({
      inputs: { x: floats([4, 3], scores) },
      targets: { label: floats([4, 3], scores) },
    });
    await expect(diagnose(model, model, { backend, data: oneHot })).rejects.toMatchObject({
      code: 'DATA_INVALID',
    });
    const b = new GraphBuilder('wide');
    const input = b.input('x', 'float32', ['N', 3]);
    b.output('logits', b.op.Concat([input, input], { axis: 1 }));
    await expect(diagnose(await b.build(), model, { backend, data })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      message: expect.stringContaining('6 and 3 classes'),
    });
  });

  it('needs labels and scores', async () => {
    const backend = referenceBackend();
    const model = await echo([1, 1, 1]);
    const bare = arrayDataset({ inputs: { x: floats([1, 3], [1, 2, 3]) } });
    await expect(diagnose(model, model, { backend, data: bare })).rejects.toMatchObject({
      code: 'DATA_INVALID',
    });
    await expect(diagnose(model, model, { backend, data, logits: 'none' })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });
});

describe('temperatureSweep', () => {
  it('gives mean and spread of each, and says whether it matters', async () => {
    const { points, best, matters } = await temperatureSweep({
      temperatures: [1, 4],
      seeds: [0, 1],
      run: (temperature, seed) => Promise.resolve(temperature + seed),
    });
    expect(points.map(({ mean }) => mean)).toEqual([1.5, 4.5]);
    expect(points[0]?.deviation).toBeCloseTo(Math.SQRT1_2, 12);
    expect(best.temperature).toBe(4);
    expect(matters).toBe(true);
    const flat = await temperatureSweep({ seeds: [0, 1], run: (_, seed) => Promise.resolve(seed) });
    expect(flat.matters).toBe(false);
    const single = await temperatureSweep({ run: (temperature) => Promise.resolve(temperature) });
    expect([single.best.temperature, single.matters]).toEqual([8, false]);
    // The second trial diverged.
    const broken = await temperatureSweep({
      seeds: [0, 1],
      run: (temperature, seed) =>
        Promise.resolve(temperature === 2 ? Number.NaN : 8 - temperature + seed / 100),
    });
    expect([broken.best.temperature, broken.matters]).toEqual([1, true]);
    await expect(temperatureSweep({ temperatures: [0], run: () => Promise.resolve(1) })).rejects.toThrow(
      'above 0',
    );
  });
});

import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  arrayDataset,
  type Backend,
  createPassContext,
  createRng,
  createRunContext,
  type Dataset,
  GraphBuilder,
  type Model,
  standardOps,
  Tensor,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { crossEntropy, mobileNetV2, resnet20, transformerEncoder } from '@lithe/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  activationMean,
  batchNormScale,
  blockInfluence,
  type Criterion,
  type CriterionContext,
  fisherScore,
  geometricMedian,
  l1Norm,
  l2Norm,
  lampScore,
  nonZeroActivations,
  type PruningGroup,
  planPruning,
  pruningGroups,
  randomScore,
  residualBlocks,
  taylorScore,
  wandaScore,
} from '../src/index.ts';
import { normal, tokens } from './support.ts';

const floats = (shape: readonly number[], ...values: readonly number[]): Tensor =>
  Tensor.from('float32', shape, Float32Array.from(values));

/** x [N, 2], three hidden neurons, two scores: y = relu(x A + a) B + b. */
async function tiny(): Promise<Model> {
  const b = new GraphBuilder('tiny');
  const x = b.input('x', 'float32', ['N', 2]);
  const a = floats([2, 3], 1, -2, 0, 3, 1, -1);
  const hidden = b.op.Relu([b.op.Gemm([x, a, floats([3], 0, 1, 0)])]);
  b.output('logits', b.op.Gemm([hidden, floats([3, 2], 1, 2, -1, 0, 4, 1), floats([2], 0, 0)]));
  return await b.build();
}

const data = (): Dataset =>
  arrayDataset({
    inputs: { x: floats([2, 2], 1, 0, 0, 2) },
    targets: { label: Tensor.from('int64', [2], BigInt64Array.of(0n, 1n)) },
  });

async function contextOf(model: Model, parts: Partial<CriterionContext> = {}): Promise<CriterionContext> {
  await pruningGroups(model);
  return {
    ...createRunContext({ seed: 3 }),
    model,
    backend: referenceBackend(),
    data: data(),
    opset: standardOps,
    ...parts,
  };
}

async function scores(
  criterion: Criterion,
  model: Model,
  parts: Partial<CriterionContext> = {},
): Promise<number[]> {
  const groups = (await pruningGroups(model)).filter((group) => group.prunable);
  const [first] = await criterion.score(groups, await contextOf(model, parts));
  return [...(first ?? [])];
}

describe('criteria and quantized weights', () => {
  it('say nothing of numbers whose scales they do not see', async () => {
    const b = new GraphBuilder('quantized');
    const x = b.input('x', 'float32', ['N', 2]);
    const codes = b.constant('codes', Tensor.from('int8', [2, 3], Int8Array.of(127, 127, 1, 127, 127, 1)));
    // The third neuron is by far the largest.
    const weight = b.op.DequantizeLinear([codes, floats([3], 1e-6, 1e-6, 1)], { axis: 1 });
    const hidden = b.op.Relu([b.op.MatMul([x, weight])]);
    b.output('y', b.op.MatMul([hidden, floats([3, 1], 1, 1, 1)]));
    const model = await b.build();
    for (const criterion of [l1Norm(), l2Norm(), lampScore(), geometricMedian()]) {
      expect(await scores(criterion, model)).toEqual([]);
    }
    const context = { ...createPassContext(), backend: referenceBackend(), data: data() };
    const { plan, skipped } = await planPruning(model, { ratio: 0.4 }, context);
    expect(plan.removals).toEqual([]);
    expect(skipped).toContainEqual({
      target: 'MatMul_0',
      code: 'no-score',
      reason: 'criterion "l2" says nothing about it: "codes" is quantized, prune before that',
    });
    // What is computed has its scale in it.
    const means = await scores(activationMean(), model);
    expect(means.indexOf(Math.max(...means))).toBe(2);
  });
});

describe('criteria over weights, by hand', () => {
  const plain = { reduction: 'sum', normalizer: 'none' } as const;

  it('adds up what makes and what reads a unit', async () => {
    const model = await tiny();
    expect(await scores(l1Norm(plain), model)).toEqual([4 + 3, 3 + 1, 1 + 5]);
    expect(await scores(l2Norm(plain), model)).toEqual([10 + 5, 5 + 1, 1 + 17]);
    expect(await scores(l1Norm({ ...plain, bias: true }), model)).toEqual([7, 4 + 1, 6]);
    expect(await scores(l2Norm({ reduction: 'mean', normalizer: 'none' }), model)).toEqual([7.5, 3, 9]);
    expect(await scores(lampScore({ reduction: 'sum' }), model)).toEqual([15 / 33, 6 / 39, 1]);
  });

  it('measures how far filters are from one another', async () => {
    // Columns (1, 3), (-2, 1), (0, -1).
    const [one, two, three] = [Math.hypot(3, 2), Math.hypot(1, 4), Math.hypot(2, 2)];
    const found = await scores(geometricMedian(plain), await tiny());
    const expected = [one + two, one + three, two + three];
    for (const [index, value] of expected.entries()) expect(found[index]).toBeCloseTo(value, 10);
  });

  it('reads the scale of batch normalization, and says nothing where there is none', async () => {
    const model = await resnet20({ image: [3, 8, 8] });
    const groups = (await pruningGroups(model)).filter((group) => group.prunable);
    const inner = groups.find((group) => group.layers.length === 1) as PruningGroup;
    const scale = inner.weights.find((weight) => weight.role === 'scale') as PruningGroup['weights'][number];
    model.graph.setInitializer(
      model.graph.value(scale.value) as never,
      Tensor.from(
        'float32',
        [16],
        Float32Array.from({ length: 16 }, (_, index) => index - 8),
      ),
    );
    const after = (await pruningGroups(model)).find((group) => group.name === inner.name) as PruningGroup;
    const [found] = await batchNormScale().score([after], await contextOf(model));
    expect([...(found ?? [])]).toEqual(Array.from({ length: 16 }, (_, index) => Math.abs(index - 8)));
    expect(await batchNormScale().score(await pruningGroups(await tiny()), await contextOf(model))).toEqual([
      undefined,
      undefined,
    ]);
  });

  it('draws random scores from the seed alone', async () => {
    const model = await tiny();
    const first = await scores(randomScore(), model);
    expect(await scores(randomScore(), model)).toEqual(first);
    expect(await scores(randomScore(), model, { rng: createRng(4) })).not.toEqual(first);
  });
});

describe('criteria over data, by hand', () => {
  const plain = { reduction: 'sum', normalizer: 'none' } as const;
  // Hidden neurons for (1, 0): relu(1, -1, 0); for (0, 2): relu(6, 3, -2).
  const hidden = [
    [1, 0, 0],
    [6, 3, 0],
  ];

  it('averages activations', async () => {
    const model = await tiny();
    expect(await scores(activationMean(plain), model)).toEqual([3.5, 1.5, 0]);
    expect(await scores(nonZeroActivations(plain), model)).toEqual([1, 0.5, 0]);
    const wanda = await scores(wandaScore(plain), model);
    const expected = [3 * Math.sqrt(37 / 2), 1 * Math.sqrt(9 / 2), 0];
    for (const [index, value] of expected.entries()) expect(wanda[index]).toBeCloseTo(value, 5);
  });

  it('averages over samples, however many a batch holds', async () => {
    const model = await tiny();
    // Hidden neurons for (1, 1): relu(4, 0, -1).
    const three = arrayDataset({ inputs: { x: floats([3, 2], 1, 0, 0, 2, 1, 1) } });
    for (const batchSize of [1, 2, 3]) {
      const found = await scores(activationMean({ ...plain, batchSize }), model, { data: three });
      for (const [index, value] of [(1 + 6 + 4) / 3, 1, 0].entries())
        expect(found[index]).toBeCloseTo(value, 6);
    }
  });

  it('weighs what each group of a convolution reads by its own weights', async () => {
    // Six channels, x, 2x, ..., 6x, of which two groups of filters read three each.
    const b = new GraphBuilder('grouped');
    const x = b.input('x', 'float32', ['N', 1, 2, 2]);
    const wide = b.op.Conv([x, floats([6, 1, 1, 1], 1, 2, 3, 4, 5, 6)]);
    const kernel = floats([4, 3, 1, 1], 1, 0, 0, -1, 2, 0, 0, 0, 3, 0.5, 0, 0);
    b.output('y', b.op.Conv([wide, kernel], { group: 2 }));
    const model = await b.build();
    const inputs = { x: floats([1, 1, 2, 2], 1, -1, 1, -1) };
    const found = await scores(wandaScore(plain), model, { data: arrayDataset({ inputs }) });
    // Of channels 1 and 4: |1| + |-1| by 1, and |0.5| by 4; of 2 and 5: |2| by 2; of 3 and 6: |3| by 6.
    for (const [index, value] of [2 * 1 + 0.5 * 4, 2 * 2, 3 * 6].entries())
      expect(found[index]).toBeCloseTo(value, 6);
    expect(found.length).toBe(3);
  });

  it('takes the gradients of a loss', async () => {
    const model = await tiny();
    const loss = crossEntropy({ logits: 'logits' });
    // Scores z = h B and the gradient p - onehot of each sample; two samples in one batch, or one by one.
    const [b0, b1]: readonly [readonly number[], readonly number[]] = [
      [1, -1, 4],
      [2, 0, 1],
    ];
    const a = [
      [1, 3],
      [-2, 1],
      [0, -1],
    ] as const;
    const inputs = [
      [1, 0],
      [0, 2],
    ] as const;
    const perSample = hidden.map((h, sample) => {
      const z = [b0, b1].map((column) =>
        column.reduce((sum, weight, unit) => sum + weight * (h[unit] as number), 0),
      );
      const total = z.reduce((sum, value) => sum + Math.exp(value), 0);
      const error = z.map((value, label) => Math.exp(value) / total - (label === sample ? 1 : 0));
      return a.map((row, unit) => {
        const out = [b0, b1].map(
          (column, label) => (column[unit] as number) * (h[unit] as number) * (error[label] as number),
        );
        const back = [b0, b1].reduce(
          (sum, column, label) => sum + (column[unit] as number) * (error[label] as number),
          0,
        );
        const open = (h[unit] as number) > 0 ? back : 0;
        const into = row.map((weight, axis) => weight * (inputs[sample] as readonly number[])[axis]! * open);
        return [...into, ...out];
      });
    });
    const absolute = (changes: readonly number[]): number =>
      changes.reduce((sum, one) => sum + Math.abs(one), 0);
    const square = (changes: readonly number[]): number => changes.reduce((sum, one) => sum + one * one, 0);
    const mean = (of: (changes: readonly number[]) => number): number[] =>
      a.map((_, unit) => perSample.reduce((sum, units) => sum + of(units[unit] as number[]) / 2, 0));
    const check = (found: readonly number[], expected: readonly number[]): void => {
      for (const [unit, value] of expected.entries()) expect(found[unit]).toBeCloseTo(value, 5);
    };
    check(await scores(taylorScore({ ...plain, loss, batchSize: 1 }), model), mean(absolute));
    check(await scores(fisherScore({ ...plain, loss, batchSize: 1 }), model), mean(square));
    const bySign = (changes: readonly number[]): number =>
      Math.abs((changes[0] as number) + (changes[1] as number)) +
      Math.abs((changes[2] as number) + (changes[3] as number));
    check(await scores(taylorScore({ ...plain, loss, batchSize: 1, per: 'unit' }), model), mean(bySign));
  });

  it('says what it lacks', async () => {
    const model = await tiny();
    const loss = crossEntropy({ logits: 'logits' });
    await expect(scores(wandaScore(), model, { data: undefined })).rejects.toMatchObject({
      code: 'PASS_NEEDS',
    });
    const unlabelled = arrayDataset({ inputs: { x: floats([1, 2], 1, 0) } });
    await expect(scores(taylorScore({ loss }), model, { data: unlabelled })).rejects.toMatchObject({
      code: 'DATA_INVALID',
    });
    const empty: Dataset = {
      size: 0,
      description: 'nothing',
      batches: async function* () {
        yield* [];
      },
    };
    await expect(scores(wandaScore(), model, { data: empty })).rejects.toMatchObject({
      code: 'DATA_INVALID',
    });
  });
});

describe('criteria on whole networks', () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await onnxruntimeNode();
  });
  afterAll(() => backend.dispose());

  const criteria = (): readonly Criterion[] => {
    const loss = crossEntropy({ logits: 'logits' });
    return [
      l1Norm(),
      l2Norm(),
      lampScore(),
      geometricMedian(),
      randomScore(),
      activationMean(),
      nonZeroActivations(),
      wandaScore(),
      taylorScore({ loss }),
      fisherScore({ loss }),
    ];
  };
  const label = Tensor.from('int64', [4], BigInt64Array.of(0n, 1n, 2n, 3n));

  it.each([
    {
      name: 'MobileNetV2',
      make: () => mobileNetV2({ image: [3, 32, 32], width: 0.25 }),
      inputs: { x: normal([4, 3, 32, 32], 1) },
      // Those that look at data and at batch normalization tell most; the others are tried on the transformer.
      only: ['taylor', 'wanda', 'l2'],
    },
    {
      name: 'a transformer',
      make: () => transformerEncoder({ vocabulary: 20, length: 6, depth: 2, width: 16, heads: 2 }),
      inputs: { tokens: tokens([4, 6], 1, 20) },
      only: undefined,
    },
  ])('score every unit of $name with finite numbers', async ({ make, inputs, only }) => {
    const model = await make();
    const groups = (await pruningGroups(model)).filter((group) => group.prunable);
    const context = await contextOf(model, { backend, data: arrayDataset({ inputs, targets: { label } }) });
    for (const criterion of criteria()) {
      if (only?.includes(criterion.name) === false) continue;
      const found = await criterion.score(groups, context);
      for (const [place, group] of groups.entries()) {
        expect(found[place]?.length, `${criterion.name} of ${group.name}`).toBe(group.units);
        expect(found[place]?.every(Number.isFinite), `${criterion.name} of ${group.name}`).toBe(true);
      }
    }
  });

  it('know a block that does nothing', async () => {
    const model = await transformerEncoder({ vocabulary: 20, length: 6, depth: 2, width: 16, heads: 2 });
    const blocks = await residualBlocks(model);
    for (const name of ['attention2.output.weight', 'attention2.output.bias']) {
      const value = model.graph.value(name);
      if (value !== undefined)
        model.graph.setInitializer(value, normal(value.shape as readonly number[], 1, 0));
    }
    const inputs = { tokens: tokens([4, 6], 1, 20) };
    const context = await contextOf(model, { backend, data: arrayDataset({ inputs }) });
    const influence = await blockInfluence(blocks, context);
    expect(influence[2]).toBeCloseTo(0, 6);
    for (const index of [0, 1, 3]) expect(influence[index]).toBeGreaterThan(1e-5);
  });
});

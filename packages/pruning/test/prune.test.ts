import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  arrayDataset,
  type Backend,
  createPassContext,
  GraphBuilder,
  type Model,
  modelCost,
  optimize,
  type PassContext,
  type StepReport,
  type Target,
  Tensor,
  type Value,
} from '@lithe/core';
import { cnn, crossEntropy, resnet20, transformerEncoder } from '@lithe/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Criterion,
  l1Norm,
  memoryJournal,
  type PruneOptions,
  planPruning,
  prune,
  pruningSensitivity,
  taylorScore,
} from '../src/index.ts';
import { normal, runModel } from './support.ts';

const contextOf = (parts: Partial<PassContext> = {}): PassContext => ({
  ...createPassContext(),
  ...parts,
});

const widths = async (
  model: Model,
  options: PruneOptions,
  parts: Partial<PassContext> = {},
): Promise<string[]> => {
  const { plan } = await planPruning(model, options, contextOf(parts));
  return plan.changes.map(({ group, after }) => `${group} ${after}`);
};

/** Two layers of 4 neurons, of which the second has weights ten times as large; then 3 of another kind. */
async function uneven(): Promise<Model> {
  const b = new GraphBuilder('uneven');
  const x = b.input('x', 'float32', ['N', 4]);
  const layer = (value: typeof x, from: number, to: number, scale: number, name: string): typeof x => {
    const data = Float32Array.from({ length: from * to }, (_, index) => scale * (1 + (index % to)));
    return b.op.Relu([b.op.Gemm([value, Tensor.from('float32', [from, to], data)], {}, { name })]);
  };
  const one = layer(x, 4, 4, 0.1, 'small');
  const two = layer(one, 4, 4, 1, 'large');
  b.output('y', b.op.Gemm([two, normal([4, 2], 1)], {}, { name: 'last' }));
  return await b.build();
}

/** A criterion that says what it is told. */
const fixed = (scores: Readonly<Record<string, readonly number[]>>): Criterion => ({
  name: 'fixed',
  needs: [],
  score: (groups) =>
    Promise.resolve(
      groups.map(({ name }) => {
        const own = scores[name];
        return own === undefined ? undefined : Float64Array.from(own);
      }),
    ),
});

describe('what prune selects', () => {
  const criterion = fixed({ small: [1, 2, 3, 4], large: [10, 20, 30, 2.5] });

  it('takes the same share of every group, or lets all compete', async () => {
    const model = await uneven();
    expect(await widths(model, { criterion, ratio: 0.5 })).toEqual(['small 2', 'large 2']);
    expect(await widths(model, { criterion, ratio: 0.5, scope: 'global' })).toEqual(['small 1', 'large 3']);
    expect(await widths(model, { criterion, ratio: 0.25, scope: 'global' })).toEqual(['small 2', 'large 4']);
    const { plan } = await planPruning(model, { criterion, ratio: 0.25 }, contextOf());
    expect(plan.removals.map(({ units }) => units)).toEqual([[0], [3]]);
  });

  it('keeps a least width, a largest share, and what is protected', async () => {
    const model = await uneven();
    expect(await widths(model, { criterion, ratio: 0.9, minimumWidth: 3 })).toEqual(['small 3', 'large 3']);
    expect(await widths(model, { criterion, ratio: 0.9, largestRatio: 0.5 })).toEqual(['small 2', 'large 2']);
    expect(await widths(model, { criterion, ratio: 0.5, protect: ['small'] })).toEqual(['large 2']);
    expect(await widths(model, { criterion, ratio: 0.5, ratios: { large: 0.25 } })).toEqual([
      'small 2',
      'large 3',
    ]);
    expect(await widths(model, { criterion, ratios: { large: 0.75 } })).toEqual(['small 4', 'large 1']);
  });

  it('ranks groups that are built alike among themselves', async () => {
    const model = await transformerEncoder({ vocabulary: 20, length: 6, depth: 2, width: 16, heads: 4 });
    const { plan } = await planPruning(model, { ratio: 0.5, scope: 'isomorphic' }, contextOf());
    const lost = (kind: string, prefix: string): readonly number[] =>
      plan.changes
        .filter((change) => change.kind === kind && change.group.startsWith(prefix))
        .map(({ before, after }) => before - after);
    // Half of all heads, of all hidden neurons and of the width of tokens.
    expect(lost('head', 'attention').reduce((left, right) => left + right)).toBe(4);
    expect(lost('channel', 'linear').reduce((left, right) => left + right)).toBe(64);
    expect(lost('channel', 'embedding')).toEqual([8]);
  });

  it('lets stages of residual blocks compete only where they hold as many layers', async () => {
    const { plan } = await planPruning(await resnet20(), { ratio: 0.5, scope: 'isomorphic' }, contextOf());
    const stages = plan.changes.filter(({ layers }) => layers.length > 1);
    expect(stages.map(({ before, after }) => before - after)).toEqual([8, 16, 32]);
  });

  it('rounds to multiples of channels, or to a part of them in narrow layers', async () => {
    const model = await cnn();
    expect(await widths(model, { ratio: 0.6, roundTo: 16 })).toEqual(['conv1 16', 'conv2 32', 'linear1 48']);
    expect(await widths(model, { ratio: 0.6, roundTo: 1 })).toEqual(['conv1 13', 'conv2 26', 'linear1 51']);
    expect(await widths(model, { ratio: 0.6, roundTo: 64 })).toEqual(['conv1 16', 'conv2 32', 'linear1 64']);
    expect(await widths(model, { ratio: 0.9, roundTo: 16, minimumWidth: 20 })).toEqual([
      'conv1 32',
      'conv2 32',
      'linear1 32',
    ]);
    expect(await widths(model, { ratio: 0.9, roundTo: 16, largestRatio: 0.7 })).toEqual([
      'conv1 16',
      'conv2 32',
      'linear1 48',
    ]);
    const target = { name: 'made-up', profile: { channelMultiple: 8 } } as unknown as Target;
    expect(await widths(model, { ratio: 0.6 }, { target })).toEqual(['conv1 16', 'conv2 24', 'linear1 48']);
    expect(await widths(model, { ratio: 0.6, roundTo: 1 }, { target })).toEqual([
      'conv1 13',
      'conv2 26',
      'linear1 51',
    ]);
  });

  it('leaves a part of a split in place that it would empty', async () => {
    const b = new GraphBuilder('split');
    const x = b.input('x', 'float32', [1, 3, 4, 4]);
    const y = b.op.Conv([x, normal([6, 3, 1, 1], 1)], {}, { name: 'conv' });
    const parts = b.op.Split(
      [y, Tensor.from('int64', [2], BigInt64Array.of(2n, 4n))],
      { axis: 1 },
      { outputs: 2 },
    );
    b.output('left', b.op.Conv([parts[0] as typeof x, normal([2, 2, 1, 1], 2)]));
    b.output('right', b.op.Conv([parts[1] as typeof x, normal([2, 4, 1, 1], 3)]));
    const model = await b.build();
    const step = prune({ criterion: fixed({ conv: [1, 2, 9, 9, 3, 9] }), ratio: 0.5 });
    const { model: smaller } = await optimize(model, [step]);
    const outputs = await runModel(smaller, { x: normal([1, 3, 4, 4], 4) });
    expect(outputs['left']?.shape).toEqual([1, 2, 4, 4]);
    expect(smaller.graph.value(parts[0]?.name ?? '')?.shape).toEqual([1, 1, 4, 4]);
    expect(smaller.graph.value(parts[1]?.name ?? '')?.shape).toEqual([1, 3, 4, 4]);
  });
});

describe('prune', () => {
  it('meets budgets with as little as it takes, and says what became of each group', async () => {
    const model = await resnet20({ image: [3, 16, 16] });
    const dims = { N: 1 };
    const before = modelCost(model, { dims });
    const reach = async (options: PruneOptions): Promise<readonly [number, number, number]> => {
      const { model: smaller, report } = await optimize(model, [prune({ dims, ...options })]);
      const after = modelCost(smaller, { dims });
      const { metrics } = report.steps[0] as StepReport;
      expect(metrics['parameters after']?.value).toBe(after.parameters);
      expect(metrics['weights after']?.value).toBe(after.parameterBytes);
      expect(metrics['multiplications after']?.value).toBe(after.macs);
      return [
        after.macs / before.macs,
        after.parameters / before.parameters,
        after.parameterBytes / before.parameterBytes,
      ];
    };
    const [macs] = await reach({ budget: { macs: 0.5 } });
    expect(macs).toBeLessThanOrEqual(0.5);
    expect(macs).toBeGreaterThan(0.46);
    const [, parameters] = await reach({ budget: { parameters: 100_000 }, scope: 'global' });
    expect(parameters * before.parameters).toBeLessThanOrEqual(100_000);
    expect(parameters * before.parameters).toBeGreaterThan(96_000);
    const both = await reach({ budget: { bytes: 0.7, macs: 0.4 }, scope: 'isomorphic' });
    expect(both[0]).toBeLessThanOrEqual(0.4);
    expect(both[2]).toBeLessThanOrEqual(0.7);
  });

  it('says what a model with a shared vector costs, which each layer then has for itself', async () => {
    const b = new GraphBuilder('shared');
    const zeros = b.constant('zeros', Tensor.from('float32', [8], new Float32Array(8)));
    const layer = (x: Value, seed: number): Value => b.op.Relu([b.op.Gemm([x, normal([8, 8], seed), zeros])]);
    const hidden = layer(layer(layer(b.input('x', 'float32', ['N', 8]), 1), 2), 3);
    b.output('y', b.op.Gemm([hidden, normal([8, 2], 4)]));
    const model = await b.build();
    const { model: smaller, report } = await optimize(model, [prune({ ratio: 0.5 })]);
    const { metrics } = report.steps[0] as StepReport;
    // 8 x 4 + 2 of 4 x 4 + 4 x 2 weights, and three biases of 4; before, one of 8.
    expect(metrics['parameters before']?.value).toBe(3 * 64 + 16 + 8);
    expect(metrics['parameters after']?.value).toBe(32 + 32 + 8 + 12);
    expect(metrics['weights after']?.value).toBe(4 * (32 + 32 + 8 + 12));
    expect(modelCost(smaller).parameters).toBe(32 + 32 + 8 + 12);
    const { plan } = await planPruning(model, { ratio: 0, ratios: { Gemm_0: 0.5 } }, contextOf());
    const { model: one } = await optimize(model, [prune({ ratios: { Gemm_0: 0.5 } })]);
    expect(plan.after.parameters).toBe(modelCost(one).parameters);
  });

  it('gives its best and says so where a budget cannot be met', async () => {
    const { report } = await optimize(await cnn(), [prune({ budget: { macs: 0.0001 } })]);
    expect(report.steps[0]?.skipped.map(({ code }) => code)).toContain('budget-not-met');
    expect(report.steps[0]?.changed).toBe(true);
  });

  it('reports what it cannot prune, and does nothing where nothing is asked for', async () => {
    const model = await cnn();
    const { model: same, report } = await optimize(model, [prune({ ratio: 0 })]);
    expect(same).toBe(model);
    expect(report.steps[0]?.skipped).toEqual([
      { target: 'classifier', code: 'graph-output', reason: '"logits": it is an output of the model' },
    ]);
    const { report: other } = await optimize(model, [prune({ criterion: 'batch-norm-scale' })]);
    expect(other.steps[0]?.skipped.filter(({ code }) => code === 'no-score').length).toBe(3);
  });

  it('refuses options that do not fit', async () => {
    const model = await cnn();
    for (const options of [
      { ratio: 1 },
      { ratio: 0.5, budget: { macs: 0.5 } },
      { criterion: 'size' },
      { budget: { latency: 2 } },
      { budget: {} },
      { criterionOptions: { reduction: 'median' } },
      { criterionOptions: { normalizer: 'softmax' } },
      { criterionOptions: { samples: Number.NaN } },
      { criterionOptions: { reductoin: 'sum' } },
      { criterionOptions: { reduction: 'sum' }, criterion: l1Norm() },
      { colour: 'red' },
    ])
      expect(() => prune(options as PruneOptions)).toThrow(/Options of pass "pruning\/prune"/);
    for (const options of [
      { ratios: { conv9: 0.5 } },
      { criterion: fixed({ conv1: [1], conv2: [1], linear1: [1] }) },
      { criterion: fixed({ conv1: Array<number>(32).fill(Number.NaN) }) },
    ])
      await expect(planPruning(model, options, contextOf())).rejects.toMatchObject({
        code: 'OPTIONS_INVALID',
      });
    await expect(planPruning(model, { criterion: 'taylor' }, contextOf())).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
    await expect(planPruning(model, { criterion: 'wanda' }, contextOf())).rejects.toMatchObject({
      code: 'PASS_NEEDS',
    });
    await expect(planPruning(model, { budget: { latency: 0.5 } }, contextOf())).rejects.toMatchObject({
      code: 'PASS_NEEDS',
    });
  });
});

describe('prune on a backend', () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await onnxruntimeNode();
  });
  afterAll(() => backend.dispose());

  /** A backend whose clock counts multiplications instead of time, and some more that every run takes. */
  function counting(
    of: Backend,
    fixed = 0,
  ): { readonly backend: Backend; readonly compiled: { count: number } } {
    const compiled = { count: 0 };
    const made: Backend = {
      ...of,
      name: 'counting',
      compile: async (model, options) => {
        compiled.count++;
        const executable = await of.compile(model, options);
        const { macs } = modelCost(model as Model, { dims: { N: 1 } });
        return Object.assign(Object.create(executable) as typeof executable, {
          inputNames: executable.inputNames,
          outputNames: executable.outputNames,
          run: executable.run.bind(executable),
          dispose: executable.dispose.bind(executable),
          time: (_: unknown, { runs }: { runs: number }) =>
            Promise.resolve(new Float64Array(runs).fill(macs + fixed)),
        });
      },
      supports: of.supports.bind(of),
      stats: of.stats.bind(of),
      dispose: () => Promise.resolve(),
    };
    return { backend: made, compiled };
  }

  it('finds the ratio whose measured latency is within the budget, and goes on from its journal', async () => {
    const model = await cnn({ image: [1, 12, 12] });
    const journal = memoryJournal();
    const { backend: clock, compiled } = counting(backend);
    const options: PruneOptions = { budget: { latency: 0.4 }, journal, dims: { N: 1 } };
    const first = await planPruning(model, options, contextOf({ backend: clock }));
    expect(first.met).toBe(true);
    expect(first.latencyShare).toBeLessThanOrEqual(0.4);
    expect(first.latencyShare).toBeGreaterThan(0.37);
    expect(first.plan.after.macs / first.plan.before.macs).toBeCloseTo(first.latencyShare ?? 0, 10);
    const measured = compiled.count;
    expect(measured).toBeGreaterThan(2);
    const again = await planPruning(model, options, contextOf({ backend: clock }));
    expect(compiled.count).toBe(measured);
    expect(again.ratio).toBe(first.ratio);
    const hopeless = await planPruning(
      model,
      { ...options, budget: { latency: 0.001 } },
      contextOf({ backend: clock }),
    );
    expect(hopeless.met).toBe(false);
  });

  it('closes in on a latency that falls less than the multiplications do, in as many trials as it may', async () => {
    const model = await cnn({ image: [1, 12, 12] });
    const { macs } = modelCost(model, { dims: { N: 1 } });
    // A third of the time passes whatever is left: 0.7 of it is 0.55 of the multiplications.
    const context = contextOf({ backend: counting(backend, macs / 2).backend });
    const options: PruneOptions = { budget: { latency: 0.7 }, dims: { N: 1 } };
    const found = await planPruning(model, options, context);
    expect(found.met).toBe(true);
    const share = found.plan.after.macs / macs;
    expect(found.latencyShare).toBeCloseTo((share + 0.5) / 1.5, 10);
    expect(share).toBeLessThanOrEqual(0.55);
    expect(share).toBeGreaterThan(0.5);
    // Of all that were measured and are fast enough, the one that lost least.
    const met = found.trials.filter((trial) => trial.share <= 0.7).map(({ ratio }) => ratio);
    expect(found.ratio).toBe(Math.min(...met));
    expect(found.trials.length).toBeLessThanOrEqual(8);
    const few = await planPruning(model, { ...options, latency: { trials: 2 } }, context);
    expect(few.trials).toEqual(found.trials.slice(0, 2));
  });

  it('prunes by gradients on real inputs', async () => {
    const model = await cnn({ image: [1, 12, 12] });
    const label = Tensor.from(
      'int64',
      [8],
      BigInt64Array.from({ length: 8 }, (_, index) => BigInt(index % 10)),
    );
    const data = arrayDataset({ inputs: { x: normal([8, 1, 12, 12], 1) }, targets: { label } });
    const criterion = taylorScore({ loss: crossEntropy({ logits: 'logits' }) });
    const { model: smaller, report } = await optimize(model, [prune({ criterion })], { backend, data });
    expect(report.steps[0]?.check?.samples).toBeGreaterThan(0);
    expect(modelCost(smaller).parameters).toBeLessThan(0.4 * modelCost(model).parameters);
  });

  it('tells which layers can lose much, and remembers it', async () => {
    const model = await cnn({ image: [1, 12, 12] });
    const data = arrayDataset({ inputs: { x: normal([8, 1, 12, 12], 1) } });
    const journal = memoryJournal();
    const context = contextOf({ backend, data });
    const found = await pruningSensitivity(model, { ratios: [0.25, 0.75], journal }, context);
    expect(found.map(({ group, ratio, removed }) => `${group} ${ratio} ${removed}`)).toEqual([
      'conv1 0.25 8',
      'conv1 0.75 24',
      'conv2 0.25 16',
      'conv2 0.75 48',
      'linear1 0.25 32',
      'linear1 0.75 96',
    ]);
    for (let index = 0; index < found.length; index += 2)
      expect(found[index]?.score).toBeGreaterThan(found[index + 1]?.score ?? 0);
    const again = await pruningSensitivity(
      model,
      { ratios: [0.25, 0.75], journal },
      contextOf({ backend, data }),
    );
    expect(again).toEqual(found);
    let calls = 0;
    const evaluate = (): Promise<number> => Promise.resolve(calls++);
    await pruningSensitivity(model, { ratios: [0.5], evaluate }, contextOf());
    expect(calls).toBe(3);
  });

  it('cuts one part of a layer and leaves the others, which hang together with something else', async () => {
    // The first 4 of 10 columns of "wide" are added to those of "narrow"; the other 6 are a group by themselves.
    const b = new GraphBuilder('parts');
    const x = b.input('x', 'float32', ['N', 4]);
    const narrow = b.op.MatMul([x, normal([4, 4], 1)], {}, { name: 'narrow' });
    const wide = b.op.MatMul([x, normal([4, 10], 2)], {}, { name: 'wide' });
    const sizes = Tensor.from('int64', [2], BigInt64Array.of(4n, 6n));
    const [first, rest] = b.op.Split([wide, sizes], { axis: 1 }, { outputs: 2 }) as [Value, Value];
    const read = (part: Value, width: number): Value => b.op.MatMul([part, normal([width, 2], width)]);
    b.output('y', b.op.Add([read(b.op.Add([narrow, first]), 4), read(rest, 6)]));
    const model = await b.build();
    const dims = { dims: { N: 1 } };
    const cost = modelCost(model, dims).macs;
    const evaluate = (smaller: Model): Promise<number> =>
      Promise.resolve(cost - modelCost(smaller, dims).macs);
    const found = await pruningSensitivity(model, { ratios: [0.5], evaluate }, contextOf());
    expect(found.map(({ group, removed, units, score }) => [group, removed, units, score])).toEqual([
      ['narrow', 2, 4, 2 * (4 + 4 + 2)],
      ['wide', 3, 6, 3 * (4 + 2)],
    ]);
  });

  it('refuses shares, samples and criteria that there cannot be', async () => {
    const model = await cnn();
    const evaluate = (): Promise<number> => Promise.resolve(0);
    for (const options of [
      { ratios: [Number.NaN] },
      { ratios: [0.5, 1] },
      { ratios: [-0.5] },
      { samples: 0 },
      { criterion: 'size' },
    ])
      await expect(
        pruningSensitivity(model, { evaluate, ...(options as object) }, contextOf()),
      ).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
  });
});

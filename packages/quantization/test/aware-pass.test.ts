import {
  type ArtifactStore,
  arrayDataset,
  attribute,
  createRng,
  type Dataset,
  GraphBuilder,
  type Model,
  optimize,
  Tensor,
  tensorType,
} from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { writeOnnx } from '@lithe/onnx';
import {
  type AwareTrainingOptions,
  plugin,
  quantizationAware,
  quantizationAwareTraining,
} from '@lithe/quantization';
import { adamW, crossEntropy, fit, mlp, sampleTable } from '@lithe/training';
import { beforeAll, describe, expect, it } from 'vitest';
import { normal } from './support.ts';

const backend = referenceBackend();

/** Points in a plane, and which of three arms of a spiral they are on. */
function spiral(count: number, seed: number): { readonly x: Tensor; readonly label: Tensor } {
  const rng = createRng(seed);
  const points = new Float32Array(2 * count);
  const labels = new BigInt64Array(count);
  for (let at = 0; at < count; at++) {
    const arm = at % 3;
    const distance = 0.2 + 0.8 * rng.next();
    const angle = (2 * Math.PI * arm) / 3 + 7 * distance + 0.15 * rng.normal();
    points[2 * at] = distance * Math.cos(angle);
    points[2 * at + 1] = distance * Math.sin(angle);
    labels[at] = BigInt(arm);
  }
  return { x: Tensor.from('float32', [count, 2], points), label: Tensor.from('int64', [count], labels) };
}

const seen = spiral(192, 1);
const held = spiral(300, 2);
const samples: Dataset = arrayDataset({ inputs: { x: seen.x }, targets: { label: seen.label } });

async function accuracy(model: Model): Promise<number> {
  const logits = (await evaluateModel(model, { x: held.x }))['logits'] as Tensor;
  const scores = logits.toFloat64Array();
  let right = 0;
  held.label.toFloat64Array().forEach((label, at) => {
    const own = [...scores.slice(3 * at, 3 * at + 3)];
    if (own.indexOf(Math.max(...own)) === label) right++;
  });
  return right / 300;
}

let float: Model;
beforeAll(async () => {
  const start = await mlp({ inputs: 2, hidden: [16, 16, 16], classes: 3, seed: 4 });
  const table = sampleTable({ inputs: { x: seen.x }, targets: { label: seen.label } });
  const trained = await fit(start, table, {
    backend,
    loss: crossEntropy({ logits: 'logits' }),
    optimizer: adamW(),
    learningRate: 0.02,
    epochs: 80,
    batchSize: 32,
  });
  float = trained.model;
});

const options: AwareTrainingOptions = {
  epochs: 20,
  batchSize: 32,
  learningRate: 0.005,
  weightBits: 4,
  activationBits: 4,
  eightBits: 'none',
  weightScales: 'per-tensor',
  minimumElements: 1,
};

async function run(
  change: Partial<AwareTrainingOptions>,
  more: Partial<Parameters<typeof optimize>[2]> = {},
): Promise<Awaited<ReturnType<typeof optimize>>> {
  return await optimize(float, [quantizationAwareTraining({ ...options, ...change })], {
    backend,
    trainingData: samples,
    check: 'off',
    seed: 3,
    ...more,
  });
}

function store(): { readonly of: (name: string) => ArtifactStore; readonly kept: Map<string, Uint8Array> } {
  const kept = new Map<string, Uint8Array>();
  return {
    kept,
    of: (name) => ({
      read: () => Promise.resolve(kept.get(name)),
      write: (bytes) => {
        kept.set(name, bytes);
        return Promise.resolve();
      },
    }),
  };
}

describe('quantization/aware-training', () => {
  it('wins back what four bits lose, with ranges of either kind and with a teacher', async () => {
    const full = await accuracy(float);
    expect(full).toBeGreaterThan(0.9);
    const settings = {
      weightBits: 4,
      activationBits: 4,
      eightBits: 'none',
      weightScales: 'per-tensor',
      minimumElements: 1,
    } as const;
    const aware = await quantizationAware(float, { ...settings, backend, data: samples });
    const before = await accuracy(await aware.finish(aware.model));
    expect(before).toBeLessThan(full - 0.05);
    for (const change of [
      { ranges: 'ema' },
      { ranges: 'lsq' },
      { ranges: 'lsq', teacher: 'original' },
    ] as const) {
      const { model, report } = await run(change);
      expect(await accuracy(model)).toBeGreaterThan((before + full) / 2);
      const [step] = report.steps;
      expect(step?.tables?.['epochs']?.rows.length).toBe(20);
      expect(step?.metrics['quantizedLayers']?.value).toBe(4);
      expect([...model.graph.initializers].filter(({ dtype }) => dtype === 'int4').length).toBeGreaterThan(2);
    }
  });

  it('counts shares of the run: at 1 activations are only quantized in what ships', async () => {
    const lossAt = async (quantizeActivationsAt: number): Promise<number> => {
      const { report } = await run({ epochs: 1, quantizeActivationsAt });
      return report.steps[0]?.metrics['loss']?.value ?? Number.NaN;
    };
    const [never, almost, ever] = [await lossAt(1), await lossAt(0.999), await lossAt(0)];
    expect(never).toBe(almost);
    expect(Math.abs(never - ever)).toBeGreaterThan(1e-3);
    const { model: late } = await run({ epochs: 1, quantizeActivationsAt: 1 });
    expect([...late.graph.nodes()].some((node) => node.is('QuantizeLinear'))).toBe(true);
  });

  it('keeps the first and the last layer at 8 bits, or those that are named, or none', async () => {
    const bitsOf = async (eightBits: AwareTrainingOptions['eightBits']): Promise<readonly unknown[]> => {
      const { model } = await run({ epochs: 1, activationBits: 'none', eightBits });
      return ['linear1', 'linear2', 'linear3', 'classifier'].map(
        (name) => model.graph.value(`${name}.weight_quantized`)?.dtype,
      );
    };
    expect(await bitsOf('ends')).toEqual(['int8', 'int4', 'int4', 'int8']);
    expect(await bitsOf(['linear2'])).toEqual(['int4', 'int8', 'int4', 'int4']);
    expect(await bitsOf('none')).toEqual(['int4', 'int4', 'int4', 'int4']);
  });

  it('adds soft targets as the paper has them: w T^2 KL(teacher || student) + (1 - w) of the labels', async () => {
    const other = await mlp({ inputs: 2, hidden: [8], classes: 3, seed: 9 });
    const [temperature, weight] = [3, 0.7];
    const { report } = await run(
      {
        epochs: 1,
        batchSize: 192,
        learningRate: 1e-9,
        minimumElements: 1e6,
        teacher: { model: 'other', temperature, weight },
      },
      { models: { other } },
    );
    const scoresOf = async (model: Model): Promise<readonly number[][]> => {
      const values = ((await evaluateModel(model, { x: seen.x }))['logits'] as Tensor).toFloat64Array();
      return Array.from({ length: 192 }, (_, at) => [...values.subarray(3 * at, 3 * at + 3)]);
    };
    const softmax = (row: readonly number[], divisor: number): readonly number[] => {
      const exp = row.map((value) => Math.exp(value / divisor));
      return exp.map((value) => value / exp.reduce((sum, item) => sum + item, 0));
    };
    const [ours, theirs] = [await scoresOf(float), await scoresOf(other)];
    const labels = seen.label.toFloat64Array();
    let wanted = 0;
    for (const [at, row] of ours.entries()) {
      const [p, q] = [softmax(theirs[at] ?? [], temperature), softmax(row, temperature)];
      const divergence = p.reduce((sum, value, c) => sum + value * Math.log(value / (q[c] ?? 0)), 0);
      const task = -Math.log(softmax(row, 1)[labels[at] as number] ?? 0);
      wanted += (weight * temperature ** 2 * divergence + (1 - weight) * task) / 192;
    }
    expect(report.steps[0]?.metrics['loss']?.value).toBeCloseTo(wanted, 4);
  });

  it('freezes batch normalization after a share of the run', async () => {
    const b = new GraphBuilder('normed');
    const hidden = b.op.MatMul([b.input('x', 'float32', ['N', 2]), b.constant('w', normal([2, 3], 61))]);
    const vector = (values: readonly number[]): Tensor =>
      Tensor.from('float32', [3], Float32Array.from(values));
    const [scale, shift] = [b.constant('scale', vector([1, 2, 1])), b.constant('shift', vector([0, 1, 0]))];
    const statistics = [b.constant('mean', vector([1, 0, -1])), b.constant('variance', vector([2, 1, 3]))];
    b.output('logits', b.op.BatchNormalization([hidden, scale, shift, ...statistics] as never));
    const net = await b.build();
    const lossAt = async (freezeBatchNormAt: number): Promise<number> => {
      const pass = quantizationAwareTraining({
        epochs: 1,
        batchSize: 192,
        learningRate: 1e-9,
        freezeBatchNormAt,
        activationBits: 'none',
        minimumElements: 1e6,
      });
      const { report } = await optimize(net, [pass], { backend, trainingData: samples, check: 'off' });
      return report.steps[0]?.metrics['loss']?.value ?? Number.NaN;
    };
    const scores = ((await evaluateModel(net, { x: seen.x }))['logits'] as Tensor).toFloat64Array();
    let wanted = 0;
    seen.label.toFloat64Array().forEach((label, at) => {
      const exp = [...scores.subarray(3 * at, 3 * at + 3)].map(Math.exp);
      wanted -= Math.log((exp[label] ?? 0) / exp.reduce((sum, value) => sum + value, 0)) / 192;
    });
    expect(await lossAt(0)).toBeCloseTo(wanted, 5);
    expect(Math.abs((await lossAt(1)) - wanted)).toBeGreaterThan(1e-2);
  });

  it('takes a teacher whose only input has another name, and scores in float16', async () => {
    const other = float.clone();
    other.graph.rename(other.graph.inputs[0] as never, 'points');
    const teacher = { model: 'other', temperature: 3, weight: 1 };
    const [same, named] = [
      await run({ epochs: 1, teacher: { ...teacher, model: 'original' } }),
      await run({ epochs: 1, teacher }, { models: { other } }),
    ];
    const lossOf = ({ report }: typeof same): number => report.steps[0]?.metrics['loss']?.value ?? Number.NaN;
    expect(lossOf(named)).toBe(lossOf(same));
    const { graph } = other;
    const [scores] = graph.outputs;
    const cast = graph.addNode(
      { opType: 'Cast', inputs: [scores as never], attributes: new Map([['to', attribute.int(10)]]) },
      [{ name: 'half', type: tensorType('float16', ['N', 3]) }],
    );
    graph.setOutputs([cast.output()]);
    const half = await run({ epochs: 1, teacher }, { models: { other } });
    expect(lossOf(half)).toBeCloseTo(lossOf(same), 2);
  });

  it('gives what ships the names that static quantization gives', async () => {
    for (const ranges of ['ema', 'lsq'] as const) {
      const { model } = await run({ epochs: 1, ranges });
      const names = new Set([...model.graph.initializers].map(({ name }) => name));
      for (const end of [
        'quantized',
        'scale',
        'zero_point',
        'bias_quantized',
        'bias_scale',
        'bias_zero_point',
      ])
        expect(names).toContain(`linear1.weight_${end}`);
      expect(names).toContain('x_scales');
      expect([...names].filter((name) => name.startsWith('aware/'))).toEqual([]);
    }
  });

  it('reports names that no node has', async () => {
    const { report } = await run({ epochs: 1, eightBits: ['linear1', 'lost'], exclude: ['gone'] });
    expect(
      report.steps[0]?.skipped.filter(({ code }) => code === 'not-found').map(({ target }) => target),
    ).toEqual(['gone', 'lost']);
  });

  it('learns from a teacher without labels', async () => {
    const unlabelled = arrayDataset({ inputs: { x: seen.x } });
    const { model } = await run(
      { teacher: { model: 'original', temperature: 2 } },
      { trainingData: unlabelled },
    );
    expect(await accuracy(model)).toBeGreaterThan(0.85);
    await expect(run({}, { trainingData: unlabelled })).rejects.toThrow(/no targets/);
  });

  it('goes on from its checkpoint to the same bytes', async () => {
    const whole = await writeOnnx((await run({ epochs: 3 })).model);
    const { of, kept } = store();
    const stop = new AbortController();
    const onProgress = ({
      label,
      done,
    }: {
      readonly label?: string | undefined;
      readonly done: number;
    }): void => {
      if (label?.startsWith('epoch') === true && done === 8) stop.abort();
    };
    await expect(run({ epochs: 3 }, { store: of, signal: stop.signal, onProgress })).rejects.toThrow();
    expect([...kept.keys()]).toEqual(['checkpoint']);
    expect(await writeOnnx((await run({ epochs: 3 }, { store: of })).model)).toEqual(whole);
    expect(await writeOnnx((await run({ epochs: 3 })).model)).toEqual(whole);
  });

  it('trains the weights that are asked for', async () => {
    const { model } = await run({
      epochs: 1,
      activationBits: 'none',
      weightBits: 8,
      trainable: ['classifier.*'],
    });
    const { model: other } = await run({ epochs: 1, activationBits: 'none', weightBits: 8 });
    const bias = async (one: Model): Promise<readonly number[]> => {
      const value = [...one.graph.nodes()].find((node) => node.is('Gemm'))?.input(2);
      const tensor = (await value?.initializer?.load()) as Tensor;
      return [...tensor.toFloat64Array()];
    };
    expect(await bias(model)).toEqual(await bias(float));
    expect(await bias(other)).not.toEqual(await bias(float));
  });

  it('refuses options that make no sense, and contexts that lack what it needs', async () => {
    const invalid = expect.objectContaining({ code: 'OPTIONS_INVALID' });
    const wrong: readonly object[] = [
      {},
      { ...options, weightBits: 3 },
      { ...options, activationBits: 16 },
      { ...options, ranges: 'max' },
      { ...options, rangeDecay: 1 },
      { ...options, freezeBatchNormAt: 1.5 },
      { ...options, teacher: { model: '' } },
      { ...options, teacher: { model: 'original', temperature: 0 } },
      { ...options, initialize: true },
      { ...options, patience: 2 },
      { ...options, unknown: 1 },
    ];
    for (const item of wrong) expect(() => quantizationAwareTraining.from(item)).toThrow(invalid);
    await expect(run({ teacher: 'nobody' })).rejects.toThrow(/nobody/);
    await expect(optimize(float, [quantizationAwareTraining(options)], { backend })).rejects.toThrow(
      expect.objectContaining({ code: 'PASS_NEEDS' }),
    );
    await expect(quantizationAware(float, { weightBits: 5 as never })).rejects.toThrow(invalid);
    await expect(quantizationAware(float, { freezeRangesAt: -1, backend, data: samples })).rejects.toThrow(
      invalid,
    );
    await expect(quantizationAware(float, { freezeRangesAt: Number.NaN })).rejects.toThrow(invalid);
    await expect(quantizationAware(float)).rejects.toThrow(expect.objectContaining({ code: 'PASS_NEEDS' }));
    const b = new GraphBuilder('other');
    b.output(
      'logits',
      b.op.Gemm([b.input('x', 'float32', ['N', 2]), Tensor.from('float32', [2, 5], new Float32Array(10))]),
    );
    const models = { other: await b.build() };
    await expect(run({ teacher: 'other' }, { models })).rejects.toThrow(/gives 3 scores/);
  });

  it('leaves a model alone in which there is nothing to quantize, but for training it', async () => {
    const { report } = await run({ epochs: 1, minimumElements: 1e6 });
    expect(report.steps[0]?.metrics['quantizedLayers']?.value).toBe(0);
    expect(report.steps[0]?.skipped.map(({ code }) => code)).toContain('small');
  });

  it('reports a weight that is no number', async () => {
    const broken = float.clone();
    const weight = [...broken.graph.nodes()].find((node) => node.is('Gemm'))?.input(1);
    if (weight)
      broken.graph.setInitializer(
        weight,
        Tensor.from('float32', [...(weight.shape as number[])], new Float32Array(32).fill(Number.NaN)),
      );
    await expect(
      optimize(broken, [quantizationAwareTraining(options)], {
        backend,
        trainingData: samples,
        check: 'off',
      }),
    ).rejects.toThrow(/The loss of training step 1 is NaN/);
  });
});

describe('plugin', () => {
  it('lists every pass of the package', () => {
    expect(plugin.name).toBe('@lithe/quantization');
    const names = plugin.passes.map(({ spec }) => spec.name);
    expect(names).toContain('quantization/aware-training');
    expect(names).toContain('quantization/static-int8');
    expect(names.length).toBe(15);
    expect(names.every((name) => name.startsWith('quantization/'))).toBe(true);
  });
});

import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { arrayDataset, type Backend, compareOutputs, type Feeds, type Model, Tensor } from '@lithe/core';
import { foldableWeights, mixedPrecision, type PrecisionFormat, sensitivity } from '@lithe/quantization';
import { accuracyOn, fashionMnist, loadTrainedModel } from '@lithe-internal/models';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { net } from './net.ts';
import { apply, contextOf, normal } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode({ threads: 1 });
});
afterAll(async () => {
  await backend.dispose();
});

const widths = [24, 64, 32, 48, 10];

/** Four linear layers; in the second a few weights are ten times as large, which costs it most in 4 bits. */
function classifier(): { readonly model: Model; readonly names: readonly string[] } {
  const n = net();
  let x = n.input('x', ['N', widths[0] as number]);
  for (let layer = 0; layer + 1 < widths.length; layer++) {
    const shape = [widths[layer] as number, widths[layer + 1] as number];
    const weight = normal(shape, 60 + layer, 0.25);
    const data = weight.data.slice();
    if (layer === 1) for (let index = 0; index < data.length; index += 40) data[index]! *= 10;
    x = n.add('MatMul', [x, n.constant(Tensor.from('float32', shape, data))]);
    if (layer + 2 < widths.length) x = n.add('Relu', [x]);
  }
  const model = n.model(x);
  const names = [...model.graph.nodes()].filter((node) => node.is('MatMul')).map((node) => node.name);
  return { model, names };
}

const inputs = { x: normal([64, 24], 3) };
const data = arrayDataset({ inputs });

async function outputsOf(model: Model): Promise<Feeds> {
  await using executable = await backend.compile(model);
  return executable.run(inputs);
}

/** Mean divergence of softmax(actual) from softmax(expected), by the definition. */
function divergence(expected: Feeds, actual: Feeds): number {
  const [p, q] = [expected, actual].map((feeds) => {
    const tensor = Object.values(feeds)[0] as Tensor<'float32'>;
    return Array.from({ length: 64 }, (_, row) => {
      const powers = Array.from(tensor.data.subarray(row * 10, row * 10 + 10), (value) => Math.exp(value));
      const sum = powers.reduce((left, right) => left + right, 0);
      return powers.map((power) => power / sum);
    });
  }) as [number[][], number[][]];
  let sum = 0;
  p.forEach((row, index) => {
    row.forEach((value, place) => {
      sum += value * Math.log(value / (q[index]?.[place] as number));
    });
  });
  return sum / 64;
}

const bits = { 'foldable-int8': 8, 'foldable-int4': 4 } as const;

/** A model with its layers in given formats (0 float, 1 int8, 2 int4), made without the code under test. */
async function assigned(model: Model, names: readonly string[], codes: readonly number[]): Promise<Model> {
  let current = model;
  for (const code of [1, 2]) {
    const exclude = names.filter((_, index) => codes[index] !== code);
    if (exclude.length === names.length) continue;
    ({ model: current } = await apply(current, foldableWeights({ bits: code === 1 ? 8 : 4, exclude })));
  }
  return current;
}

function weightBytes(model: Model): number {
  let bytes = 0;
  for (const value of model.graph.initializers) bytes += value.initializer?.byteLength ?? 0;
  return bytes;
}

describe('sensitivity', () => {
  it('is what each layer does alone, measured', async () => {
    const { model, names } = classifier();
    const report = await sensitivity(model, data, { backend });
    expect(report).toMatchObject({ measure: 'kl-divergence', samples: 64, cost: weightBytes(model) });
    expect(report.layers.map(({ layer, format }) => `${layer} ${format}`)).toEqual(
      names.flatMap((name) => [`${name} foldable-int8`, `${name} foldable-int4`]),
    );
    const expected = await outputsOf(model);
    for (const { layer, format, drift, sqnrDb, saved, top1Agreement } of report.layers) {
      const exclude = names.filter((name) => name !== layer);
      const { model: small } = await apply(
        model,
        foldableWeights({ bits: bits[format as keyof typeof bits], exclude }),
      );
      const actual = await outputsOf(small);
      expect(drift).toBeCloseTo(divergence(expected, actual), 5);
      expect(sqnrDb).toBeCloseTo(compareOutputs(expected, actual).sqnrDb, 6);
      expect(top1Agreement).toBe(compareOutputs(expected, actual).top1Agreement);
      expect(saved).toBe(weightBytes(model) - weightBytes(small));
    }
    const worst = report.layers.reduce((left, right) => (right.drift > left.drift ? right : left));
    expect(worst).toMatchObject({ layer: names[1], format: 'foldable-int4' });
  });

  it('takes groups, a cost and a format of the caller', async () => {
    const { model, names } = classifier();
    const mine: PrecisionFormat = { name: 'mine', steps: (exclude) => [foldableWeights({ exclude })] };
    const seen: string[] = [];
    const report = await sensitivity(model, data, {
      backend,
      formats: [mine],
      group: (node) => (node.name === names[0] ? 'start' : 'rest'),
      cost: (candidate) => [...candidate.graph.nodes()].length,
      context: { ...contextOf(), progress: ({ task, done, total }) => seen.push(`${task} ${done}/${total}`) },
    });
    expect(report.layers.map(({ layer, nodes }) => [layer, nodes])).toEqual([
      ['start', [names[0]]],
      ['rest', names.slice(1)],
    ]);
    // Two more nodes, Cast and Mul, for each weight.
    expect(report.layers.map(({ saved }) => saved)).toEqual([-2, -6]);
    expect(seen).toEqual(['sensitivity 1/2', 'sensitivity 2/2']);
  });

  it('measures noise over signal where outputs are no classes', async () => {
    const n = net();
    const x = n.input('x', ['N', 4, 24]);
    const model = n.model(n.add('MatMul', [x, n.weight([24, 40])]));
    const features = arrayDataset({ inputs: { x: normal([8, 4, 24], 5) } });
    const report = await sensitivity(model, features, { backend });
    expect(report.measure).toBe('noise-to-signal');
    for (const { drift, sqnrDb } of report.layers) expect(-10 * Math.log10(drift)).toBeCloseTo(sqnrDb, 6);
  });

  it('gives the same where inputs and outputs do not fit into memory', async () => {
    const { model } = classifier();
    const whole = await sensitivity(model, data, { backend, batchSize: 16 });
    const tight = await sensitivity(model, data, { backend, batchSize: 16, memoryBytes: 6000 });
    expect(tight).toEqual(whole);
  });

  it('stops when it is told to, and refuses an empty dataset', async () => {
    const { model } = classifier();
    const abort = new AbortController();
    const context = {
      ...contextOf(),
      signal: abort.signal,
      progress: () => abort.abort(new Error('enough')),
    };
    await expect(sensitivity(model, data, { backend, context })).rejects.toThrow('enough');
    const empty = arrayDataset({ inputs: { x: normal([0, 24], 3) } });
    await expect(sensitivity(model, empty, { backend })).rejects.toMatchObject({ code: 'DATA_INVALID' });
    expect(backend.stats().executables).toBe(0);
  });
});

describe('mixed precision', () => {
  it('finds what trying all assignments finds', async () => {
    const { model, names } = classifier();
    const expected = await outputsOf(model);
    const all: { bytes: number; drift: number }[] = [];
    for (let code = 0; code < 3 ** names.length; code++) {
      const codes = names.map((_, index) => Math.floor(code / 3 ** index) % 3);
      const candidate = await assigned(model, names, codes);
      all.push({ bytes: weightBytes(candidate), drift: divergence(expected, await outputsOf(candidate)) });
    }
    const context = contextOf({ backend, data });
    for (const drift of [1e-4, 1e-3, 5e-3, 2e-2, 0.1, 10]) {
      const { model: small, report } = await apply(model, mixedPrecision({ budget: { drift } }), context);
      const measured = divergence(expected, await outputsOf(small));
      expect(measured).toBeLessThanOrEqual(drift);
      expect(report.metrics['drift']?.value).toBeCloseTo(measured, 5);
      expect(report.metrics['costAfter']?.value).toBe(weightBytes(small));
      const best = Math.min(...all.filter((item) => item.drift <= drift).map(({ bytes }) => bytes));
      expect(weightBytes(small)).toBe(best);
    }
  });

  it('keeps an accuracy that the caller measures, and shows the way there', async () => {
    const { model, names } = classifier();
    const expected = await outputsOf(model);
    const evaluate = async (candidate: Model): Promise<number> =>
      compareOutputs(expected, await outputsOf(candidate)).top1Agreement as number;
    const { model: small, report } = await apply(
      model,
      mixedPrecision({ budget: { accuracy: { evaluate, drop: 0.03 } } }),
      contextOf({ backend, data }),
    );
    expect(await evaluate(small)).toBeGreaterThanOrEqual(0.97);
    expect(weightBytes(small)).toBeLessThan(weightBytes(model) / 3.5);
    expect(report.tables?.['sensitivity']?.rows).toHaveLength(2 * names.length);
    const pareto = report.tables?.['pareto'];
    expect(pareto?.columns.map(({ name }) => name)).toEqual([
      'cost',
      'drift',
      'SQNR',
      'accuracy',
      'layers in foldable-int8',
      'layers in foldable-int4',
    ]);
    const rows = pareto?.rows as readonly (readonly number[])[];
    rows.slice(1).forEach((row, index) => {
      expect(row[0]).toBeGreaterThan(rows[index]?.[0] as number);
      expect(row[1]).toBeLessThan(rows[index]?.[1] as number);
    });
    expect(rows.at(-1)?.slice(0, 2)).toEqual([weightBytes(model), 0]);
  });

  it('leaves all float, and says why, where nothing fits', async () => {
    const { model, names } = classifier();
    const { report } = await apply(
      model,
      mixedPrecision({ budget: { drift: 0 } }),
      contextOf({ backend, data }),
    );
    expect(report.changed).toBe(false);
    expect(report.skipped.map(({ target, code }) => [target, code])).toEqual(
      names.map((name) => [name, 'sensitive']),
    );
  });

  it('stores a trained network in less than int8 takes, within its budget', { timeout: 60_000 }, async () => {
    const model = await loadTrainedModel('fashion-mobilenet-v2');
    const images = await fashionMnist('train', 64);
    const context = contextOf({ backend, data: arrayDataset({ inputs: { x: images.x } }) });
    const options = { budget: { drift: 0.01 }, minimumElements: 1024, trials: 10 };
    const { model: mixed, report } = await apply(model, mixedPrecision(options), context);
    const { model: int8 } = await apply(model, foldableWeights({ minimumElements: 1024 }), context);
    expect(report.metrics['drift']?.value).toBeLessThanOrEqual(0.01);
    expect(report.metrics['costAfter']?.value).toBe(weightBytes(mixed));
    expect(weightBytes(mixed)).toBeLessThan(0.85 * weightBytes(int8));
    const held = await fashionMnist('test', 1000);
    const [before, after] = [await accuracyOn(model, backend, held), await accuracyOn(mixed, backend, held)];
    expect(after).toBeGreaterThan(before - 0.01);
  });

  it('computes layers in integers where that is the format', async () => {
    const { model } = classifier();
    const { model: small, report } = await apply(
      model,
      mixedPrecision({ formats: ['static-int8', 'matmul-int4'], budget: { drift: 0.05 } }),
      contextOf({ backend, data }),
    );
    expect(report.applied.length).toBeGreaterThan(1);
    expect(divergence(await outputsOf(model), await outputsOf(small))).toBeLessThanOrEqual(0.05);
  });
});

import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { attribute, type Backend, type Feeds, type Model, Tensor } from '@lithe/core';
import { simulateSaturation, staticInt8 } from '@lithe/quantization';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { net } from './net.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

/** Bright images: the level of most elements is high, so that pairs of products are large. */
function bright(seed: number): Feeds {
  const data = normal([1, 4, 8, 8], seed, 0.1).data.map((value) => 1 + value);
  return { x: Tensor.from('float32', [1, 4, 8, 8], data) };
}
const images = [1, 2, 3].map(bright);

/** Types of the weights of convolutions, and their largest levels in order. */
async function levelsIn(quantized: Model): Promise<readonly (readonly [string, number])[]> {
  const found: [string, number][] = [];
  for (const value of quantized.graph.initializers) {
    if (value.shape?.length !== 4) continue;
    const levels = (await value.initializer?.load())?.toFloat64Array() ?? new Float64Array();
    found.push([value.dtype ?? '', Math.max(...levels.map(Math.abs))]);
  }
  return found.sort(([, left], [, right]) => left - right);
}

/** A convolution whose weights are all near their largest, a rectifier, and one whose weights are small but for one. */
function model(): Model {
  const n = net();
  const window = { kernel_shape: attribute.ints([3, 3]), pads: attribute.ints([1, 1, 1, 1]) };
  const even = normal([8, 4, 3, 3], 5, 0.02).data.map((value) => 0.2 + value);
  const x = n.input('x', [1, 4, 8, 8]);
  const first = n.add('Relu', [
    n.add('Conv', [x, n.constant(Tensor.from('float32', [8, 4, 3, 3], even))], window),
  ]);
  // One weight of each channel sets its scale; its neighbour in the sum is 0, and the others are small.
  const uneven = normal([6, 8, 3, 3], 6, 0.1).data.map((value, index) =>
    index % 72 === 0 ? 1 : index % 72 === 9 ? 0 : value,
  );
  return n.model(n.add('Conv', [first, n.constant(Tensor.from('float32', [6, 8, 3, 3], uneven))], window));
}

const everything = { conversionCost: 0, minimumElements: 1 };

it('names the layers that saturate, and what that does to the answer', async () => {
  const context = contextOf({ backend, data: fixedData(images) });
  const { model: quantized } = await apply(model(), staticInt8(everything), context);
  const report = await simulateSaturation(quantized, fixedData(images));
  const [first, second] = report.layers;
  expect(report.layers.map(({ node }) => node)).toEqual(['Conv_0', 'Conv_1']);
  expect(first?.saturatedShare).toBeGreaterThan(0.5);
  expect(first?.sqnrDb).toBeLessThan(20);
  expect(second?.affectedShare).toBeLessThan(first?.affectedShare ?? 0);
  expect(report.outputSqnrDb).toBeLessThan(20);
  expect(report.samples).toBe(3);
});

it('gives 7 bits to the layers that need them, and to no other', async () => {
  const context = contextOf({ backend, data: fixedData(images) });
  const { model: safe, report } = await apply(
    model(),
    staticInt8({ ...everything, reducedRange: 'auto' }),
    context,
  );
  expect(report.metrics['saturatingLayers']?.value).toBe(1);
  expect(await levelsIn(safe)).toEqual([
    ['int8', 64],
    ['int8', 127],
  ]);
  const simulated = await simulateSaturation(safe, fixedData(images));
  expect(simulated.layers[0]?.sqnrDb).toBe(Number.POSITIVE_INFINITY);
  const feeds = bright(9);
  expect(sqnr(await runModel(model(), feeds), await runModel(safe, feeds))).toBeGreaterThan(25);
});

it('finds nothing where weights have 7 bits', async () => {
  const context = contextOf({ backend, data: fixedData(images) });
  const { model: safe } = await apply(model(), staticInt8({ ...everything, reducedRange: true }), context);
  const report = await simulateSaturation(safe, fixedData(images));
  expect(report.layers.every(({ saturatedShare }) => saturatedShare === 0)).toBe(true);
  expect([report.outputSqnrDb, report.agreement]).toEqual([Number.POSITIVE_INFINITY, 1]);
});

it.each([
  // onnxruntime makes signed activations of pairs unsigned, and leaves those of integer operators as they are.
  ['qdq', 1, 64],
  ['qoperator', 0, 127],
] as const)('knows what becomes of signed activations: %s', async (format, layers, level) => {
  const context = contextOf({ backend, data: fixedData(images) });
  const options = { ...everything, activations: 'int8', reducedRange: 'auto', format } as const;
  const { model: safe, report } = await apply(model(), staticInt8(options), context);
  expect(report.metrics['saturatingLayers']?.value).toBe(layers);
  expect(await levelsIn(safe)).toEqual([
    ['int8', level],
    ['int8', 127],
  ]);
  const feeds = bright(9);
  expect(sqnr(await runModel(model(), feeds), await runModel(safe, feeds))).toBeGreaterThan(25);
  // What the file says is what is simulated.
  const again = await simulateSaturation(safe, fixedData(images));
  expect(again.layers.every(({ sqnrDb }) => sqnrDb > 40)).toBe(true);
});

it.each([
  [{ weightBits: 4 }, 'int4', 7],
  [{ activations: 'uint16' }, 'int8', 127],
] as const)('leaves weights their bits that are multiplied as floats: %o', async (options, dtype, level) => {
  const context = contextOf({ backend, data: fixedData(images) });
  const pass = staticInt8({ ...everything, ...options, reducedRange: true });
  const { model: quantized } = await apply(model(), pass, context);
  expect(await levelsIn(quantized)).toEqual([
    [dtype, level],
    [dtype, level],
  ]);
});

it('needs data to try the model on', async () => {
  await expect(simulateSaturation(model(), fixedData([]))).rejects.toMatchObject({ code: 'DATA_INVALID' });
});

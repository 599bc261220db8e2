import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { attribute, type Backend, createRng, type Feeds, type Model, Tensor, type Value } from '@lithe/core';
import { crossLayerEqualization } from '@lithe/quantization';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Net, net, operators } from './net.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const window = { kernel_shape: attribute.ints([3, 3]), pads: attribute.ints([1, 1, 1, 1]) };

/** A weight whose output channels differ in range by up to e^6. */
function uneven(n: Net, shape: readonly number[], seed: number): Value {
  const rng = createRng(seed);
  const data = normal(shape, seed, 0.3).data.slice();
  const size = data.length / shape[0]!;
  for (let channel = 0; channel < shape[0]!; channel++) {
    const factor = Math.exp(6 * rng.next() - 3);
    for (let index = 0; index < size; index++) data[channel * size + index]! *= factor;
  }
  return n.constant(Tensor.from('float32', shape, data));
}

/** Expand, depthwise, project, pool, classify, with every operator that factors pass. */
function separable(activation: (n: Net, x: Value) => Value): Model {
  const n = net();
  const x = n.input('x', [1, 8, 8, 8]);
  const expand = n.add('Conv', [x, uneven(n, [24, 8, 1, 1], 1), n.weight([24])]);
  const depthwise = n.add('Conv', [activation(n, expand), uneven(n, [24, 1, 3, 3], 2), n.weight([24])], {
    ...window,
    group: attribute.int(24),
  });
  const project = n.add('Conv', [n.add('LeakyRelu', [depthwise]), uneven(n, [12, 24, 1, 1], 3)]);
  const slopes = n.constant(normal([12, 1, 1], 4));
  const up = n.add(
    'ConvTranspose',
    [n.add('PRelu', [project, slopes]), n.weight([12, 6, 2, 2]), n.weight([6])],
    {
      strides: attribute.ints([2, 2]),
    },
  );
  const pooled = n.add('MaxPool', [n.add('Relu', [up])], {
    kernel_shape: attribute.ints([4, 4]),
    strides: attribute.ints([4, 4]),
  });
  const flat = n.add('Flatten', [pooled]);
  const hidden = n.add('Add', [n.add('MatMul', [flat, n.weight([96, 16])]), n.weight([16])]);
  return n.model(
    n.add('Gemm', [n.add('Relu', [hidden]), n.weight([5, 16]), n.weight([5])], { transB: attribute.int(1) }),
  );
}

const relu = (n: Net, x: Value): Value => n.add('Relu', [x]);
function relu6(n: Net, x: Value, high = 6): Value {
  const bound = (value: number): Value => n.constant(Tensor.from('float32', [], Float32Array.of(value)));
  return n.add('Clip', [x, bound(0), bound(high)]);
}

const feeds: Feeds = { x: normal([1, 8, 8, 8], 70) };

async function weightOf(model: Model, opType: string, at = 0): Promise<Tensor<'float32'>> {
  const nodes = [...model.graph.nodes()].filter((node) => node.is(opType));
  return (await nodes[at]?.input(1)?.initializer?.load()) as Tensor<'float32'>;
}

/** Largest magnitude of each run of `size` elements. */
function ranges(tensor: Tensor<'float32'>, of: (index: number) => number, count: number): number[] {
  const found = Array.from({ length: count }, () => 0);
  tensor.data.forEach((value, index) => {
    found[of(index)] = Math.max(found[of(index)]!, Math.abs(value));
  });
  return found;
}

/** Rounds every convolution's weight to int8 with one scale for the tensor. */
async function perTensorWeights(model: Model): Promise<Model> {
  const draft = model.clone();
  for (const node of draft.graph.nodes()) {
    const value = node.is('Conv') ? node.input(1) : null;
    if (value === null) continue;
    const tensor = (await value.initializer?.load()) as Tensor<'float32'>;
    const step = tensor.data.reduce((most, item) => Math.max(most, Math.abs(item)), 0) / 127;
    const rounded = tensor.data.map((item) => Math.round(item / step) * step);
    draft.graph.setInput(
      node,
      1,
      draft.graph.addInitializer(`${value.name}_r`, Tensor.from('float32', tensor.shape, rounded)),
    );
  }
  return draft;
}

describe('cross-layer equalization', () => {
  it('keeps results through activations, pools, flattened images and biases added apart', async () => {
    const model = separable(relu);
    const { model: balanced, report } = await apply(model, crossLayerEqualization());
    expect(report.applied).toHaveLength(5);
    expect(report.skipped).toEqual([
      { target: 'Gemm_0', code: 'graph-output', reason: 'its result is an output of the graph' },
    ]);
    // Six layers in float32.
    expect(sqnr(await runModel(model, feeds), await runModel(balanced, feeds))).toBeGreaterThan(100);
  });

  it('makes the ranges of all three layers equal at every channel of a depthwise convolution', async () => {
    const { model: balanced } = await apply(separable(relu), crossLayerEqualization({ sweeps: 200 }));
    const rows = ranges(await weightOf(balanced, 'Conv', 0), (index) => Math.floor(index / 8), 24);
    const taps = ranges(await weightOf(balanced, 'Conv', 1), (index) => Math.floor(index / 9), 24);
    const columns = ranges(await weightOf(balanced, 'Conv', 2), (index) => index % 24, 24);
    for (let channel = 0; channel < 24; channel++) {
      expect(taps[channel]! / rows[channel]!).toBeCloseTo(1, 1);
      expect(columns[channel]! / taps[channel]!).toBeCloseTo(1, 1);
    }
  });

  it('repairs weights that one scale per tensor cannot hold', async () => {
    // The same function with every channel of the first layer larger or smaller by up to e^4.
    const model = (await apply(separable(relu), crossLayerEqualization())).model.clone();
    const rng = createRng(9);
    const factors = Array.from({ length: 24 }, () => Math.exp(8 * rng.next() - 4));
    const [expand, , depthwise] = [...model.graph.nodes()];
    for (const [node, index, size, power] of [
      [expand, 1, 8, 1],
      [expand, 2, 1, 1],
      [depthwise, 1, 9, -1],
    ] as const) {
      const tensor = (await node?.input(index)?.initializer?.load()) as Tensor<'float32'>;
      const scaled = tensor.data.map((item, at) => item * factors[Math.floor(at / size)]! ** power);
      model.graph.setInitializer(node?.input(index) as Value, Tensor.from('float32', tensor.shape, scaled));
    }
    const { model: balanced } = await apply(model, crossLayerEqualization());
    const expected = await runModel(model, feeds);
    const before = sqnr(expected, await runModel(await perTensorWeights(model), feeds));
    const after = sqnr(expected, await runModel(await perTensorWeights(balanced), feeds));
    expect(before).toBeLessThan(20);
    expect(after).toBeGreaterThan(30);
  });

  it('drops the bound of a ReLU6 when asked, where it is never reached, or not at all', async () => {
    const model = separable((n, x) => relu6(n, x, 1e6));
    const dropped = await apply(model, crossLayerEqualization());
    expect(operators(dropped.model)['Clip']).toBeUndefined();
    const context = contextOf({ backend, data: fixedData([feeds]) });
    const unreached = await apply(model, crossLayerEqualization({ clip: 'unreached' }), context);
    expect(operators(unreached.model)['Clip']).toBeUndefined();
    const low = await apply(
      separable((n, x) => relu6(n, x, 0.5)),
      crossLayerEqualization({ clip: 'unreached' }),
      context,
    );
    expect(low.report.skipped).toContainEqual(expect.objectContaining({ target: 'Conv_0', code: 'clip' }));
    const kept = await apply(model, crossLayerEqualization({ clip: 'keep' }));
    expect(operators(kept.model)['Clip']).toBe(1);
    expect(kept.report.applied).toHaveLength(4);
    expect(sqnr(await runModel(model, feeds), await runModel(kept.model, feeds))).toBeGreaterThan(100);
  });

  it('leaves alone, with the reason, what has several readers, shares weights, or is followed by another operator', async () => {
    const n = net();
    const x = n.input('x', [1, 8, 4, 4]);
    const shared = n.weight([8, 8, 1, 1]);
    const first = n.add('Conv', [x, n.weight([8, 8, 1, 1])]);
    const second = n.add('Conv', [n.add('Relu', [first]), n.weight([8, 8, 1, 1])]);
    const third = n.add('Conv', [n.add('HardSwish', [n.add('Add', [second, first])]), shared]);
    const fourth = n.add('Conv', [third, shared]);
    const { report } = await apply(n.model(fourth), crossLayerEqualization());
    expect(report.changed).toBe(false);
    expect(report.skipped.map(({ target, code }) => [target, code])).toEqual([
      ['Conv_0', 'several-readers'],
      ['Conv_1', 'operator'],
      ['Conv_2', 'shared-weight'],
      ['Conv_3', 'graph-output'],
    ]);
  });

  it('does not take a reshape that mixes positions into channels for one that keeps them', async () => {
    const n = net();
    const first = n.add('Conv', [n.input('x', ['N', 8, 4, 4]), n.weight([6, 8, 1, 1])]);
    const mixed = n.add('Reshape', [first, n.integers(-1, 6)]);
    const { report } = await apply(
      n.model(n.add('MatMul', [mixed, n.weight([6, 3])])),
      crossLayerEqualization(),
    );
    expect(report.skipped[0]).toMatchObject({ target: 'Conv_0', code: 'operator' });
  });

  it('moves a bias that keeps channels above 0 into the next layer, and the values between shrink by it', async () => {
    const n = net();
    const x = n.input('x', [4, 4, 3, 3]);
    const bias = n.constant(Tensor.from('float32', [6], Float32Array.of(10, 10, 10, 0, 0, 0)));
    const first = n.add('Conv', [x, n.weight([6, 4, 1, 1], 0.3), bias]);
    const rectified = n.add('Relu', [first]);
    const model = n.model(n.add('Conv', [rectified, n.weight([5, 6, 1, 1])]));
    const images: Feeds = { x: normal([4, 4, 3, 3], 8) };
    const data = fixedData([images]);
    const step = crossLayerEqualization({ absorbHighBias: true });
    expect(step.preserves).toBe('accuracy');
    const { model: moved, report } = await apply(model, step, contextOf({ backend, data }));
    expect(report.metrics['absorbedChannels']?.value).toBe(3);
    expect(sqnr(await runModel(model, images), await runModel(moved, images))).toBeGreaterThan(90);
    const [conv] = [...moved.graph.nodes()];
    const left = (await conv?.input(2)?.initializer?.load()) as Tensor<'float32'>;
    const { model: plain } = await apply(model, crossLayerEqualization());
    const [same] = [...plain.graph.nodes()];
    const whole = (await same?.input(2)?.initializer?.load()) as Tensor<'float32'>;
    // Each gives what lies below its mean by three deviations, on the equalized model.
    const draft = plain.clone();
    const result = draft.graph.value(same?.output().name ?? '') as Value;
    draft.graph.setOutputs([result]);
    const { data: seen, shape } = Object.values(await runModel(draft, images))[0] as Tensor<'float32'>;
    const size = shape.slice(2).reduce((product, dim) => product * dim, 1);
    for (let channel = 0; channel < 3; channel++) {
      const items = [...seen].filter((_, at) => Math.floor(at / size) % shape[1]! === channel);
      const mean = items.reduce((sum, item) => sum + item, 0) / items.length;
      const variance = items.reduce((sum, item) => sum + (item - mean) ** 2, 0) / items.length;
      expect(whole.data[channel]! - left.data[channel]!).toBeCloseTo(mean - 3 * Math.sqrt(variance), 3);
    }
    expect(left.data.slice(3)).toEqual(whole.data.slice(3));
  });

  it('needs data for what is measured', async () => {
    await expect(
      apply(separable(relu6), crossLayerEqualization({ clip: 'unreached' })),
    ).rejects.toMatchObject({ code: 'PASS_NEEDS' });
  });
});

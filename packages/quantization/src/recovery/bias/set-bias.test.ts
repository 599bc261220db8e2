import { attribute, Graph, Model, type Node, Tensor, tensorType, type Value } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { loadQuantizedConstant, readQuantizedConstant } from '../draft/quantized-constant.ts';
import { type QuantizedLayer, quantizedLayers } from '../draft/quantized-layer.ts';
import { readBias, writeBias } from './set-bias.ts';

const { signal } = new AbortController();
const weights = Float32Array.of(0.5, -1, 2e-9, 1e-9);

function float(): Model {
  const graph = new Graph();
  const x = graph.addInput('x', tensorType('float32', ['N', 2]));
  const inputs = [
    x,
    graph.addInitializer('w', Tensor.from('float32', [2, 2], weights)),
    graph.addInitializer('b', Tensor.from('float32', [2], Float32Array.of(0.25, -0.125))),
  ];
  const node = graph.addNode(
    { opType: 'Gemm', inputs, name: 'fc', attributes: { transB: attribute.int(1) } },
    [{ name: 'y', type: tensorType('float32', ['N', 2]) }],
  );
  graph.setOutputs([node.output()]);
  return new Model({ graph });
}

/** The same layer in integers, input scale 0.1, by hand. */
function quantized(): Model {
  const model = float();
  const { graph } = model;
  const node = graph.nodes().next().value as Node;
  const add = (opType: string, inputs: readonly Value[], axis = 0): Value =>
    graph
      .addNode({ opType, inputs, attributes: { axis: attribute.int(axis) } }, 1, { before: node })
      .output();
  const floats = (name: string, shape: readonly number[], ...data: number[]): Value =>
    graph.addInitializer(name, Tensor.from('float32', shape, Float32Array.from(data)));
  const zero = graph.addInitializer('xz', Tensor.from('uint8', [], Uint8Array.of(0)));
  const scale = floats('xs', [], 0.1);
  const q = graph.addNode({ opType: 'QuantizeLinear', inputs: [graph.inputs[0] as Value, scale, zero] }, 1, {
    before: node,
  });
  graph.setInput(node, 0, add('DequantizeLinear', [q.output(), scale, zero]));
  const levels = graph.addInitializer('wq', Tensor.from('int8', [2, 2], Int8Array.of(64, -127, 127, 64)));
  graph.setInput(node, 1, add('DequantizeLinear', [levels, floats('ws', [2], 1 / 127, 2e-9 / 127)]));
  const bias = graph.addInitializer('bq', Tensor.from('int32', [2], Int32Array.of(318, 0)));
  graph.setInput(node, 2, add('DequantizeLinear', [bias, floats('bs', [2], 0.1 / 127, 2e-10 / 127)]));
  for (const name of ['w', 'b']) graph.removeValue(graph.value(name) as Value);
  return model;
}

function only(model: Model): QuantizedLayer {
  const layers = quantizedLayers(float(), model);
  expect(layers).toHaveLength(1);
  return layers[0] as QuantizedLayer;
}

describe('the bias of a quantized layer', () => {
  it('is read as real numbers and written at the scale of the sums', async () => {
    const model = quantized();
    const layer = only(model);
    expect((await readBias(layer, signal))[0]).toBeCloseTo((318 * 0.1) / 127, 6);
    await writeBias(layer, Float64Array.of(1.5, 0), signal);
    const constant = readQuantizedConstant(layer.node.input(2));
    expect(constant?.values.dtype).toBe('int32');
    const scales = (await constant?.scales.load())?.toFloat64Array() ?? [];
    expect(scales[0]! / (0.1 / 127)).toBeCloseTo(1, 6);
    expect((await readBias(layer, signal))[0]).toBeCloseTo(1.5, 3);
    // What was there before is gone.
    for (const name of ['bq', 'bs']) expect(model.graph.value(name)).toBeUndefined();
  });

  it('raises the scale of weights that are too small for it, so that it fits 32 bits', async () => {
    const layer = only(quantized());
    await writeBias(layer, Float64Array.of(0.5, 40), signal);
    expect((await readBias(layer, signal))[1]).toBeCloseTo(40, 4);
    const constant = readQuantizedConstant(layer.node.input(1));
    const { values, parameters } = await loadQuantizedConstant(constant as NonNullable<typeof constant>);
    // 40 / (2^31 * 0.1): larger than any weight of the channel.
    expect(parameters.scales[1]! / (40 / (2 ** 31 * 0.1))).toBeCloseTo(1, 4);
    expect([...values]).toEqual([64, -127, 0, 0]);
    expect(values[0]! * parameters.scales[0]!).toBeCloseTo(weights[0]!, 2);
  });
});

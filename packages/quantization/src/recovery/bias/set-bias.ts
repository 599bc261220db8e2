import { attribute, Tensor, type Value } from '@lithe/core';
import { quantizeBias, raiseScalesForBias } from '../../parameters/bias.ts';
import { quantizeGroups } from '../../parameters/kernels.ts';
import {
  dropConstant,
  loadQuantizedConstant,
  readQuantizedConstant,
  replaceQuantizedConstant,
} from '../draft/quantized-constant.ts';
import type { QuantizedLayer } from '../draft/quantized-layer.ts';
import { loadFloat32, setConstant } from '../layers/constants.ts';

/** The layer as it is now: earlier steps may have replaced its constants. */
function currentWeight(layer: QuantizedLayer): NonNullable<ReturnType<typeof readQuantizedConstant>> {
  return readQuantizedConstant(layer.node.input(1)) ?? layer.weight;
}

async function inputScale(layer: QuantizedLayer, signal: AbortSignal): Promise<number | undefined> {
  const source = layer.input?.dequantize.input(1)?.initializer;
  return source === undefined ? undefined : (await source.load(signal)).toFloat64Array()[0];
}

/** The bias of a layer of the quantized model as real numbers; zeros without one. */
export async function readBias(layer: QuantizedLayer, signal: AbortSignal): Promise<Float64Array> {
  const { bias, node } = layer;
  const { outputs } = layer.float.layout;
  if (bias.kind === 'float') {
    const source = bias.node.input(bias.index)?.initializer ?? bias.source;
    return (await source.load(signal)).toFloat64Array();
  }
  const constant = bias.kind === 'none' ? undefined : readQuantizedConstant(node.input(2));
  if (constant === undefined) return new Float64Array(outputs);
  const { values, parameters } = await loadQuantizedConstant(constant, signal);
  const { scales } = parameters;
  return Float64Array.from(values, (level, channel) => level * scales[scales.length > 1 ? channel : 0]!);
}

/** Adds int32 constants of a bias and the `DequantizeLinear` that expands them. */
function addIntegerBias(layer: QuantizedLayer, values: Int32Array, scales: Float32Array): Value {
  const { node } = layer;
  const { graph } = node;
  const base = `${node.name}_bias`;
  const constant = (suffix: string, tensor: Tensor): Value =>
    graph.addInitializer(graph.uniqueName(`${base}${suffix}`), tensor);
  const shape = scales.length > 1 ? [scales.length] : [];
  const inputs = [
    constant('_quantized', Tensor.from('int32', [values.length], new Int32Array(values))),
    constant('_scale', Tensor.from('float32', shape, new Float32Array(scales))),
    constant('_zero_point', Tensor.from('int32', shape, new Int32Array(scales.length))),
  ];
  return graph
    .addNode({ opType: 'DequantizeLinear', inputs, attributes: { axis: attribute.int(0) } }, 1, {
      before: node,
    })
    .output();
}

/** Requantizes a weight whose scales had to be raised, from its dequantized values. */
async function raiseWeight(
  layer: QuantizedLayer,
  scales: Float32Array<ArrayBuffer>,
  signal: AbortSignal,
): Promise<void> {
  const constant = currentWeight(layer);
  const { layout, parameters } = await loadQuantizedConstant(constant, signal);
  const { float } = layer;
  const data = await loadFloat32(float.source, `weight "${float.weight.name}"`, signal);
  const values = quantizeGroups(data, layout, {
    parameters: { ...parameters, scales },
    range: constant.range,
  });
  replaceQuantizedConstant(layer.node, 1, constant, { values, scales });
}

/**
 * Gives a layer of the quantized model another bias: int32 at the product of input and weight scale where its
 * activations are integers, the weight's scales raised where it would not fit; float where they are floats.
 *
 * @returns false when the operator takes no bias
 */
export async function writeBias(
  layer: QuantizedLayer,
  bias: Float64Array,
  signal: AbortSignal,
): Promise<boolean> {
  const { node, bias: place } = layer;
  const data = new Float32Array(bias);
  if (place.kind === 'none') return false;
  if (place.kind === 'float') {
    setConstant(
      place.node,
      place.index,
      place.node.input(place.index)?.name ?? `${node.name}_bias`,
      Tensor.from('float32', place.source.shape, data),
    );
    return true;
  }
  const scale = await inputScale(layer, signal);
  const weight = currentWeight(layer);
  if (scale === undefined || weight.granularity.kind === 'per-block') {
    setConstant(node, 2, `${node.name}_bias`, Tensor.from('float32', [data.length], data));
    return true;
  }
  const scales = new Float32Array((await loadQuantizedConstant(weight, signal)).parameters.scales);
  if (raiseScalesForBias(scales, data, scale) > 0) await raiseWeight(layer, scales, signal);
  const before = readQuantizedConstant(node.input(2));
  const quantized = quantizeBias(data, scale, scales);
  node.graph.setInput(node, 2, addIntegerBias(layer, quantized.values, quantized.scales));
  if (before !== undefined) dropConstant(before);
  return true;
}

import { constantOf, elementsOf, type Model, type Node, type TensorSource, type Value } from '@lithe/core';
import { type LinearLayer, readLinearLayer } from '../layers/linear-layer.ts';
import { originsOf } from './origin.ts';
import { type QuantizedConstant, readQuantizedConstant } from './quantized-constant.ts';

/** Scale and zero point of the activations that a layer reads. */
export interface InputPair {
  /** The `QuantizeLinear`. */
  readonly quantize: Node;
  /** The `DequantizeLinear`. */
  readonly dequantize: Node;
}

/** Where the bias of a layer is kept. */
export type BiasPlace =
  /** Integers behind a `DequantizeLinear`, on input 2 of the layer. */
  | { readonly kind: 'integer'; readonly constant: QuantizedConstant }
  /** A float constant: on input 2 of the layer, or of the `Add` behind it. */
  | { readonly kind: 'float'; readonly node: Node; readonly index: number; readonly source: TensorSource }
  /** None yet; the operator takes one. */
  | { readonly kind: 'free' }
  /** None, and the operator takes none. */
  | { readonly kind: 'none' };

/** A layer with integer weights, and the same layer of the float model. */
export interface QuantizedLayer {
  /** Name of the float node, for reports. */
  readonly name: string;
  /** Position in the float model's order: the same for every quantized form of it. */
  readonly index: number;
  /** In the quantized model. */
  readonly node: Node;
  /** In the float model. */
  readonly float: LinearLayer;
  /** The `Add` behind it in the float model that holds its bias, when that is not an input of its own. */
  readonly floatAdd: { readonly node: Node; readonly index: number } | undefined;
  /** Its weight. */
  readonly weight: QuantizedConstant;
  /** Its bias. */
  readonly bias: BiasPlace;
  /** Its activations; `undefined` when they come as floats. */
  readonly input: InputPair | undefined;
}

function inputPair(value: Value | null): InputPair | undefined {
  const dequantize = value?.producer;
  const quantize = dequantize?.input(0)?.producer;
  if (dequantize?.is('DequantizeLinear') !== true || quantize?.is('QuantizeLinear') !== true)
    return undefined;
  return { quantize, dequantize };
}

/** The `Add` of one number per channel that is the only reader of a product. */
function addBehind(
  node: Node,
  channels: number,
): { readonly node: Node; readonly index: number } | undefined {
  const { uses, outputOf } = node.output();
  const [use] = uses;
  if (use === undefined || uses.length > 1 || outputOf.length > 0 || !use.node.is('Add')) return undefined;
  const index = 1 - use.index;
  const source = constantOf(use.node.input(index));
  const fits =
    source?.dtype === 'float32' &&
    source.shape.at(-1) === channels &&
    source.shape.every((dim, axis) => dim === 1 || axis === source.shape.length - 1);
  return fits && use.node.graph === node.graph ? { node: use.node, index } : undefined;
}

function biasPlace(node: Node, add: Node | undefined, channels: number): BiasPlace {
  const bias = node.input(2);
  if (!node.is('MatMul') && bias === null) return { kind: 'free' };
  if (bias !== null) {
    const constant = readQuantizedConstant(bias);
    if (constant !== undefined) return { kind: 'integer', constant };
    const source = constantOf(bias);
    return source?.dtype === 'float32' ? { kind: 'float', node, index: 2, source } : { kind: 'none' };
  }
  for (const index of add === undefined ? [] : [0, 1]) {
    const source = constantOf(add?.input(index));
    if (add !== undefined && source?.dtype === 'float32' && source.byteLength === 4 * channels)
      return { kind: 'float', node: add, index, source };
  }
  return { kind: 'none' };
}

/** Reads the layers of a quantized model that have integer weights, in the order of the float model it came from. */
export function quantizedLayers(reference: Model, quantized: Model): readonly QuantizedLayer[] {
  const origins = originsOf(reference, quantized);
  const layers: QuantizedLayer[] = [];
  let index = 0;
  for (const own of reference.graph.nodes()) {
    const position = index++;
    const node = origins.get(own);
    const float = node === undefined ? undefined : readLinearLayer(own);
    if (node === undefined || float === undefined) continue;
    const weight = readQuantizedConstant(node.input(1));
    if (weight === undefined || elementsOf(weight.values.shape) !== elementsOf(float.source.shape)) continue;
    const { outputs } = float.layout;
    const add = own.is('MatMul') ? addBehind(own, outputs) : undefined;
    layers.push({
      name: own.name,
      index: position,
      node,
      float,
      floatAdd: add,
      weight,
      bias: biasPlace(node, add === undefined ? undefined : origins.get(add.node), outputs),
      input: inputPair(node.input(0)),
    });
  }
  return layers;
}

/** The constant that holds the float bias of a layer. */
export function floatBias(layer: QuantizedLayer): TensorSource | undefined {
  const { float, floatAdd } = layer;
  return constantOf(float.bias) ?? constantOf(floatAdd?.node.input(floatAdd.index));
}

import { constantOf, type Node, type TensorSource, type Value } from '@lithe/core';
import { copyConstant, readQuantizedConstant } from '../draft/quantized-constant.ts';
import type { QuantizedLayer } from '../draft/quantized-layer.ts';
import type { ProbeBuilder } from './reductions.ts';

/** Adds a copy of a node whose inputs are constants, the first perhaps replaced, to a probe. */
export function copyWithConstants(probe: ProbeBuilder, node: Node, first?: Value): Value {
  const { graph } = probe;
  const inputs = node.inputs.map((value, index) => {
    if (index === 0 && first !== undefined) return first;
    const source = constantOf(value);
    return source === undefined ? null : graph.addInitializer(graph.uniqueName('probe_constant'), source);
  });
  return graph.addNode({ opType: node.opType, inputs, attributes: node.attributes }).output();
}

/** A float value as the quantized layer would see it: rounded to the integers of its input, where it has such. */
export function roundedInput(probe: ProbeBuilder, layer: QuantizedLayer, value: Value): Value {
  const { input } = layer;
  if (input === undefined) return value;
  return copyWithConstants(probe, input.dequantize, copyWithConstants(probe, input.quantize, value));
}

const initializer =
  (probe: ProbeBuilder) =>
  (source: TensorSource): Value =>
    probe.graph.addInitializer(probe.graph.uniqueName('probe_constant'), source);

/** The weight of a quantized layer, expanded. It is read as it is now: steps before may have replaced it. */
export function roundedWeight(probe: ProbeBuilder, layer: QuantizedLayer): Value {
  const constant = readQuantizedConstant(layer.node.input(1)) ?? layer.weight;
  return copyConstant(constant, { graph: probe.graph, constant: initializer(probe) });
}

/** The bias of a quantized layer, if it is an input of its own. */
export function ownBias(probe: ProbeBuilder, layer: QuantizedLayer): Value | null {
  const value = layer.node.input(2);
  const source = constantOf(value);
  if (source !== undefined) return initializer(probe)(source);
  const constant = readQuantizedConstant(value);
  return constant === undefined
    ? null
    : copyConstant(constant, { graph: probe.graph, constant: initializer(probe) });
}

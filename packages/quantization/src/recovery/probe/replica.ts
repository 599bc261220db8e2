import { constantOf, type Node, type Value } from '@lithe/core';
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

/** The weight of a quantized layer, expanded. It is read as it is now: steps before may have replaced it. */
export function roundedWeight(probe: ProbeBuilder, layer: QuantizedLayer): Value {
  return copyWithConstants(probe, layer.node.input(1)?.producer ?? layer.weight.node);
}

/** The bias of a quantized layer, if it is an input of its own. */
export function ownBias(probe: ProbeBuilder, layer: QuantizedLayer): Value | null {
  const value = layer.node.input(2);
  const source = constantOf(value);
  if (source !== undefined)
    return probe.graph.addInitializer(probe.graph.uniqueName('probe_constant'), source);
  return value?.producer === null || value?.producer === undefined
    ? null
    : copyWithConstants(probe, value.producer);
}

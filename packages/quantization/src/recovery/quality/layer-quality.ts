import { constantOf, type Model, type Tensor, type Value } from '@lithe/core';
import { joinModels } from '../draft/join.ts';
import { restrictTo } from '../draft/prune.ts';
import type { QuantizedLayer } from '../draft/quantized-layer.ts';
import { energy, type ProbeBuilder, probeBuilder } from '../probe/reductions.ts';
import { ownBias, roundedInput, roundedWeight } from '../probe/replica.ts';
import { type ProbeSource, runOver } from '../probe/run-over.ts';

/** Signal to noise of one layer, in decibels. */
export interface LayerQuality {
  /** Name of the node. */
  readonly name: string;
  /** Its operator. */
  readonly opType: string;
  /** The layer alone on the float model's inputs: the error that its own integers make. */
  readonly localDb: number;
  /** In the quantized model against the float model: with the errors of all layers before it. */
  readonly cumulativeDb: number;
}

/** Signal to noise of a quantized model. */
export interface ModelQuality {
  /** By layer, in order. */
  readonly layers: readonly LayerQuality[];
  /** Of the outputs, the worst of them. */
  readonly outputDb: number;
}

/** `10 log10(signal / noise)`: infinite without noise, minus infinity when only noise is there. */
export function decibels(signal: number, noise: number): number {
  if (noise === 0) return Number.POSITIVE_INFINITY;
  return signal === 0 ? Number.NEGATIVE_INFINITY : 10 * Math.log10(signal / noise);
}

/** Sums over the batches of a signal and of what differs from it. */
class Comparison {
  readonly outputs: readonly [Value, Value];
  #signal = 0;
  #noise = 0;

  constructor(probe: ProbeBuilder, expected: Value, actual: Value) {
    this.outputs = [energy(probe, expected), energy(probe, probe.node('Sub', [expected, actual]))];
  }

  add(results: Readonly<Record<string, Tensor>>): void {
    const [signal, noise] = this.outputs.map(
      (value) => (results[value.name] as Tensor<'float32'>).data[0] ?? Number.NaN,
    );
    this.#signal += signal ?? 0;
    this.#noise += noise ?? 0;
  }

  get decibels(): number {
    return decibels(this.#signal, this.#noise);
  }
}

/** The layer with its integers, fed by the float model. */
function localReplica(probe: ProbeBuilder, layer: QuantizedLayer): Value {
  const { graph } = probe;
  const { float, bias } = layer;
  const x = graph.value(float.input.name) as Value;
  const made = graph.addNode({
    opType: float.node.opType,
    inputs: [roundedInput(probe, layer, x), roundedWeight(probe, layer), ownBias(probe, layer)],
    attributes: float.node.attributes,
  });
  if (layer.floatAdd === undefined || bias.kind !== 'float') return made.output();
  const added = constantOf(bias.node.input(bias.index)) ?? bias.source;
  return probe.node('Add', [made.output(), graph.addInitializer(graph.uniqueName('probe_constant'), added)]);
}

/**
 * Measures what quantization does to each layer and to the outputs, on real inputs: both models and every layer alone
 * run as one graph, and only two sums a comparison leave the runtime.
 */
export async function measureQuality(
  reference: Model,
  quantized: Model,
  layers: readonly QuantizedLayer[],
  source: ProbeSource,
): Promise<ModelQuality> {
  const joined = joinModels(reference, quantized);
  const probe = probeBuilder(joined.model.graph);
  const compared = layers.map((layer) => {
    const add = layer.bias.kind === 'float' ? layer.bias.node : layer.node;
    const expected = joined.float((layer.floatAdd?.node ?? layer.float.node).output());
    const outer = layer.floatAdd === undefined ? layer.node : add;
    return {
      layer,
      local: new Comparison(probe, expected, localReplica(probe, layer)),
      cumulative: new Comparison(probe, expected, joined.quantized(outer.output())),
    };
  });
  const outputs = reference.graph.outputs.flatMap((value, index) => {
    const other = quantized.graph.outputs[index];
    if (other === undefined || (value.dtype !== undefined && value.dtype !== 'float32')) return [];
    return [new Comparison(probe, joined.float(value), joined.quantized(other))];
  });
  const all = [...compared.flatMap(({ local, cumulative }) => [local, cumulative]), ...outputs];
  restrictTo(
    joined.model.graph,
    all.flatMap((item) => item.outputs),
  );
  await runOver(joined.model, source, {
    task: 'compare layers',
    visit: (results) => {
      for (const item of all) item.add(results);
    },
  });
  return {
    layers: compared.map(({ layer, local, cumulative }) => ({
      name: layer.name,
      opType: layer.node.opType,
      localDb: local.decibels,
      cumulativeDb: cumulative.decibels,
    })),
    outputDb: outputs.reduce((least, item) => Math.min(least, item.decibels), Number.POSITIVE_INFINITY),
  };
}

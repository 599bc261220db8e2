import type { Model, Tensor, Value } from '@lithe/core';
import { joinModels } from '../draft/join.ts';
import { levelsOf } from '../draft/levels.ts';
import { restrictTo } from '../draft/prune.ts';
import {
  loadQuantizedConstant,
  readQuantizedConstant,
  replaceQuantizedConstant,
} from '../draft/quantized-constant.ts';
import type { QuantizedLayer } from '../draft/quantized-layer.ts';
import { elementCount, type Moments, momentAccumulator } from '../probe/moments.ts';
import { channelMoments, probeBuilder } from '../probe/reductions.ts';
import { type ProbeSource, runOver } from '../probe/run-over.ts';
import { readBias, writeBias } from './set-bias.ts';

/** What {@link correctEmpirically} matches. */
export interface EmpiricalOptions {
  /** `mean` of each channel, or its `variance` as well. */
  readonly match: 'mean' | 'variance';
  /** Told of each layer whose operator takes no bias. */
  skip(layer: QuantizedLayer): void;
}

/** Means and variances of the same layers in both models, on the same samples. */
async function compareMoments(
  reference: Model,
  quantized: Model,
  layers: readonly QuantizedLayer[],
  source: ProbeSource,
): Promise<readonly { readonly float: Moments; readonly quantized: Moments }[]> {
  const joined = joinModels(reference, quantized);
  const probe = probeBuilder(joined.model.graph);
  const found = layers.map((layer) => {
    const { channels, layout, source: weight } = layer.float;
    const spec = { channels, count: layout.outputs, rank: weight.shape.length };
    const value = joined.float(layer.float.output);
    return {
      float: { ...channelMoments(probe, value, spec), into: momentAccumulator(layout.outputs) },
      quantized: {
        ...channelMoments(probe, joined.quantized(layer.node.output()), spec),
        into: momentAccumulator(layout.outputs),
      },
      size: elementCount(probe, value),
      channels: layout.outputs,
    };
  });
  restrictTo(
    joined.model.graph,
    found.flatMap(({ float, quantized: own, size }) => [
      float.mean,
      float.variance,
      own.mean,
      own.variance,
      size,
    ]),
  );
  await runOver(joined.model, source, {
    task: 'bias correction',
    visit: (results) => {
      const numbers = (value: Value): Float32Array => (results[value.name] as Tensor<'float32'>).data;
      for (const { float, quantized: own, size, channels } of found) {
        const count = Number((results[size.name] as Tensor<'int64'>).data[0] ?? 0n) / channels;
        for (const side of [float, own]) side.into.add(numbers(side.mean), numbers(side.variance), count);
      }
    },
  });
  return found.map(({ float, quantized: own }) => ({
    float: float.into.result(),
    quantized: own.into.result(),
  }));
}

/** Factors that bring the deviation of each channel back, kept near 1: a dead channel has no deviation to match. */
function deviationRatios(float: Moments, quantized: Moments): Float64Array {
  return float.variance.map((variance, channel) => {
    const ratio = Math.sqrt(variance / quantized.variance[channel]!);
    return ratio > 0.5 && ratio < 2 ? ratio : 1;
  });
}

/**
 * Multiplies each output channel by a factor where that is free: in the weight's scales, when each channel has its own.
 *
 * @returns whether it could
 */
async function scaleOutputs(
  layer: QuantizedLayer,
  ratios: Float64Array,
  signal: AbortSignal,
): Promise<boolean> {
  const constant = readQuantizedConstant(layer.node.input(1));
  if (constant === undefined || constant.granularity.kind !== 'per-channel') return false;
  const { parameters } = await loadQuantizedConstant(constant, signal);
  if (parameters.scales.length !== ratios.length) return false;
  const scales = parameters.scales.map((scale, channel) => scale * ratios[channel]!);
  replaceQuantizedConstant(layer.node, 1, constant, { scales: new Float32Array(scales) });
  return true;
}

/**
 * Empirical bias correction: layer after layer, the mean of each output channel of the quantized model, on the inputs
 * that the layers before it now give, is brought to that of the float model; with `match: 'variance'` its deviation
 * too, in the scales of its weights. Layers that do not depend on each other share a run over the data.
 *
 * @param quantized is changed
 * @see Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2 and
 *   appendix D ("empirical bias correction")
 */
export async function correctEmpirically(
  reference: Model,
  quantized: Model,
  layers: readonly QuantizedLayer[],
  run: { readonly source: ProbeSource; readonly options: EmpiricalOptions },
): Promise<number> {
  const { source, options } = run;
  const { signal } = source.context;
  const correctable = layers.filter((layer) => {
    if (layer.bias.kind === 'none') options.skip(layer);
    return layer.bias.kind !== 'none';
  });
  const byNode = new Map(correctable.map((layer) => [layer.node, layer]));
  for (const level of levelsOf(quantized, byNode)) {
    signal.throwIfAborted();
    const measured = await compareMoments(reference, quantized, level, source);
    for (const [index, layer] of level.entries()) {
      const moments = measured[index];
      if (moments === undefined) continue;
      const { float, quantized: own } = moments;
      const bias = await readBias(layer, signal);
      let ratios: Float64Array | undefined = deviationRatios(float, own);
      if (options.match === 'mean' || !(await scaleOutputs(layer, ratios, signal))) ratios = undefined;
      // y = r (y_q - b) + b', with b' such that the means agree. The bias of an Add behind it is outside y.
      const inside = layer.bias.kind !== 'float' || layer.bias.node === layer.node;
      const corrected = bias.map((held, channel) => {
        const ratio = ratios?.[channel] ?? 1;
        if (!inside) return held + float.mean[channel]! - ratio * own.mean[channel]!;
        return float.mean[channel]! - ratio * (own.mean[channel]! - held);
      });
      await writeBias(layer, corrected, signal);
    }
  }
  return correctable.length;
}

import { attribute, type Model, type Tensor, type Value } from '@lithe/core';
import { restrictTo } from '../draft/prune.ts';
import type { QuantizedLayer } from '../draft/quantized-layer.ts';
import { channelMean, type ProbeBuilder, probeBuilder } from '../probe/reductions.ts';
import { roundedInput, roundedWeight } from '../probe/replica.ts';
import { type ProbeSource, runOver } from '../probe/run-over.ts';

interface Measured {
  readonly layer: QuantizedLayer;
  readonly expected: Value;
  readonly actual: Value;
  readonly sum: Float64Array;
}

/** Puts beside a layer of the float model what it gives on the mean input, with its own weights and with rounded ones. */
function measure(probe: ProbeBuilder, layer: QuantizedLayer): Measured {
  const { graph } = probe;
  const { float } = layer;
  const { outputs } = float.layout;
  const x = graph.value(float.input.name) as Value;
  const weight = graph.value(float.weight.name) as Value;
  const meanOf = (value: Value): Value =>
    probe.node('ReduceMean', [value, probe.ints([0])], { keepdims: attribute.int(1) });
  const rounded = roundedInput(probe, layer, x);
  const spec = { channels: float.channels, count: outputs, rank: float.source.shape.length };
  const result = (input: Value, by: Value): Value => {
    const made = graph.addNode({
      opType: float.node.opType,
      inputs: [meanOf(input), by],
      attributes: float.node.attributes,
    });
    return channelMean(probe, made.output(), spec);
  };
  return {
    layer,
    expected: result(x, weight),
    actual: result(rounded, roundedWeight(probe, layer)),
    sum: new Float64Array(outputs),
  };
}

/**
 * Fast bias correction: what rounding the weights and the input of a layer adds to the mean of each of its output
 * channels, on the float model's inputs. Every layer is looked at alone, so one run of the float model tells all; a
 * layer is linear, so its mean output is its output on the mean input, borders included, and costs one sample a batch.
 *
 * @returns what to add to each bias, in the order of the layers
 * @see Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2:
 *   `E[y] - E[y~] = -epsilon E[x]`, here with measured `E[x]` and with the rounding of `x`
 */
export async function fastCorrections(
  reference: Model,
  layers: readonly QuantizedLayer[],
  source: ProbeSource,
): Promise<readonly Float64Array[]> {
  if (layers.length === 0) return [];
  const draft = reference.clone();
  const probe = probeBuilder(draft.graph);
  const measured = layers.map((layer) => measure(probe, layer));
  restrictTo(
    draft.graph,
    measured.flatMap(({ expected, actual }) => [expected, actual]),
  );
  let samples = 0;
  await runOver(draft, source, {
    task: 'bias correction',
    visit: (results, size) => {
      samples += size;
      for (const { expected, actual, sum } of measured) {
        const want = (results[expected.name] as Tensor<'float32'>).data;
        const have = (results[actual.name] as Tensor<'float32'>).data;
        for (let channel = 0; channel < sum.length; channel++)
          sum[channel] = sum[channel]! + (want[channel]! - have[channel]!) * size;
      }
    },
  });
  return measured.map(({ sum }) => sum.map((total) => total / samples));
}

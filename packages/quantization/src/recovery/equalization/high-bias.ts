import { constantOf, Tensor } from '@lithe/core';
import { loadFloat32, setConstant } from '../layers/constants.ts';
import type { LinearLayer } from '../layers/linear-layer.ts';
import { sumOverInputs } from '../layers/weight-layout.ts';
import type { Moments } from '../probe/moments.ts';
import { type ChannelPath, isUniform } from './channel-path.ts';
import { repeated } from './equalize.ts';

/** Standard deviations below the mean that a channel must stay above 0 for: 99.865 % of a normal distribution. */
const DEVIATIONS = 3;

/** Why the high biases of a pair stay, as a code and a clause; `undefined` when they can move. */
export function absorptionProblem(path: ChannelPath): readonly [string, string] | undefined {
  const { to } = path;
  if (!path.carriesConstants)
    return ['no-rectifier', 'what lies between the layers does not hand a constant on'];
  if (!isUniform(to))
    return ['padded', `"${to.node.name}" pads its input, so that a constant input is no constant output`];
  const without = [path.from, to].find((layer) => layer.node.is('MatMul'));
  if (without !== undefined) return ['no-bias', `"${without.node.name}" has no bias`];
  return undefined;
}

async function addToBias(layer: LinearLayer, summand: Float64Array, signal: AbortSignal): Promise<void> {
  const { node } = layer;
  const held = constantOf(node.input(2));
  const what = `bias of "${node.name}"`;
  const data = held === undefined ? new Float32Array(summand.length) : await loadFloat32(held, what, signal);
  for (let channel = 0; channel < data.length; channel++) data[channel] = data[channel]! + summand[channel]!;
  const name = node.input(2)?.name ?? `${node.name}_bias`;
  setConstant(node, 2, name, Tensor.from('float32', [data.length], data));
}

/**
 * Moves the part of a bias that keeps a channel above 0 on nearly all inputs into the next layer's bias, so that the
 * activations between them take fewer values: `c = max(0, mean - 3 deviation)`, `b1 -= c`, `b2 += W2 c`.
 *
 * @param moments of the first layer's result
 * @returns number of channels that gave something away
 * @see Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1.3
 */
export async function absorbHighBias(
  path: ChannelPath,
  moments: Moments,
  signal: AbortSignal,
): Promise<number> {
  const { from, to, repeat } = path;
  const given = moments.mean.map((mean, channel) =>
    Math.max(0, mean - DEVIATIONS * Math.sqrt(moments.variance[channel]!)),
  );
  const channels = given.reduce((count, amount) => count + (amount > 0 ? 1 : 0), 0);
  if (channels === 0) return 0;
  const weight = await loadFloat32(to.source, `weight "${to.weight.name}"`, signal);
  const received = sumOverInputs(weight, to.layout, repeated(given, repeat));
  await addToBias(
    from,
    given.map((amount) => -amount),
    signal,
  );
  await addToBias(to, received, signal);
  return channels;
}

import { type Model, type Node, Tensor, type Value } from '@lithe/core';
import { levelsOf } from '../draft/levels.ts';
import { restrictTo } from '../draft/prune.ts';
import { floatOf } from '../layers/attributes.ts';
import { setConstant } from '../layers/constants.ts';
import { elementCount, type Moments, measureMoments, momentAccumulator } from '../probe/moments.ts';
import { channelMoments, probeBuilder } from '../probe/reductions.ts';
import { type ProbeSource, runOver } from '../probe/run-over.ts';
import type { StoredStatistics } from './nodes.ts';

/** Stores measured moments in a normalization. */
function store(node: Node, moments: Moments): void {
  const put = (index: number, numbers: Float64Array): void => {
    const name = node.input(index)?.name ?? `${node.name}_statistics`;
    setConstant(node, index, name, Tensor.from('float32', [numbers.length], new Float32Array(numbers)));
  };
  put(3, moments.mean);
  put(4, moments.variance);
}

/** Puts the normalization by the batch's own moments in the place of a stored one. */
function normalizeByBatch(
  node: Node,
  moments: { readonly mean: Value; readonly variance: Value },
  rank: number,
): void {
  const { graph } = node;
  const add = (opType: string, inputs: readonly (Value | null)[]): Value =>
    graph.addNode({ opType, inputs }, 1, { before: node }).output();
  const shape = graph.addInitializer(
    graph.uniqueName('probe_constant'),
    Tensor.from(
      'int64',
      [rank],
      BigInt64Array.from({ length: rank }, (_, axis) => (axis === 1 ? -1n : 1n)),
    ),
  );
  const epsilon = graph.addInitializer(
    graph.uniqueName('probe_constant'),
    Tensor.from('float32', [], Float32Array.of(floatOf(node, 'epsilon', 1e-5))),
  );
  const wide = (value: Value | null): Value => add('Reshape', [value, shape]);
  const deviation = wide(add('Sqrt', [add('Add', [moments.variance, epsilon])]));
  const centred = add('Sub', [node.input(0), wide(moments.mean)]);
  const scaled = add('Mul', [add('Div', [centred, deviation]), wide(node.input(1))]);
  const made = graph.addNode({ opType: 'Add', inputs: [scaled, wide(node.input(2))] }, 1, { before: node });
  graph.replaceAllUses(node.output(), made.output());
  graph.remove(node);
}

/** Moves the nodes of a probe that a node in the middle of the graph reads before it. */
function momentsBefore(
  node: Node,
  rank: number,
  channels: number,
): { readonly mean: Value; readonly variance: Value; readonly size: Value } {
  const { graph } = node;
  const placed = probeBuilder(graph, node);
  const value = node.input(0) as Value;
  const moments = channelMoments(placed, value, { channels: 'second', count: channels, rank });
  return { ...moments, size: elementCount(placed, value) };
}

/**
 * One pass over the data in which every normalization uses the moments of its batch, so that what lies behind it sees
 * activations as they will be; the moments of all batches are merged.
 *
 * @see Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 ("PreciseBN")
 */
export async function measureInOnePass(
  model: Model,
  stored: readonly StoredStatistics[],
  source: ProbeSource,
): Promise<void> {
  const draft = model.clone();
  const found = stored.map(({ node, rank, channels }) => {
    const copy = draft.graph.value(node.output().name)?.producer as Node;
    const moments = momentsBefore(copy, rank, channels);
    normalizeByBatch(copy, moments, rank);
    return { ...moments, channels, into: momentAccumulator(channels) };
  });
  restrictTo(
    draft.graph,
    found.flatMap(({ mean, variance, size }) => [mean, variance, size]),
  );
  await runOver(draft, source, {
    task: 'measure batch normalization',
    visit: (results) => {
      const numbers = (value: Value): Float32Array => (results[value.name] as Tensor<'float32'>).data;
      for (const { mean, variance, size, channels, into } of found) {
        const elements = Number((results[size.name] as Tensor<'int64'>).data[0] ?? 0n);
        into.add(numbers(mean), numbers(variance), elements / channels);
      }
    },
  });
  for (const [index, { node }] of stored.entries())
    store(node, (found[index] as (typeof found)[number]).into.result());
}

/** Level after level: each normalization sees what those before it, measured anew, make. Exact whatever the batches. */
export async function measureInSequence(
  model: Model,
  stored: readonly StoredStatistics[],
  source: ProbeSource,
): Promise<void> {
  const byNode = new Map(stored.map((item) => [item.node, item]));
  for (const level of levelsOf(model, byNode)) {
    source.context.signal.throwIfAborted();
    const requests = level.map(({ input, channels, rank }) => ({
      value: input,
      channels: 'second' as const,
      count: channels,
      rank,
    }));
    const measured = await measureMoments(model, requests, source);
    for (const [index, { node }] of level.entries()) store(node, measured[index] as Moments);
  }
}

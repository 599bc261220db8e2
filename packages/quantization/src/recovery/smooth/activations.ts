import { attribute, type Model, type Rng, Tensor, type Value } from '@lithe/core';
import { restrictTo } from '../draft/prune.ts';
import { channelExtremes, type ProbeBuilder, probeBuilder } from '../probe/reductions.ts';
import { type ProbeSource, runOver } from '../probe/run-over.ts';
import type { SmoothGroup } from './groups.ts';

/** Extremes of each channel. */
export interface ChannelExtremes {
  /** Smallest element of each channel. */
  readonly minimum: Float64Array;
  /** Largest element of each channel. */
  readonly maximum: Float64Array;
}

/** What was seen of the activations of a group. */
export interface SeenActivations {
  /** Over all batches. */
  readonly all: ChannelExtremes;
  /** Over the batches that {@link rows} are not from: three of four. */
  readonly others: ChannelExtremes;
  /** Some rows, `[rows, channels]`. */
  readonly rows: Float32Array<ArrayBuffer>;
}

const nothing = (channels: number): ChannelExtremes => ({
  minimum: new Float64Array(channels).fill(Number.POSITIVE_INFINITY),
  maximum: new Float64Array(channels).fill(Number.NEGATIVE_INFINITY),
});

function widen({ minimum, maximum }: ChannelExtremes, least: Float32Array, most: Float32Array): void {
  for (let channel = 0; channel < minimum.length; channel++) {
    minimum[channel] = Math.min(minimum[channel]!, least[channel]!);
    maximum[channel] = Math.max(maximum[channel]!, most[channel]!);
  }
}

/** Some rows of a value, wherever its other axes end: indices beyond them are taken modulo their number. */
function someRows(
  probe: ProbeBuilder,
  value: Value,
  choice: { readonly channels: number; readonly picks: BigInt64Array<ArrayBuffer> },
): Value {
  const { graph } = probe;
  const rows = probe.node('Reshape', [value, probe.ints([-1, choice.channels])]);
  const count = probe.node('Shape', [rows], { start: attribute.int(0), end: attribute.int(1) });
  const picks = graph.addInitializer(
    graph.uniqueName('probe_constant'),
    Tensor.from('int64', [choice.picks.length], choice.picks),
  );
  return probe.node('Gather', [rows, probe.node('Mod', [picks, count])], { axis: attribute.int(0) });
}

/**
 * Looks at the activations of all groups in one pass over the data: the extremes of every channel, and rows for the
 * search of alpha. Rows are from other batches than the extremes they are judged by: a large exponent brings every
 * channel to the edge of the range, where unseen activations are cut off.
 *
 * @param rows how many rows are kept of each group, at most
 */
export async function seeActivations(
  model: Model,
  groups: readonly SmoothGroup[],
  work: { readonly source: ProbeSource; readonly rows: number; readonly rng: Rng },
): Promise<readonly SeenActivations[]> {
  const { source, rows, rng } = work;
  const draft = model.clone();
  const probe = probeBuilder(draft.graph);
  const batches = Math.ceil(
    Math.min(source.samples, source.data.size ?? source.samples) / (source.batchSize ?? 1),
  );
  const perBatch = Math.max(1, Math.ceil(rows / Math.max(1, Math.floor(batches / 4))));
  const picks = BigInt64Array.from({ length: perBatch }, () => BigInt(rng.integer(2 ** 31)));
  const found = groups.map(({ value, channels }) => {
    const own = draft.graph.value(value.name) as Value;
    return {
      ...channelExtremes(probe, own, { channels: 'last', count: channels, rank: 0 }),
      some: someRows(probe, own, { channels, picks }),
      all: nothing(channels),
      others: nothing(channels),
      kept: [] as Float32Array[],
      channels,
    };
  });
  let batch = 0;
  restrictTo(
    draft.graph,
    found.flatMap(({ minimum, maximum, some }) => [minimum, maximum, some]),
  );
  await runOver(draft, source, {
    task: 'see activations',
    visit: (results) => {
      const numbers = (value: Value): Float32Array => (results[value.name] as Tensor<'float32'>).data;
      for (const { minimum, maximum, some, all, others, kept } of found) {
        const [least, most] = [numbers(minimum), numbers(maximum)];
        widen(all, least, most);
        const judges = batch % 4 === 1;
        if (!judges) widen(others, least, most);
        // The first batch may be the only one.
        if (batch === 0 || (judges && kept.length * perBatch < rows + perBatch)) kept.push(numbers(some));
      }
      batch++;
    },
  });
  return found.map(({ all, others, kept }) => {
    const parts = batch > 1 ? kept.slice(1) : kept;
    const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      joined.set(part, at);
      at += part.length;
    }
    return { all, others, rows: joined };
  });
}

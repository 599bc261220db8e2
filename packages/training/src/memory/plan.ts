import type { Activation, ForwardPart } from './forward-part.ts';

/** Activations smaller than this part of all are kept: what they cost to make outweighs the room they take. */
const SMALL_SHARE = 1 / 4096;

/** Rounds of halving in the search for the smallest peak: to a thousandth of all activations. */
const ROUNDS = 10;

/** A forward part in segments. */
export interface Plan {
  /** Last position of each segment but the last, in order. */
  readonly cuts: readonly number[];
  /** Bytes of activations that are held at most, by the estimate. */
  readonly peakBytes: number;
  /** Bytes of activations that are held without segments. */
  readonly allBytes: number;
}

/** Whether an activation is held from the forward to the backward part whatever the segments are. */
export function isHeld(activation: Activation, allBytes: number): boolean {
  return activation.fixed || activation.bytes <= allBytes * SMALL_SHARE;
}

/** Bytes that the backward part wants of the forward part. */
export function wantedBytes({ activations }: ForwardPart): number {
  return activations.reduce((sum, { wanted, bytes }) => sum + (wanted ? bytes : 0), 0);
}

/**
 * Cuts a forward part so that the largest amount of activations held at one time is small: those that cross a cut, and
 * those of one segment. For a given limit, segments are made as long as it allows, each cut placed where least crosses
 * it (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, algorithm 3, with the limit on the peak instead
 * of on a segment); the smallest limit that works is searched by halving.
 *
 * @param most largest number of segments
 */
export function planSegments(part: ForwardPart, most: number): Plan {
  const allBytes = wantedBytes(part);
  const costs = costsOf(part, allBytes);
  let best: readonly number[] = [];
  let low = 0;
  let high = allBytes;
  for (let round = 0; round < ROUNDS; round++) {
    const limit = (low + high) / 2;
    const cuts = cutsWithin(costs, limit);
    if (cuts !== undefined && cuts.length < most) {
      best = cuts;
      high = limit;
    } else low = limit;
  }
  return { cuts: best, peakBytes: peakOf(costs, best), allBytes };
}

/** The plan of cuts that somebody chose. */
export function planOf(part: ForwardPart, cuts: readonly number[]): Plan {
  const allBytes = wantedBytes(part);
  return { cuts, peakBytes: peakOf(costsOf(part, allBytes), cuts), allBytes };
}

/** Bytes by position in the forward part. */
interface Costs {
  /** Wanted by the backward part and made at or before each position. */
  readonly stash: Float64Array;
  /** Made at or before a position, read behind it. */
  readonly crossing: Float64Array;
}

function costsOf({ nodes, activations }: ForwardPart, allBytes: number): Costs {
  const stash = new Float64Array(nodes.length);
  const crossing = new Float64Array(nodes.length + 1);
  for (const activation of activations) {
    if (isHeld(activation, allBytes)) continue;
    const { made, lastRead, wanted, bytes } = activation;
    if (wanted) stash[made] = (stash[made] ?? 0) + bytes;
    crossing[made] = (crossing[made] ?? 0) + bytes;
    crossing[lastRead] = (crossing[lastRead] ?? 0) - bytes;
  }
  for (let index = 1; index < nodes.length; index++) {
    stash[index]! += stash[index - 1]!;
    crossing[index]! += crossing[index - 1]!;
  }
  return { stash, crossing };
}

/** Longest segments under a limit on the peak; `undefined` when one node alone is above it. */
function cutsWithin({ stash, crossing }: Costs, limit: number): readonly number[] | undefined {
  const cuts: number[] = [];
  const last = stash.length - 1;
  let start = -1;
  let stored = 0;
  for (;;) {
    const before = start < 0 ? 0 : stash[start]!;
    let end = start;
    while (end < last && stored + stash[end + 1]! - before <= limit) end++;
    if (end === last) return cuts;
    // Of the second half of what fits, the place where least crosses.
    let cut = end;
    for (let at = end; at > start && (stash[at]! - before) * 2 >= stash[end]! - before; at--) {
      if (crossing[at]! < crossing[cut]!) cut = at;
    }
    if (cut <= start) return undefined;
    stored += crossing[cut]!;
    cuts.push(cut);
    start = cut;
    if (stored > limit) return undefined;
  }
}

function peakOf({ stash, crossing }: Costs, cuts: readonly number[]): number {
  let stored = 0;
  let peak = 0;
  let before = 0;
  for (const cut of [...cuts, stash.length - 1]) {
    const through = stash[cut] ?? 0;
    peak = Math.max(peak, stored + through - before);
    stored += crossing[cut] ?? 0;
    before = through;
  }
  return peak;
}

import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { broadcastShapes } from '../elements.ts';
import type { KernelContext } from '../kernel.ts';
import { broadcastTo } from './quantization.ts';
import { softmaxLane } from './softmax.ts';

/** Heads of queries, keys or values in float64: `[batch, heads, steps, width]`. */
export interface Heads {
  /** Elements, row-major. */
  readonly values: Float64Array;
  /** `[batch, heads, steps, width]`. */
  readonly shape: readonly [batch: number, heads: number, steps: number, width: number];
}

/** How scores become weights. */
export interface AttentionRule {
  /** Factor of the scores. */
  readonly scale: number;
  /** Added to the scores, `[batch, heads, steps, keys]`. */
  readonly bias?: Float64Array | undefined;
  /** Whether a query may look at a key. */
  readonly sees?: ((batch: number, step: number, key: number) => boolean) | undefined;
  /** What is added to a score that may not be looked at. */
  readonly hidden: number;
  /** Bound of scores by `softcap tanh(score / softcap)`; none for 0. */
  readonly softcap?: number | undefined;
}

/** Splits `[batch, steps, heads * width]` into heads; `from` and `count` take a range of the last axis. */
export function splitHeads(
  values: Float64Array,
  [batch, steps, row]: readonly [number, number, number],
  { heads, width, from }: { readonly heads: number; readonly width: number; readonly from: number },
): Heads {
  const out = new Float64Array(batch * heads * steps * width);
  for (let n = 0; n < batch; n++) {
    for (let head = 0; head < heads; head++) {
      for (let step = 0; step < steps; step++) {
        const source = (n * steps + step) * row + from + head * width;
        out.set(values.subarray(source, source + width), ((n * heads + head) * steps + step) * width);
      }
    }
  }
  return { values: out, shape: [batch, heads, steps, width] };
}

/** Heads one behind the other along the steps, as a cache grows. */
export function appendSteps(past: Heads | undefined, next: Heads): Heads {
  if (past === undefined) return next;
  const [batch, heads, steps, width] = next.shape;
  const before = past.shape[2];
  const out = new Float64Array(batch * heads * (before + steps) * width);
  for (let lane = 0; lane < batch * heads; lane++) {
    const to = lane * (before + steps) * width;
    out.set(past.values.subarray(lane * before * width, (lane + 1) * before * width), to);
    out.set(next.values.subarray(lane * steps * width, (lane + 1) * steps * width), to + before * width);
  }
  return { values: out, shape: [batch, heads, before + steps, width] };
}

/** Sizes of four axes, whose number has been checked. */
export const fourSizes = ([
  batch = 0,
  heads = 0,
  steps = 0,
  width = 0,
]: readonly number[]): Heads['shape'] => [batch, heads, steps, width];

/** The same of three. */
export const threeSizes = ([first = 0, second = 0, third = 0]: readonly number[]): readonly [
  number,
  number,
  number,
] => [first, second, third];

/** A tensor `[batch, heads, steps, width]` as heads. */
export function headsOf(context: KernelContext, tensor: Tensor): Heads {
  if (tensor.shape.length !== 4)
    context.fail(`[${tensor.shape.join(', ')}] is not [batch, heads, steps, width]`);
  return { values: tensor.toFloat64Array(), shape: fourSizes(tensor.shape) };
}

/** A bias of scores broadcast to `[batch, heads, steps, keys]`. */
export function scoreBias(
  context: KernelContext,
  tensor: Tensor | undefined,
  shape: readonly number[],
): Float64Array | undefined {
  if (tensor === undefined) return undefined;
  if (broadcastShapes([tensor.shape, shape]) === undefined)
    context.fail(`a bias [${tensor.shape.join(', ')}] for scores [${shape.join(', ')}]`);
  const values = tensor.toFloat64Array();
  return Float64Array.from(broadcastTo(context, tensor.shape, shape), (at) => values[at]!);
}

/**
 * Scaled dot-product attention (Vaswani et al., "Attention Is All You Need", 2017, section 3.2.1):
 * `softmax(scale Q K^T + bias) V`. Keys and values may have fewer heads, each shared by several queries.
 *
 * @returns `[batch, steps, heads * width of V]`
 */
export function attend(
  context: KernelContext,
  [q, k, v]: readonly [Heads, Heads, Heads],
  rule: AttentionRule,
): Float64Array {
  const [batch, heads, steps, width] = q.shape;
  const [, keyHeads, keys] = k.shape;
  const depth = v.shape[3];
  if (
    k.shape[0] !== batch ||
    v.shape[0] !== batch ||
    k.shape[3] !== width ||
    v.shape[1] !== keyHeads ||
    v.shape[2] !== keys ||
    heads % keyHeads !== 0
  ) {
    context.fail(
      `queries [${q.shape.join(', ')}], keys [${k.shape.join(', ')}] and values [${v.shape.join(', ')}] do not fit`,
    );
  }
  const out = new Float64Array(context.guard('float64', [batch, steps, heads, depth]));
  const offsets = Int32Array.from({ length: keys }, (_, index) => index);
  const scores = new Float64Array(keys);
  for (let lane = 0; lane < batch * heads * steps; lane++) {
    const step = lane % steps;
    const head = Math.floor(lane / steps) % heads;
    const n = Math.floor(lane / (steps * heads));
    const shared = n * keyHeads + Math.floor(head / (heads / keyHeads));
    for (let key = 0; key < keys; key++) {
      let score = 0;
      for (let at = 0; at < width; at++)
        score += q.values[lane * width + at]! * k.values[(shared * keys + key) * width + at]!;
      score *= rule.scale;
      if (rule.softcap !== undefined && rule.softcap > 0)
        score = rule.softcap * Math.tanh(score / rule.softcap);
      if (rule.bias !== undefined) score += rule.bias[lane * keys + key]!;
      scores[key] = rule.sees?.(n, step, key) === false ? score + rule.hidden : score;
    }
    softmaxLane(scores, 0, offsets);
    const to = ((n * steps + step) * heads + head) * depth;
    for (let key = 0; key < keys; key++) {
      for (let at = 0; at < depth; at++)
        out[to + at]! += scores[key]! * v.values[(shared * keys + key) * depth + at]!;
    }
  }
  return out;
}

/**
 * Rotates pairs of each head by angles of its position (Su et al., "RoFormer", 2021, section 3.4).
 *
 * @param tables cosines and sines `[positions, pairs]`
 */
export function rotate(
  context: KernelContext,
  heads: Heads,
  {
    cosines,
    sines,
    interleaved,
    positionOf,
  }: {
    readonly cosines: Tensor;
    readonly sines: Tensor;
    readonly interleaved: boolean;
    readonly positionOf: (batch: number, step: number) => number;
  },
): Heads {
  const [batch, count, steps, width] = heads.shape;
  const [positions, pairs] = cosines.shape as [number, number];
  if (2 * pairs > width || elementsOf(sines.shape) !== positions * pairs)
    context.fail(`tables of ${pairs} pairs do not fit heads of ${width}`);
  const [cos, sin] = [cosines.toFloat64Array(), sines.toFloat64Array()];
  const out = heads.values.slice();
  for (let lane = 0; lane < batch * count * steps; lane++) {
    const position = positionOf(Math.floor(lane / (count * steps)), lane % steps);
    if (position < 0 || position >= positions)
      context.fail(`position ${position} is outside tables of ${positions}`);
    for (let pair = 0; pair < pairs; pair++) {
      const first = lane * width + (interleaved ? 2 * pair : pair);
      const second = interleaved ? first + 1 : first + pairs;
      const [c, s] = [cos[position * pairs + pair]!, sin[position * pairs + pair]!];
      out[first] = heads.values[first]! * c - heads.values[second]! * s;
      out[second] = heads.values[second]! * c + heads.values[first]! * s;
    }
  }
  return { values: out, shape: heads.shape };
}

import { type Dim, multiplyDims, sameDim } from '@lithe/core';
import { inputAxis, outputAxis, type Tie, tie } from '../axis-rule.ts';
import { factorOf } from '../axis-view.ts';
import { isCuttable } from './shared.ts';

/** Neighbouring axes of a reshape's input and output that hold the same elements. */
interface Segment {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

const isOne = (dim: Dim | undefined): boolean => dim === 1;

/**
 * Cuts a reshape into the smallest runs of axes with equal products, from the front as far as the sizes are known, then
 * from the back; what is left in the middle is one run.
 */
function segmentsOf(before: readonly Dim[], after: readonly Dim[]): readonly Segment[] {
  const segments: Segment[] = [];
  let [from, to] = [0, 0];
  let [fromEnd, toEnd] = [before.length, after.length];
  const grow = (side: 1 | -1): Segment | undefined => {
    const [own, other]: [number[], number[]] = [[], []];
    const first = side === 1 ? [from, to] : [fromEnd - 1, toEnd - 1];
    let [left, right] = first as [number, number];
    if (left < from || left >= fromEnd || right < to || right >= toEnd) return undefined;
    let [product, target]: [Dim, Dim] = [before[left] ?? null, after[right] ?? null];
    own.push(left);
    other.push(right);
    while (sameDim(product, target) !== true) {
      if (typeof product !== 'number' || typeof target !== 'number') return undefined;
      if (product < target) {
        left += side;
        if (left < from || left >= fromEnd) return undefined;
        own.push(left);
        product = multiplyDims(product, before[left] ?? null);
      } else {
        right += side;
        if (right < to || right >= toEnd) return undefined;
        other.push(right);
        target = multiplyDims(target, after[right] ?? null);
      }
    }
    return side === 1 ? { from: own, to: other } : { from: own.reverse(), to: other.reverse() };
  };
  for (const side of [1, -1] as const) {
    for (;;) {
      // Axes of length 1 hold nothing: they may stand anywhere.
      if (side === 1) {
        while (from < fromEnd && isOne(before[from])) from++;
        while (to < toEnd && isOne(after[to])) to++;
      } else {
        while (fromEnd > from && isOne(before[fromEnd - 1])) fromEnd--;
        while (toEnd > to && isOne(after[toEnd - 1])) toEnd--;
      }
      const segment = grow(side);
      if (segment === undefined) break;
      segments.push(segment);
      if (side === 1) {
        from += segment.from.length;
        to += segment.to.length;
      } else {
        fromEnd -= segment.from.length;
        toEnd -= segment.to.length;
      }
    }
  }
  return segments;
}

/** A place in a run of axes where an axis ends: the number of elements behind it. */
function strides(axes: readonly number[], dims: readonly Dim[]): readonly number[] {
  const found: number[] = [];
  let behind = 1;
  for (let index = axes.length - 1; index >= 0; index--) {
    found.unshift(behind);
    behind *= dims[axes[index] as number] as number;
  }
  return found;
}

/** Which axes of a reshape belong together. */
export interface ReshapeTies {
  /** Axes that are the same before and after, however they are cut. */
  readonly ties: readonly Tie[];
  /** For merged and split axes, the ways to cut, whole blocks first. */
  readonly choices: readonly (readonly Tie[])[];
}

/**
 * The ties of a reshape. A run of axes is a number in mixed radix on both sides; the common refinement of the two gives
 * factors, and each factor is an axis, or a part of one, on each side.
 */
export function reshapeTies(before: readonly Dim[], after: readonly Dim[]): ReshapeTies {
  const ties: Tie[] = [];
  const choices: Tie[][] = [];
  for (const { from, to } of segmentsOf(before, after)) {
    const [first, second] = [from[0] as number, to[0] as number];
    if (from.length === 1 && to.length === 1) {
      if (isCuttable(before[first]) && before[first] === after[second])
        ties.push(tie(inputAxis(0, first), outputAxis(0, second)));
      continue;
    }
    const options = refine(from, to, before, after);
    if (options.length > 0) choices.push([...options]);
  }
  return { ties, choices };
}

/** One option per factor of a run of axes, outermost first; none when the two sides do not nest. */
function refine(
  from: readonly number[],
  to: readonly number[],
  before: readonly Dim[],
  after: readonly Dim[],
): readonly Tie[] {
  const own = strides(from, before);
  const other = strides(to, after);
  const total = (own[0] as number) * (before[from[0] as number] as number);
  if (!Number.isSafeInteger(total)) return [];
  const bounds = [...new Set([...own, ...other, total])].sort((left, right) => left - right);
  for (let index = 1; index < bounds.length; index++) {
    if ((bounds[index] as number) % (bounds[index - 1] as number) !== 0) return [];
  }
  const options: Tie[] = [];
  for (let index = bounds.length - 1; index > 0; index--) {
    const inner = bounds[index - 1] as number;
    const size = (bounds[index] as number) / inner;
    if (size < 2) continue;
    const end = (axes: readonly number[], list: readonly number[]): readonly [number, number] => {
      const place = list.findIndex((stride) => stride <= inner);
      return [axes[place] as number, list[place] as number];
    };
    const [fromAxis, fromStride] = end(from, own);
    const [toAxis, toStride] = end(to, other);
    options.push(
      tie(
        inputAxis(0, fromAxis, factorOf(size, inner / fromStride)),
        outputAxis(0, toAxis, factorOf(size, inner / toStride)),
      ),
    );
  }
  return options;
}

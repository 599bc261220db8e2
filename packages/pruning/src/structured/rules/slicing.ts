import { standardOpDefs } from '@lithe/core';
import {
  type AxisContext,
  type AxisEdit,
  type AxisFlow,
  type AxisRules,
  inputAxis,
  outputAxis,
  type Pin,
  type Tie,
  tie,
} from '../axis-rule.ts';
import { windowOf } from '../axis-view.ts';
import { broadcastTies, fromFront, isCuttable, unknownRank } from './shared.ts';

/** Operators that cut values and put them together. */
export type SlicingOp = 'Concat' | 'Gather' | 'Pad' | 'ReverseSequence' | 'Slice' | 'Split' | 'Trilu';

/** Number of kept indices below `end`. */
export function countBelow(kept: readonly number[], end: number): number {
  let count = 0;
  for (const index of kept) if (index < end) count++;
  return count;
}

function concatFlow(context: AxisContext): AxisFlow {
  const shape = context.outputShape(0);
  if (shape === undefined) return unknownRank;
  const at = fromFront(context.attributes(standardOpDefs.Concat).axis, shape.length);
  const ties: Tie[] = [];
  shape.forEach((dim, axis) => {
    if (axis === at || !isCuttable(dim)) return;
    const ends = Array.from({ length: context.inputCount }, (_, index) => inputAxis(index, axis));
    ties.push(tie(outputAxis(0, axis), ...ends));
  });
  let start = 0;
  for (let index = 0; index < context.inputCount; index++) {
    const length = context.shape(index)?.[at];
    if (typeof length !== 'number') return { ties, fixed: 'a length along it is not known' };
    if (length > 0) ties.push(tie(inputAxis(index, at), outputAxis(0, at, windowOf(start, length))));
    start += length;
  }
  return { ties };
}

function splitFlow(context: AxisContext): AxisFlow {
  const shape = context.shape(0);
  if (shape === undefined) return unknownRank;
  const at = fromFront(context.attributes(standardOpDefs.Split).axis, shape.length);
  const outputs = Array.from({ length: context.outputCount }, (_, index) => index);
  const ties: Tie[] = [];
  shape.forEach((dim, axis) => {
    if (axis === at || !isCuttable(dim)) return;
    const ends = outputs.filter((index) => context.gives(index)).map((index) => outputAxis(index, axis));
    ties.push(tie(inputAxis(0, axis), ...ends));
  });
  let start = 0;
  for (const index of outputs) {
    const length = context.outputShape(index)?.[at];
    if (typeof length !== 'number') return { ties, fixed: 'a length along it is not known' };
    const part = inputAxis(0, at, windowOf(start, length));
    if (length > 0) ties.push(context.gives(index) ? tie(part, outputAxis(index, at)) : tie(part));
    start += length;
  }
  return { ties };
}

function rewriteSplit(edit: AxisEdit): void {
  const shape = edit.shape(0) ?? [];
  const at = fromFront(edit.attributes(standardOpDefs.Split).axis, shape.length);
  const kept = edit.kept('input', 0, at);
  if (kept === undefined) return;
  let start = 0;
  const sizes: number[] = [];
  for (let index = 0; index < edit.outputCount; index++) {
    const length = edit.outputShape(index)?.[at] as number;
    sizes.push(countBelow(kept, start + length) - countBelow(kept, start));
    start += length;
  }
  edit.setIntegers(1, sizes);
  edit.setAttribute('num_outputs', undefined);
}

/** One sliced axis: where it starts and how many elements it gives, when its step is 1 and all of it is known. */
interface Cut {
  readonly axis: number;
  readonly start: number;
  readonly length: number;
}

/** The cuts of a Slice; `undefined` when the axes are not known. Axes whose bounds are not known come without a cut. */
function cutsOf(
  context: AxisContext,
): { readonly axes: readonly number[]; readonly cuts: readonly Cut[] } | undefined {
  const shape = context.shape(0);
  const starts = context.integers(1);
  const ends = context.integers(2);
  if (shape === undefined) return undefined;
  const count = context.sizes(1)?.length ?? starts?.length ?? ends?.length;
  const given = context.has(3)
    ? context.integers(3)
    : count === undefined
      ? undefined
      : Array.from({ length: count }, (_, index) => index);
  if (given === undefined) return undefined;
  const axes = given.map((axis) => fromFront(axis, shape.length));
  const steps = context.has(4) ? context.integers(4) : axes.map(() => 1);
  const cuts: Cut[] = [];
  if (starts !== undefined && ends !== undefined && steps?.every((step) => step === 1) === true) {
    for (const [index, axis] of axes.entries()) {
      const length = shape[axis];
      if (typeof length !== 'number') continue;
      const clamp = (bound: number): number =>
        Math.min(Math.max(bound < 0 ? bound + length : bound, 0), length);
      const start = clamp(starts[index] as number);
      cuts.push({ axis, start, length: Math.max(0, clamp(ends[index] as number) - start) });
    }
  }
  return { axes, cuts };
}

function sliceFlow(context: AxisContext): AxisFlow {
  const found = cutsOf(context);
  const fixed = 'where it is cut is computed, or in steps';
  if (found === undefined) return { ties: [], fixed };
  const except = new Set(found.axes);
  const ties = [...broadcastTies(context, { inputs: [0], except })];
  for (const { axis, start, length } of found.cuts) {
    if (length > 0) ties.push(tie(inputAxis(0, axis, windowOf(start, length)), outputAxis(0, axis)));
    // What is cut away may go as well.
    ties.push(tie(inputAxis(0, axis)));
  }
  return { ties, fixed };
}

function rewriteSlice(edit: AxisEdit): void {
  const found = cutsOf(edit);
  const [starts, ends] = [edit.integers(1), edit.integers(2)];
  if (found === undefined || starts === undefined || ends === undefined) return;
  const [newStarts, newEnds] = [[...starts], [...ends]];
  let changed = false;
  for (const { axis, start, length } of found.cuts) {
    const kept = edit.kept('input', 0, axis);
    if (kept === undefined) continue;
    const index = found.axes.indexOf(axis);
    newStarts[index] = countBelow(kept, start);
    newEnds[index] = countBelow(kept, start + length);
    changed = true;
  }
  if (!changed) return;
  edit.setIntegers(1, newStarts);
  edit.setIntegers(2, newEnds);
}

/** Zeros before and after each axis; `undefined` when they are not known. */
function padsOf(
  context: AxisContext,
): { readonly axes: readonly number[]; readonly pads: readonly number[] } | undefined {
  const shape = context.shape(0);
  const pads = context.integers(1);
  const given = context.has(3) ? context.integers(3) : shape?.map((_, axis) => axis);
  if (shape === undefined || pads === undefined || given === undefined) return undefined;
  return { axes: given.map((axis) => fromFront(axis, shape.length)), pads };
}

function padFlow(context: AxisContext): AxisFlow {
  const found = padsOf(context);
  const shape = context.shape(0);
  const fixed = 'it is padded with copies, or how much is not known';
  if (found === undefined || shape === undefined) return { ties: [], fixed };
  const { axes, pads } = found;
  const { mode } = context.attributes(standardOpDefs.Pad);
  const ties: Tie[] = [];
  shape.forEach((dim, axis) => {
    if (typeof dim !== 'number') return;
    const place = axes.indexOf(axis);
    const [before, after] = place < 0 ? [0, 0] : [pads[place] ?? 0, pads[place + axes.length] ?? 0];
    if (before === 0 && after === 0) ties.push(tie(inputAxis(0, axis), outputAxis(0, axis)));
    else if (mode === 'constant' && before >= 0 && after >= 0) {
      ties.push(
        tie(inputAxis(0, axis), outputAxis(0, axis, windowOf(before, dim))),
        tie(outputAxis(0, axis)),
      );
    }
  });
  return { ties, fixed };
}

function rewritePad(edit: AxisEdit): void {
  const found = padsOf(edit);
  const shape = edit.shape(0) ?? [];
  if (found === undefined) return;
  const pads = [...found.pads];
  let changed = false;
  for (const [place, axis] of found.axes.entries()) {
    const kept = edit.kept('output', 0, axis);
    const before = pads[place] ?? 0;
    if (kept === undefined || (before === 0 && pads[place + found.axes.length] === 0)) continue;
    pads[place] = countBelow(kept, before);
    pads[place + found.axes.length] = kept.length - countBelow(kept, before + (shape[axis] as number));
    changed = true;
  }
  if (changed) edit.setIntegers(1, pads);
}

function gatherFlow(context: AxisContext): AxisFlow {
  const shape = context.shape(0);
  const chosen = context.shape(1);
  if (shape === undefined || chosen === undefined) return unknownRank;
  const at = fromFront(context.attributes(standardOpDefs.Gather).axis, shape.length);
  const ties: Tie[] = [];
  const starts = [];
  const behind = chosen.length - 1;
  for (let axis = 0; axis < shape.length; axis++) {
    if (axis === at) continue;
    const end = outputAxis(0, axis < at ? axis : axis + behind);
    ties.push(tie(inputAxis(0, axis), end));
    if (axis > at && context.isStatic(0) && !context.isStatic(1)) starts.push(end);
  }
  const indices = context.integers(1);
  const length = shape[at];
  const pins: Pin[] = [];
  if (indices === undefined || typeof length !== 'number') {
    for (const axis of chosen.keys()) ties.push(tie(inputAxis(1, axis), outputAxis(0, at + axis)));
  } else if (chosen.length === 1) {
    const coordinates = indices.map((index) => fromFront(index, length));
    ties.push(tie(inputAxis(0, at), outputAxis(0, at, { kind: 'list', coordinates })));
  } else if (chosen.length === 0) {
    ties.push(tie(inputAxis(0, at)));
    pins.push({
      end: inputAxis(0, at),
      indices: indices.map((index) => fromFront(index, length)),
      reason: 'it is read by its number',
    });
  }
  return { ties, pins, starts, roles: { 0: 'weight' }, fixed: 'what is read along it is computed' };
}

function rewriteGather(edit: AxisEdit): void {
  const shape = edit.shape(0) ?? [];
  const at = fromFront(edit.attributes(standardOpDefs.Gather).axis, shape.length);
  const kept = edit.kept('input', 0, at);
  const indices = edit.integers(1);
  if (kept === undefined || indices === undefined) return;
  const place = new Map(kept.map((index, position) => [index, position]));
  const length = shape[at] as number;
  const left = indices.flatMap((index) => place.get(fromFront(index, length)) ?? []);
  edit.setIntegers(1, left, (edit.shape(1) ?? []).length === 0 ? [] : [left.length]);
}

/** How axes flow through operators that cut and join. */
export const slicingAxes: AxisRules<SlicingOp> = {
  Concat: { flow: concatFlow },
  Gather: { flow: gatherFlow, rewrite: rewriteGather },
  Pad: { flow: padFlow, rewrite: rewritePad },
  ReverseSequence: {
    flow: (context) => {
      const { batch_axis: batch, time_axis: time } = context.attributes(standardOpDefs.ReverseSequence);
      return {
        ties: broadcastTies(context, { inputs: [0], except: new Set([batch, time]) }),
        fixed: 'its order is turned around',
      };
    },
  },
  Slice: { flow: sliceFlow, rewrite: rewriteSlice },
  Split: { flow: splitFlow, rewrite: rewriteSplit },
  Trilu: {
    flow: (context) => {
      const rank = context.shape(0)?.length;
      if (rank === undefined) return unknownRank;
      return {
        ties: broadcastTies(context, { inputs: [0], except: new Set([rank - 2, rank - 1]) }),
        fixed: 'it is an axis of a triangle',
      };
    },
  },
};

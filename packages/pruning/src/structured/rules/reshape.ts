import { type Dim, sameDim, standardOpDefs } from '@lithe/core';
import {
  type AxisContext,
  type AxisEdit,
  type AxisFlow,
  type AxisRule,
  type AxisRules,
  inputAxis,
  outputAxis,
  type Tie,
  tie,
} from '../axis-rule.ts';
import { factorOf } from '../axis-view.ts';
import { reshapeTies } from './reshape-factors.ts';
import { fromFront, isCuttable, unknownRank } from './shared.ts';

/** Operators that give the same elements under other axes, or read sizes. */
export type ReshapeOp =
  | 'ConstantOfShape'
  | 'DepthToSpace'
  | 'Expand'
  | 'Flatten'
  | 'Reshape'
  | 'Shape'
  | 'Size'
  | 'SpaceToDepth'
  | 'Squeeze'
  | 'Tile'
  | 'Transpose'
  | 'Unsqueeze';

const unmatched = 'the axes before and after it do not nest';

function reshapeFlow(context: AxisContext): AxisFlow {
  const [before, after] = [context.shape(0), context.outputShape(0)];
  if (before === undefined || after === undefined) return unknownRank;
  const isComputed =
    context.node.is('Reshape') &&
    context.integers(1) === undefined &&
    reshapeTarget(context, after, after) === undefined;
  return { ...reshapeTies(before, after), fixed: unmatched, isComputed };
}

/** Lengths of all axes of output 0 after the cut; `null` where one is not a number. */
function shapeAfter(edit: AxisEdit): readonly Dim[] {
  return (edit.outputShape(0) ?? []).map((_, axis) => edit.lengthAfter('output', 0, axis) ?? null);
}

const isCut = (edit: AxisEdit): boolean =>
  (edit.outputShape(0) ?? []).some((_, axis) => edit.kept('output', 0, axis) !== undefined);

/**
 * A reshape's target for an output of these dims: numbers where they are known; a 0 copies a dim of the input, and one
 * dim at most may be left open.
 *
 * @param shape dims before the cut, to compare with those of the input
 * @returns `undefined` when a target cannot say it: it is computed from sizes then, and may follow them
 */
function reshapeTarget(
  context: AxisContext,
  after: readonly Dim[],
  shape: readonly Dim[],
): readonly number[] | undefined {
  const before = context.shape(0) ?? [];
  const allowsZero = context.attributes(standardOpDefs.Reshape).allowzero;
  let open = false;
  const sizes: number[] = [];
  for (const [axis, dim] of after.entries()) {
    if (typeof dim === 'number') sizes.push(dim);
    else if (!allowsZero && sameDim(before[axis] ?? null, shape[axis] ?? null) === true) sizes.push(0);
    else if (open) return undefined;
    else {
      open = true;
      sizes.push(-1);
    }
  }
  return sizes;
}

function rewriteReshape(edit: AxisEdit): void {
  if (!isCut(edit)) return;
  const after = shapeAfter(edit);
  const given = edit.integers(1);
  const target =
    given === undefined
      ? reshapeTarget(edit, after, edit.outputShape(0) ?? [])
      : given.map((size, axis) =>
          size > 0 && edit.kept('output', 0, axis) !== undefined ? (after[axis] as number) : size,
        );
  if (target !== undefined) edit.setIntegers(1, target);
}

/** Axes that a target stretches from 1 may be cut, when the target can say so. */
function expandFlow(context: AxisContext): AxisFlow {
  const [before, after] = [context.shape(0), context.outputShape(0)];
  if (before === undefined || after === undefined) return unknownRank;
  const ties: Tie[] = [];
  after.forEach((dim, axis) => {
    if (!isCuttable(dim)) return;
    const at = axis - after.length + before.length;
    if (at < 0 || before[at] === 1) ties.push(tie(outputAxis(0, axis)));
    else if (before[at] === dim) ties.push(tie(inputAxis(0, at), outputAxis(0, axis)));
  });
  const isComputed = expandTarget(context, after, after) === undefined;
  return { ties, fixed: 'the size it is stretched to is not known', isComputed };
}

/** A target that stretches to these dims; `undefined` when it cannot say so. A 1 keeps what is there. */
function expandTarget(
  context: AxisContext,
  after: readonly Dim[],
  shape: readonly Dim[],
): readonly number[] | undefined {
  const before = context.shape(0) ?? [];
  const sizes: number[] = [];
  for (const [axis, dim] of after.entries()) {
    const own = before[axis - shape.length + before.length] ?? null;
    if (typeof dim === 'number') sizes.push(dim);
    else if (sameDim(own, shape[axis] ?? null) === true) sizes.push(1);
    else return undefined;
  }
  return sizes;
}

function rewriteExpand(edit: AxisEdit): void {
  const target = isCut(edit) ? expandTarget(edit, shapeAfter(edit), edit.outputShape(0) ?? []) : undefined;
  if (target !== undefined) edit.setIntegers(1, target);
}

function rewriteConstantOfShape(edit: AxisEdit): void {
  if (!isCut(edit)) return;
  const after = shapeAfter(edit);
  if (after.every((dim) => typeof dim === 'number')) edit.setIntegers(0, after as readonly number[]);
}

/** Whether sizes that a `Shape` node reads end up as numbers of a computation, and not only in shapes. */
function feedsArithmetic(context: AxisContext): boolean {
  const seen = new Set(context.node.outputs);
  for (const value of seen) {
    for (const { node } of value.uses) {
      if (node.is('Cast') && node.attributes.get('to')?.kind === 'int') {
        const to = node.attributes.get('to');
        if (to?.kind === 'int' && [1n, 10n, 11n, 16n].includes(to.value)) return true;
      }
      if (node.outputs.every((output) => output.dtype === 'int64' || output.dtype === 'int32'))
        for (const output of node.outputs) seen.add(output);
    }
  }
  return false;
}

function sizeReader(isRead: (axis: number, context: AxisContext) => boolean): AxisRule {
  return {
    flow: (context) => {
      const shape = context.shape(0);
      if (shape === undefined) return unknownRank;
      const counts = feedsArithmetic(context);
      return {
        ties: shape.map((_, axis) => ({
          ends: [inputAxis(0, axis)],
          inexact: counts && isRead(axis, context) ? 'its length is a number in a computation' : undefined,
        })),
      };
    },
  };
}

/** How axes flow through operators that reshape. */
export const reshapeAxes: AxisRules<ReshapeOp> = {
  ConstantOfShape: {
    flow: (context) => ({
      ties: (context.outputShape(0) ?? []).flatMap((dim, axis) =>
        isCuttable(dim) ? [tie(outputAxis(0, axis))] : [],
      ),
      fixed: 'its length is not known',
      isComputed: (context.outputShape(0) ?? []).some((dim) => typeof dim !== 'number'),
    }),
    rewrite: rewriteConstantOfShape,
  },
  DepthToSpace: {
    flow: (context) => {
      const { blocksize, mode } = context.attributes(standardOpDefs.DepthToSpace);
      const channels = context.outputShape(0)?.[1];
      const fixed = 'it is mixed with positions';
      if (!isCuttable(channels)) return { ties: [], fixed };
      const view = mode === 'DCR' ? factorOf(channels) : factorOf(channels, blocksize * blocksize);
      return {
        ties: [tie(inputAxis(0, 0), outputAxis(0, 0)), tie(inputAxis(0, 1, view), outputAxis(0, 1))],
        fixed,
      };
    },
  },
  Expand: { flow: expandFlow, rewrite: rewriteExpand },
  Flatten: { flow: reshapeFlow },
  Reshape: { flow: reshapeFlow, rewrite: rewriteReshape },
  Shape: sizeReader((axis, context) => {
    const { start, end } = context.attributes(standardOpDefs.Shape);
    const rank = (context.shape(0) ?? []).length;
    return axis >= fromFront(start, rank) && axis < fromFront(end ?? rank, rank);
  }),
  Size: sizeReader(() => true),
  SpaceToDepth: {
    flow: (context) => {
      const channels = context.shape(0)?.[1];
      const fixed = 'it is mixed with positions';
      if (!isCuttable(channels)) return { ties: [], fixed };
      return {
        ties: [
          tie(inputAxis(0, 0), outputAxis(0, 0)),
          tie(inputAxis(0, 1), outputAxis(0, 1, factorOf(channels))),
        ],
        fixed,
      };
    },
  },
  Squeeze: {
    flow: (context) => {
      const shape = context.shape(0);
      const axes = context.has(1) ? context.integers(1) : undefined;
      if (shape === undefined || (context.has(1) && axes === undefined)) return unknownRank;
      const gone = new Set(axes?.map((axis) => fromFront(axis, shape.length)));
      const kept = shape.flatMap((dim, axis) => {
        const stays = axes === undefined ? dim !== 1 : !gone.has(axis);
        return stays ? [axis] : [];
      });
      return { ties: kept.map((axis, index) => tie(inputAxis(0, axis), outputAxis(0, index))) };
    },
  },
  Tile: {
    flow: (context) => {
      const repeats = context.integers(1);
      const shape = context.shape(0);
      if (shape === undefined || repeats === undefined)
        return { ties: [], fixed: 'how often it is repeated is not known' };
      return {
        ties: shape.flatMap((dim, axis) =>
          isCuttable(dim) ? [tie(inputAxis(0, axis), outputAxis(0, axis, factorOf(dim)))] : [],
        ),
        fixed: 'it repeats one element',
      };
    },
  },
  Transpose: {
    flow: (context) => {
      const shape = context.shape(0);
      if (shape === undefined) return unknownRank;
      const order =
        context.attributes(standardOpDefs.Transpose).perm ?? shape.map((_, axis) => shape.length - 1 - axis);
      return {
        ties: order.map((axis, index) =>
          tie(inputAxis(0, fromFront(axis, shape.length)), outputAxis(0, index)),
        ),
      };
    },
  },
  Unsqueeze: {
    flow: (context) => {
      const [shape, after, axes] = [context.shape(0), context.outputShape(0), context.integers(1)];
      if (shape === undefined || after === undefined || axes === undefined) return unknownRank;
      const fresh = new Set(axes.map((axis) => fromFront(axis, after.length)));
      const kept = after.flatMap((_, axis) => (fresh.has(axis) ? [] : [axis]));
      return { ties: kept.map((axis, index) => tie(inputAxis(0, index), outputAxis(0, axis))) };
    },
  },
};

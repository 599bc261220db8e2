import { standardOpDefs } from '@lithe/core';
import {
  type AxisContext,
  type AxisEdit,
  type AxisRules,
  inputAxis,
  outputAxis,
  type Tie,
  tie,
} from '../axis-rule.ts';
import { fromFront, leadingAxes, unknownRank } from './shared.ts';

/** Operators over windows and positions of images. */
export type PoolingOp =
  | 'AveragePool'
  | 'GlobalAveragePool'
  | 'GlobalLpPool'
  | 'GlobalMaxPool'
  | 'GridSample'
  | 'LpPool'
  | 'MaxPool'
  | 'MaxRoiPool'
  | 'Resize'
  | 'RoiAlign';

const positions = 'it is an axis of positions';
const windows = leadingAxes(2, positions);

/** Regions of interest [R, …] are cut out of images [N, C, …] into [R, C, …]. */
const regions = {
  flow: () => ({ ties: [tie(inputAxis(0, 1), outputAxis(0, 1))], fixed: positions }),
};

/** The axes that a Resize names, in order. */
function resizedAxes(context: AxisContext, rank: number): readonly number[] {
  const { axes } = context.attributes(standardOpDefs.Resize);
  return axes === undefined
    ? Array.from({ length: rank }, (_, axis) => axis)
    : axes.map((axis) => fromFront(axis, rank));
}

/** How axes flow through pooling and sampling. */
export const poolingAxes: AxisRules<PoolingOp> = {
  AveragePool: windows,
  GlobalAveragePool: windows,
  GlobalLpPool: windows,
  GlobalMaxPool: windows,
  GridSample: {
    flow: () => ({
      ties: [tie(inputAxis(0, 0), inputAxis(1, 0), outputAxis(0, 0)), tie(inputAxis(0, 1), outputAxis(0, 1))],
      fixed: positions,
    }),
  },
  LpPool: windows,
  MaxPool: {
    flow: (context) =>
      // The second result counts positions through all channels.
      context.gives(1)
        ? { ties: [], fixed: 'the second result holds positions that count all channels' }
        : windows.flow(context),
  },
  MaxRoiPool: regions,
  Resize: {
    flow: (context) => {
      const [before, after] = [context.shape(0), context.outputShape(0)];
      if (before === undefined || after === undefined) return unknownRank;
      const named = resizedAxes(context, before.length);
      const known = !context.has(3) || context.integers(3) !== undefined;
      const ties: Tie[] = [];
      before.forEach((dim, axis) => {
        // Sizes that are computed cannot be written anew, unless they leave the axis alone.
        if (typeof dim !== 'number' || dim !== after[axis] || (named.includes(axis) && !known)) return;
        ties.push(tie(inputAxis(0, axis), outputAxis(0, axis)));
      });
      return { ties, fixed: positions };
    },
    rewrite: (edit: AxisEdit) => {
      const sizes = edit.has(3) ? edit.integers(3) : undefined;
      const named = resizedAxes(edit, (edit.shape(0) ?? []).length);
      if (sizes === undefined || !named.some((axis) => edit.kept('output', 0, axis) !== undefined)) return;
      edit.setIntegers(
        3,
        named.map((axis, index) => edit.kept('output', 0, axis)?.length ?? (sizes[index] as number)),
      );
    },
  },
  RoiAlign: regions,
};

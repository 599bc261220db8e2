import { attribute, standardOpDefs } from '@lithe/core';
import {
  type AxisContext,
  type AxisEdit,
  type AxisFlow,
  type AxisRules,
  inputAxis,
  outputAxis,
  type Tie,
  tie,
} from '../axis-rule.ts';
import { factorOf } from '../axis-view.ts';
import { broadcastTies, elementwise, fromFront, unknownRank } from './shared.ts';
import { countBelow } from './slicing.ts';

/** Normalizations. */
export type NormalizationOp =
  | 'BatchNormalization'
  | 'GroupNormalization'
  | 'InstanceNormalization'
  | 'LRN'
  | 'LayerNormalization'
  | 'LpNormalization'
  | 'MeanVarianceNormalization';

const statistics = 'statistics are taken along it';
const counted = 'the normalization takes its statistics over all channels';

/** Axes of a value and one number per channel in each of the parameters. */
function channelTies(parameters: readonly number[], outputs: readonly number[]): Tie {
  return tie(
    inputAxis(0, 1),
    outputAxis(0, 1),
    ...parameters.map((index) => inputAxis(index, 0)),
    ...outputs.map((index) => outputAxis(index, 0)),
  );
}

/** Normalizes the axes from `axis` on, which the parameters follow. */
export function layerNormalizationFlow(
  context: AxisContext,
  axis: number,
  parameters: readonly number[],
): AxisFlow {
  const shape = context.shape(0);
  if (shape === undefined) return unknownRank;
  const from = fromFront(axis, shape.length);
  const ties = broadcastTies(context, { inputs: [0, ...parameters] }).map((one) => ({
    ...one,
    inexact: (one.ends[0]?.axis ?? 0) >= from ? counted : undefined,
  }));
  // Statistics keep the axes before; behind, they have length 1.
  for (let index = 0; index < from; index++) {
    for (const output of [1, 2]) {
      if (context.gives(output))
        ties.push({ ...tie(inputAxis(0, index), outputAxis(output, index)), inexact: undefined });
    }
  }
  return { ties, roles: { 1: 'scale', 2: 'bias' }, fixed: 'the sizes along it are not known' };
}

function groupNormalizationFlow(context: AxisContext): AxisFlow {
  const channels = context.shape(0)?.[1];
  const { num_groups: groups } = context.attributes(standardOpDefs.GroupNormalization);
  if (typeof channels !== 'number') return unknownRank;
  const size = channels / groups;
  const base = { roles: { 1: 'scale', 2: 'bias' }, fixed: statistics } as const;
  const batch = tie(inputAxis(0, 0), outputAxis(0, 0));
  const all = channelTies([1, 2], []);
  if (groups === 1) return { ...base, ties: [batch, { ...all, inexact: counted }] };
  if (size === 1) return { ...base, ties: [batch, all] };
  // Whole groups, whose statistics go with them, or one channel out of each.
  const whole = tie(inputAxis(0, 1, factorOf(groups, size)));
  const each: Tie = { ...tie(inputAxis(0, 1, factorOf(size))), inexact: counted };
  return { ...base, ties: [batch, all], choices: [groups >= size ? [whole, each] : [each, whole]] };
}

function rewriteGroupNormalization(edit: AxisEdit): void {
  const channels = edit.shape(0)?.[1];
  const kept = edit.kept('input', 0, 1);
  if (kept === undefined || typeof channels !== 'number') return;
  const { num_groups: groups } = edit.attributes(standardOpDefs.GroupNormalization);
  const size = channels / groups;
  let left = 0;
  for (let index = 0; index < groups; index++) {
    if (countBelow(kept, (index + 1) * size) > countBelow(kept, index * size)) left++;
  }
  edit.setAttribute('num_groups', attribute.int(left));
}

/** How axes flow through normalizations. */
export const normalizationAxes: AxisRules<NormalizationOp> = {
  BatchNormalization: {
    flow: (context) => {
      const shape = context.shape(0);
      if (shape === undefined) return unknownRank;
      const outputs = [1, 2].filter((index) => context.gives(index));
      const ties = [
        ...broadcastTies(context, { inputs: [0], except: new Set([1]) }),
        channelTies([1, 2, 3, 4], outputs),
      ];
      return { ties, roles: { 1: 'scale', 2: 'bias', 3: 'statistic', 4: 'statistic' } };
    },
  },
  GroupNormalization: { flow: groupNormalizationFlow, rewrite: rewriteGroupNormalization },
  InstanceNormalization: {
    flow: () => ({
      ties: [tie(inputAxis(0, 0), outputAxis(0, 0)), channelTies([1, 2], [])],
      roles: { 1: 'scale', 2: 'bias' },
      fixed: statistics,
    }),
  },
  LRN: {
    flow: (context) => ({
      ties: broadcastTies(context, { inputs: [0] }).map((one) =>
        one.ends[0]?.axis === 1
          ? { ...one, inexact: 'neighbouring channels are weighed against each other' }
          : one,
      ),
      fixed: statistics,
    }),
  },
  LayerNormalization: {
    flow: (context) =>
      layerNormalizationFlow(context, context.attributes(standardOpDefs.LayerNormalization).axis, [1, 2]),
  },
  // The norm of a vector is the same without its zeros.
  LpNormalization: elementwise([0]),
  MeanVarianceNormalization: {
    flow: (context) => {
      const { axes } = context.attributes(standardOpDefs.MeanVarianceNormalization);
      const rank = context.shape(0)?.length;
      if (rank === undefined) return unknownRank;
      const over = new Set(axes.map((axis) => fromFront(axis, rank)));
      return { ties: broadcastTies(context, { inputs: [0], except: over }), fixed: statistics };
    },
  },
};

import { attribute } from '@lithe/core';
import {
  type AxisContext,
  type AxisEnd,
  type AxisFlow,
  type AxisRule,
  type AxisRules,
  inputAxis,
  outputAxis,
  tie,
} from '../axis-rule.ts';
import { factorOf } from '../axis-view.ts';

/** Recurrent operators. */
export type RecurrentOp = 'GRU' | 'LSTM' | 'RNN';

/**
 * X […, I], W [directions, gates * H, I], R [directions, gates * H, H], B [directions, 2 * gates * H], states […, H],
 * P [directions, 3 * H], outputs […, H]. Both directions of a bidirectional layer lose the same hidden units.
 */
function recurrentFlow(
  context: AxisContext,
  states: readonly number[],
  peepholes: number | undefined,
): AxisFlow {
  const hidden = context.shape(2)?.[2];
  if (typeof hidden !== 'number') return { ties: [], fixed: 'the hidden size is not known' };
  const gates = factorOf(hidden);
  const ends: AxisEnd[] = [inputAxis(1, 1, gates), inputAxis(2, 1, gates), inputAxis(2, 2)];
  if (context.has(3)) ends.push(inputAxis(3, 1, gates));
  for (const index of states) if (context.has(index)) ends.push(inputAxis(index, 2));
  if (peepholes !== undefined && context.has(peepholes)) ends.push(inputAxis(peepholes, 1, gates));
  for (const [index, axis] of [
    [0, 3],
    [1, 2],
    [2, 2],
  ] as const)
    if (context.gives(index)) ends.push(outputAxis(index, axis));
  const first = ends.find((end) => end.side === 'output');
  return {
    ties: [tie(inputAxis(0, 2), inputAxis(1, 2)), tie(...ends)],
    starts: first !== undefined && context.isStatic(1) && context.isStatic(2) ? [first] : [],
    roles: { 1: 'weight', 2: 'weight', 3: 'bias', 7: 'weight' },
    fixed: 'it is an axis of time, batch or direction',
  };
}

function recurrentRule(states: readonly number[], peepholes?: number): AxisRule {
  return {
    flow: (context) => recurrentFlow(context, states, peepholes),
    rewrite: (edit) => {
      const kept = edit.kept('input', 2, 2);
      if (kept !== undefined) edit.setAttribute('hidden_size', attribute.int(kept.length));
    },
  };
}

/** How axes flow through recurrent layers. */
export const recurrentAxes: AxisRules<RecurrentOp> = {
  GRU: recurrentRule([5]),
  LSTM: recurrentRule([5, 6], 7),
  RNN: recurrentRule([5]),
};

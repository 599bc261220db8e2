import type { Dim } from '@lithe/core';
import {
  type AxisContext,
  type AxisFlow,
  type AxisRule,
  inputAxis,
  outputAxis,
  type Tie,
  tie,
} from '../axis-rule.ts';

/** Why nothing is known where a rank is missing. */
export const unknownRank: AxisFlow = { ties: [], fixed: 'the number of its dims is not known' };

/** An axis counted from the front. */
export function fromFront(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** Whether an axis can be cut at all: its length is a number above 1. */
export function isCuttable(dim: Dim | undefined): dim is number {
  return typeof dim === 'number' && dim > 1;
}

/**
 * Ties each axis of the outputs to the axes of the inputs that broadcast to it.
 *
 * @param except axes of the output that stay
 */
export function broadcastTies(
  context: AxisContext,
  options: {
    readonly inputs?: readonly number[] | undefined;
    readonly outputs?: readonly number[] | undefined;
    readonly except?: ReadonlySet<number> | undefined;
    readonly inexact?: string | undefined;
  } = {},
): readonly Tie[] {
  const { outputs = [0], except, inexact } = options;
  const inputs = options.inputs ?? Array.from({ length: context.inputCount }, (_, index) => index);
  const shape = context.outputShape(outputs[0] ?? 0);
  if (shape === undefined) return [];
  const ties: Tie[] = [];
  shape.forEach((dim, axis) => {
    if (!isCuttable(dim) || except?.has(axis) === true) return;
    const ends = outputs.filter((index) => context.gives(index)).map((index) => outputAxis(index, axis));
    for (const index of inputs) {
      if (!context.has(index)) continue;
      const own = context.shape(index);
      if (own === undefined) return;
      const at = axis - shape.length + own.length;
      if (at < 0 || own[at] === 1) continue;
      if (own[at] !== dim) return;
      ends.push(inputAxis(index, at));
    }
    ties.push({ ends, inexact });
  });
  return ties;
}

/** A rule for an operator that treats each element by itself: inputs broadcast to the outputs. */
export function elementwise(inputs?: readonly number[], outputs: readonly number[] = [0]): AxisRule {
  return {
    flow: (context) => ({
      ties: broadcastTies(context, { inputs, outputs }),
      fixed: 'the sizes along it are not known well enough',
    }),
  };
}

/** A rule for an operator that looks along one axis, given by its attribute `axis`, and treats the others apart. */
export function alongAxis(axis: (context: AxisContext) => number, reason: string): AxisRule {
  return {
    flow: (context) => {
      const shape = context.shape(0);
      if (shape === undefined) return unknownRank;
      const except = new Set([fromFront(axis(context), shape.length)]);
      return { ties: broadcastTies(context, { inputs: [0], except }), fixed: reason };
    },
  };
}

/** Ties the first `count` axes of input 0 to those of output 0: batch and channels of operators over windows. */
export function leadingAxes(count: number, reason: string): AxisRule {
  return {
    flow: () => ({
      ties: Array.from({ length: count }, (_, axis) => tie(inputAxis(0, axis), outputAxis(0, axis))),
      fixed: reason,
    }),
  };
}

import { standardOpDefs } from '@lithe/core';
import {
  type AxisContext,
  type AxisRule,
  type AxisRules,
  inputAxis,
  outputAxis,
  type Tie,
  tie,
} from '../axis-rule.ts';
import { broadcastTies, fromFront, unknownRank } from './shared.ts';

/** Reductions and selections along axes. */
export type ReductionOp =
  | 'ArgMax'
  | 'ArgMin'
  | 'ReduceL1'
  | 'ReduceL2'
  | 'ReduceLogSum'
  | 'ReduceLogSumExp'
  | 'ReduceMax'
  | 'ReduceMean'
  | 'ReduceMin'
  | 'ReduceProd'
  | 'ReduceSum'
  | 'ReduceSumSquare'
  | 'TopK';

const chosen = 'the result says which of its indices was chosen';
const mean = 'a mean is taken over it';
const extreme = 'an extreme is taken over it';

/** All reductions have these two attributes, with these defaults. */
const reduceOp = standardOpDefs.ReduceSum;

/**
 * A reduction: what is reduced may be cut, as far as the result allows it.
 *
 * @param inexact why the result changes when a zero is taken away; nothing where it does not
 */
function reduction(inexact?: string): AxisRule {
  return {
    flow: (context) => {
      const shape = context.shape(0);
      if (shape === undefined) return unknownRank;
      const { keepdims, noop_with_empty_axes: noop } = context.attributes(reduceOp);
      const given = context.has(1) ? context.integers(1) : [];
      if (given === undefined) return { ties: [], fixed: 'the axes that are reduced are not known' };
      const all = given.length === 0 && !noop;
      const reduced = new Set(given.map((axis) => fromFront(axis, shape.length)));
      const ties: Tie[] = [];
      let next = 0;
      shape.forEach((_, axis) => {
        const isReduced = all || reduced.has(axis);
        if (isReduced) ties.push({ ...tie(inputAxis(0, axis)), inexact });
        else ties.push(tie(inputAxis(0, axis), outputAxis(0, next)));
        if (!isReduced || keepdims) next++;
      });
      return { ties };
    },
  };
}

function argument(
  attributes: (context: AxisContext) => { readonly axis: number; readonly keepdims: boolean },
): AxisRule {
  return {
    flow: (context) => {
      const shape = context.shape(0);
      if (shape === undefined) return unknownRank;
      const { axis, keepdims } = attributes(context);
      const at = fromFront(axis, shape.length);
      const ties: Tie[] = [];
      shape.forEach((_, index) => {
        if (index === at) return;
        ties.push(tie(inputAxis(0, index), outputAxis(0, index > at && !keepdims ? index - 1 : index)));
      });
      return { ties, fixed: chosen };
    },
  };
}

/** How axes flow through reductions. */
export const reductionAxes: AxisRules<ReductionOp> = {
  ArgMax: argument((context) => context.attributes(standardOpDefs.ArgMax)),
  ArgMin: argument((context) => context.attributes(standardOpDefs.ArgMin)),
  ReduceL1: reduction(),
  ReduceL2: reduction(),
  ReduceLogSum: reduction(),
  ReduceLogSumExp: reduction('exp of 0 counts in the sum'),
  ReduceMax: reduction(extreme),
  ReduceMean: reduction(mean),
  ReduceMin: reduction(extreme),
  ReduceProd: reduction('a product is taken over it'),
  ReduceSum: reduction(),
  ReduceSumSquare: reduction(),
  TopK: {
    flow: (context) => {
      const shape = context.shape(0);
      if (shape === undefined) return unknownRank;
      const except = new Set([fromFront(context.attributes(standardOpDefs.TopK).axis, shape.length)]);
      return { ties: broadcastTies(context, { inputs: [0], outputs: [0, 1], except }), fixed: chosen };
    },
  },
};

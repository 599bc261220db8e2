import { type AttributeSpecs, type AttributesOf, attribute, type OpDef, standardOpDefs } from '@lithe/core';
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
import { countBelow } from './slicing.ts';

/** Convolutions. */
export type ConvolutionOp = 'Conv' | 'ConvTranspose';

const positions = 'it is an axis of positions or of the kernel';

/** How many channels there are, and how many of each side a group has. */
interface Groups {
  readonly count: number;
  readonly inputs: number;
  readonly outputs: number;
}

type Grouped = OpDef<
  string,
  AttributeSpecs & { readonly group: (typeof standardOpDefs.Conv.attributes)['group'] }
>;

function groupOf(context: AxisContext, op: Grouped): number {
  return (context.attributes(op) as AttributesOf<typeof op.attributes>).group;
}

/**
 * Cuts through groups of channels. Each group has as many channels as any other, so either whole groups go, or one
 * channel out of every group. What leaves more to choose from comes first.
 *
 * @param weightInput axis of the weights that holds the input channels of a group; absent for a transposed convolution
 * @param weightOutput axis of the weights that holds the output channels of a group; absent for a convolution
 */
function groupChoices(
  groups: Groups,
  weightInput: number | undefined,
  weightOutput: number | undefined,
): readonly Tie[] {
  const { count, inputs, outputs } = groups;
  const whole = tie(inputAxis(0, 1, factorOf(count, inputs)), outputAxis(0, 1, factorOf(count, outputs)));
  const each: Tie[] = [];
  if (outputs > 1) {
    const end = outputAxis(0, 1, factorOf(outputs));
    each.push(weightOutput === undefined ? tie(end) : tie(end, inputAxis(1, weightOutput)));
  }
  if (inputs > 1) {
    const end = inputAxis(0, 1, factorOf(inputs));
    each.push(weightInput === undefined ? tie(end) : tie(end, inputAxis(1, weightInput)));
  }
  return count >= Math.max(inputs, outputs) ? [whole, ...each] : [...each, whole];
}

/** X [N, C, …], W [M, C / group, …], B [M], Y [N, M, …]. */
export function convolutionFlow(context: AxisContext, op: Grouped): AxisFlow {
  const weights = context.shape(1);
  const group = groupOf(context, op);
  const [filters, inputs] = weights ?? [];
  if (typeof filters !== 'number' || typeof inputs !== 'number')
    return { ties: [], fixed: 'the size of the weights is not known' };
  const outputs = filters / group;
  const bias = context.has(2) ? [inputAxis(2, 0)] : [];
  const made = tie(outputAxis(0, 1), inputAxis(1, 0), ...bias);
  const base: AxisFlow = {
    ties: [tie(inputAxis(0, 0), outputAxis(0, 0)), made],
    starts: context.isStatic(1) ? [outputAxis(0, 1)] : [],
    roles: { 1: 'weight', 2: 'bias' },
    fixed: positions,
  };
  if (group === 1) return { ...base, ties: [...base.ties, tie(inputAxis(0, 1), inputAxis(1, 1))] };
  if (inputs === 1 && outputs === 1)
    return { ...base, ties: [...base.ties, tie(inputAxis(0, 1), outputAxis(0, 1))] };
  return { ...base, choices: [groupChoices({ count: group, inputs, outputs }, 1, undefined)] };
}

/** Sets the number of groups to those that are left. */
export function rewriteGroups(edit: AxisEdit, op: Grouped): void {
  const group = groupOf(edit, op);
  const channels = edit.outputShape(0)?.[1];
  const kept = edit.kept('output', 0, 1);
  if (group === 1 || kept === undefined || typeof channels !== 'number') return;
  const size = channels / group;
  let left = 0;
  for (let index = 0; index < group; index++) {
    if (countBelow(kept, (index + 1) * size) > countBelow(kept, index * size)) left++;
  }
  edit.setAttribute('group', attribute.int(left));
}

/** X [N, C, …], W [C, M / group, …], B [M], Y [N, M, …]. */
function transposedFlow(context: AxisContext): AxisFlow {
  const weights = context.shape(1);
  const group = groupOf(context, standardOpDefs.ConvTranspose);
  const [channels, outputs] = weights ?? [];
  if (typeof channels !== 'number' || typeof outputs !== 'number')
    return { ties: [], fixed: 'the size of the weights is not known' };
  const bias = context.has(2) ? [inputAxis(2, 0)] : [];
  const base: AxisFlow = {
    ties: [
      tie(inputAxis(0, 0), outputAxis(0, 0)),
      tie(inputAxis(0, 1), inputAxis(1, 0)),
      tie(outputAxis(0, 1), ...bias),
    ],
    starts: context.isStatic(1) ? [outputAxis(0, 1)] : [],
    roles: { 1: 'weight', 2: 'bias' },
    fixed: positions,
  };
  if (group === 1) return { ...base, ties: [...base.ties, tie(outputAxis(0, 1), inputAxis(1, 1))] };
  const inputs = channels / group;
  if (inputs === 1 && outputs === 1)
    return { ...base, ties: [...base.ties, tie(inputAxis(0, 1), outputAxis(0, 1))] };
  return { ...base, choices: [groupChoices({ count: group, inputs, outputs }, undefined, 1)] };
}

/** The rule of a convolution with attribute `group`. */
export function convolutionRule(op: Grouped): AxisRule {
  return { flow: (context) => convolutionFlow(context, op), rewrite: (edit) => rewriteGroups(edit, op) };
}

/** How axes flow through convolutions. */
export const convolutionAxes: AxisRules<ConvolutionOp> = {
  Conv: convolutionRule(standardOpDefs.Conv),
  ConvTranspose: {
    flow: transposedFlow,
    rewrite: (edit) => rewriteGroups(edit, standardOpDefs.ConvTranspose),
  },
};

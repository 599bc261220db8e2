import { Tensor } from '@lithe/core';
import type { Case } from '../../../../packages/training/test/gradient-check.ts';

/** A case at a point where the slope jumps, or where several elements are the largest. */
interface Kink {
  readonly what: string;
  readonly item: Case;
  /** The numbers of each input. */
  readonly at: readonly (readonly number[])[];
}

const scalar = (value: number): Tensor => Tensor.from('float64', [], Float64Array.of(value));

const one = (op: string, x: number, attributes: NonNullable<Case['attributes']> = {}): Kink => ({
  what: `${op} at ${x}`,
  item: { op, inputs: [[1]], attributes },
  at: [[x]],
});

const tie = (
  op: string,
  shape: readonly number[],
  attributes: NonNullable<Case['attributes']> = {},
): Kink => ({
  what: `${op} of two equal elements`,
  item: { op, inputs: [shape], attributes },
  at: [[1, 1]],
});

const zeros = (
  op: string,
  shape: readonly number[] = [2],
  attributes: NonNullable<Case['attributes']> = {},
): Kink => ({
  what: `${op} of zeros${attributes['p'] === undefined ? '' : `, p ${attributes['p']}`}`,
  item: { op, inputs: [shape], attributes },
  at: [[0, 0]],
});

const clip: Case = { op: 'Clip', inputs: [[1], scalar(-1), scalar(1)] };
const pair: Case['inputs'] = [[1], [1]];
const equal = [[1], [1]];

/** Every case has one element of output, so that its gradient over the weight of the loss is the slope. */
export const kinks: readonly Kink[] = [
  ...['Abs', 'Relu', 'LeakyRelu', 'Elu', 'Selu', 'Softsign'].map((op) => one(op, 0)),
  one('HardSigmoid', -2.5),
  one('HardSigmoid', 2.5),
  one('HardSwish', -3),
  one('HardSwish', 3),
  one('ThresholdedRelu', 1),
  one('Shrink', 1, { lambd: 1, bias: 0.5 }),
  { what: 'PRelu at 0, slope 1', item: { op: 'PRelu', inputs: pair }, at: [[0], [1]] },
  { what: 'Clip at the lower bound', item: clip, at: [[-1]] },
  { what: 'Clip at the upper bound', item: clip, at: [[1]] },
  { what: 'Max of two equal inputs', item: { op: 'Max', inputs: pair }, at: equal },
  { what: 'Min of two equal inputs', item: { op: 'Min', inputs: pair }, at: equal },
  { what: 'Max of three equal inputs', item: { op: 'Max', inputs: [[1], [1], [1]] }, at: [[1], [1], [1]] },
  tie('ReduceMax', [2]),
  tie('ReduceMin', [2]),
  tie('MaxPool', [1, 1, 2], { kernel_shape: [2] }),
  tie('GlobalMaxPool', [1, 1, 2]),
  { what: 'ReduceProd of two zeros', item: { op: 'ReduceProd', inputs: [[2]] }, at: [[0, 0]] },
  { what: 'ReduceProd of 0 and 3', item: { op: 'ReduceProd', inputs: [[2]] }, at: [[0, 3]] },
  { what: 'Pow of 0 by 2', item: { op: 'Pow', inputs: pair }, at: [[0], [2]] },
  zeros('ReduceL1'),
  zeros('ReduceL2'),
  zeros('LpNormalization', [1, 2], { axis: 1, p: 2 }),
  zeros('LpNormalization', [1, 2], { axis: 1, p: 1 }),
  zeros('MeanVarianceNormalization', [1, 1, 1, 2]),
  ...[1, 2, 3].flatMap((p) => [
    zeros('GlobalLpPool', [1, 1, 2], { p }),
    zeros('LpPool', [1, 1, 2], { p, kernel_shape: [2] }),
  ]),
];

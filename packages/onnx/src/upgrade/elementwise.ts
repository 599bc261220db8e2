import { attribute, constantOf } from '@lithe/core';
import type { Adapter, AdapterTable } from './adapter.ts';
import { drop, keepDefault } from './adapter.ts';
import { Blocked } from './rewrite.ts';

/** Before opset 7, operators of two inputs broadcast only when told to, the second along a named axis. */
const broadcast: Adapter = (rewrite) => {
  const wanted = (rewrite.int('broadcast') ?? 0n) !== 0n;
  const axis = rewrite.int('axis');
  const [left = null, right = null] = rewrite.node.inputs;
  if (wanted && axis !== undefined && left !== null && right !== null) {
    const rank = rewrite.types.rankOf(left);
    const inner = rewrite.types.rankOf(right);
    if (rank === undefined || inner === undefined)
      throw new Blocked('it broadcasts along an axis of unknown rank');
    const start = Number(axis) + (axis < 0n ? rank : 0);
    const missing = rank - start - inner;
    if (start < 0 || missing < 0) throw new Blocked(`it broadcasts along axis ${axis}, which does not fit`);
    if (missing > 0) {
      const axes = Array.from({ length: missing }, (_, index) => BigInt(inner + index));
      // In the form of opset 7; the step to 13 turns the attribute into an input.
      const widened = rewrite.before('Unsqueeze', [right], { axes: attribute.ints(axes) });
      rewrite.graph.setInput(rewrite.node, 1, widened);
    }
  }
  drop('broadcast', 'axis', 'consumed_inputs')(rewrite);
};

const withBroadcast = { 6: drop('consumed_inputs'), 7: broadcast } as const;
const consumed = { 6: drop('consumed_inputs') } as const;

const clip: Adapter = (rewrite) => {
  const low = rewrite.float('min');
  const high = rewrite.float('max');
  const input = rewrite.node.input(0);
  const minimum = low === undefined ? null : rewrite.scalarLike('min', low, input);
  const maximum = high === undefined ? null : rewrite.scalarLike('max', high, input);
  drop('min', 'max')(rewrite);
  rewrite.setInputs([input, minimum, maximum]);
};

/** The mask changed its type at opset 10, and what it holds in inference was not said before 12. */
const dropout: Adapter = (rewrite) => {
  const mask = rewrite.node.outputs[1];
  if (mask !== undefined && mask.name !== '' && !mask.isUnused) throw new Blocked('its mask is used');
  const ratio = rewrite.float('ratio');
  const attributes = new Map(rewrite.node.attributes);
  attributes.delete('ratio');
  const input = rewrite.node.input(0);
  const inputs = [input];
  if (ratio !== undefined && ratio !== 0.5) inputs.push(rewrite.scalarLike('ratio', ratio, input));
  rewrite.set('ratio', undefined);
  rewrite.setInputs(inputs);
};

/** Before opset 7, a node said whether it was for testing; one that is not drops at random. */
const dropoutTest: Adapter = (rewrite) => {
  if ((rewrite.int('is_test') ?? 0n) === 0n) throw new Blocked('it is in training mode');
  drop('is_test', 'consumed_inputs')(rewrite);
};

const gemm: Adapter = (rewrite) => {
  const wanted = (rewrite.int('broadcast') ?? 0n) !== 0n;
  const bias = rewrite.node.input(2);
  const rank = bias === null ? undefined : (constantOf(bias)?.shape.length ?? rewrite.types.rankOf(bias));
  // Without the flag the shapes were equal already, which broadcasting leaves as it is.
  if (wanted && rank !== undefined && rank > 2) throw new Blocked('its third input has more than two dims');
  rewrite.set('broadcast', undefined);
};

/** Operators that work element by element. */
export const elementwiseAdapters: AdapterTable = {
  Abs: consumed,
  Add: withBroadcast,
  And: { 7: broadcast },
  Ceil: consumed,
  Clip: { 6: drop('consumed_inputs'), 11: clip },
  Div: withBroadcast,
  Dropout: { 6: drop('consumed_inputs'), 7: dropoutTest, 12: dropout },
  Elu: consumed,
  Equal: { 7: broadcast },
  Exp: consumed,
  Floor: consumed,
  Gemm: { 7: gemm },
  Greater: { 7: broadcast },
  HardSigmoid: consumed,
  LeakyRelu: consumed,
  Less: { 7: broadcast },
  Log: consumed,
  Max: consumed,
  Mean: consumed,
  Min: consumed,
  Mul: withBroadcast,
  Neg: consumed,
  Or: { 7: broadcast },
  PRelu: consumed,
  Pow: { 7: broadcast },
  Reciprocal: consumed,
  Relu: consumed,
  Selu: {
    // The defaults of opset 1 had fewer digits.
    6: (rewrite) => {
      keepDefault('alpha', attribute.float(1.6732))(rewrite);
      keepDefault('gamma', attribute.float(1.0507))(rewrite);
      drop('consumed_inputs')(rewrite);
    },
  },
  Sigmoid: consumed,
  Sqrt: consumed,
  Sub: withBroadcast,
  Sum: consumed,
  Tanh: consumed,
  Xor: { 7: broadcast },
};

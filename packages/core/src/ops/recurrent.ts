import { divideDims } from '../ir/dims.ts';
import type { CostContext, InferContext } from '../op/op-def.ts';
import { mergedDim, requireRank } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the recurrent operators. */
export const recurrentSchemas = {
  GRU: {
    since: 14,
    inputs: 'X:T W:T R:T B:T? sequence_lens:T1? initial_h:T?',
    outputs: 'Y:T? Y_h:T?',
    types: { T: 'float', T1: 'int32' },
    attributes: {
      activation_alpha: 'floats?',
      activation_beta: 'floats?',
      activations: 'strings?',
      clip: 'float?',
      direction: ['one', 'forward', 'reverse', 'bidirectional'],
      hidden_size: 'int?',
      layout: ['int', 0],
      linear_before_reset: ['flag', false],
    },
  },
  LSTM: {
    since: 14,
    inputs: 'X:T W:T R:T B:T? sequence_lens:T1? initial_h:T? initial_c:T? P:T?',
    outputs: 'Y:T? Y_h:T? Y_c:T?',
    types: { T: 'float', T1: 'int32' },
    attributes: {
      activation_alpha: 'floats?',
      activation_beta: 'floats?',
      activations: 'strings?',
      clip: 'float?',
      direction: ['one', 'forward', 'reverse', 'bidirectional'],
      hidden_size: 'int?',
      input_forget: ['flag', false],
      layout: ['int', 0],
    },
  },
  RNN: {
    since: 14,
    inputs: 'X:T W:T R:T B:T? sequence_lens:T1? initial_h:T?',
    outputs: 'Y:T? Y_h:T?',
    types: { T: 'float', T1: 'int32' },
    attributes: {
      activation_alpha: 'floats?',
      activation_beta: 'floats?',
      activations: ['strings', 'Tanh', 'Tanh'],
      clip: 'float?',
      direction: ['one', 'forward', 'reverse', 'bidirectional'],
      hidden_size: 'int?',
      layout: ['int', 0],
    },
  },
} as const;

/** Attributes that the recurrent operators share. */
export interface RecurrentAttributes {
  /** Which way the sequence is read. */
  readonly direction: 'forward' | 'reverse' | 'bidirectional';
  /** Number of hidden units. */
  readonly hidden_size: number | undefined;
  /** 0: time first; 1: batch first. */
  readonly layout: number;
}

/**
 * Data [time, batch, features], weights [directions, gates * hidden, features], recurrent weights [directions,
 * gates * hidden, hidden]; layout 1 puts the batch first.
 */
export function recurrent(
  gates: number,
  recurrentIndex = 2,
): (context: InferContext<RecurrentAttributes>) => void {
  return (context) => {
    const { direction, hidden_size: declared, layout } = context.attributes;
    if (layout !== 0 && layout !== 1) context.fail(`layout must be 0 or 1, not ${layout}`);
    const data = requireRank(context, 0, 3, true);
    const weights = requireRank(context, 1, 3, true);
    const inner = requireRank(context, recurrentIndex, 3, true);
    const directions = direction === 'bidirectional' ? 2 : 1;
    for (const shape of [weights, inner])
      mergedDim(context, directions, shape?.[0] ?? null, 'the directions of the node and the weights');
    if (recurrentIndex === 2) {
      mergedDim(
        context,
        data?.[2] ?? null,
        weights?.[2] ?? null,
        'the features of the input and the weights',
      );
      const rows = divideDims(inner?.[1] ?? null, gates);
      if (rows === undefined)
        context.fail(`${inner?.[1]} rows of recurrent weights can not be split into ${gates} gates`);
      mergedDim(context, inner?.[2] ?? null, rows ?? null, 'the hidden size and the rows per gate');
    }
    const hidden =
      recurrentIndex === 2
        ? mergedDim(context, declared ?? null, inner?.[2] ?? null, 'hidden_size and the recurrent weights')
        : (declared ?? null);
    const time = data?.[layout === 0 ? 0 : 1] ?? null;
    const batch = data?.[layout === 0 ? 1 : 0] ?? null;
    context.output(
      0,
      undefined,
      layout === 0 ? [time, directions, batch, hidden] : [batch, time, directions, hidden],
    );
    const state = layout === 0 ? [directions, batch, hidden] : [batch, directions, hidden];
    context.output(1, undefined, state);
    context.output(2, undefined, state);
  };
}

/** Every time step multiplies the features and the state with the weights of all gates. */
export function recurrentMacs(gates: number): (context: CostContext<RecurrentAttributes>) => number {
  return (context) => {
    const data = context.inputShape(0);
    const hidden = context.attributes.hidden_size ?? context.inputShape(2)?.[2];
    if (data === undefined || hidden === undefined) return 0;
    const [first = 0, second = 0, features = 0] = data;
    const directions = context.attributes.direction === 'bidirectional' ? 2 : 1;
    return first * second * directions * gates * hidden * (features + hidden);
  };
}

/** Definitions of the recurrent operators. */
export const recurrentOps: OpFamily<typeof recurrentSchemas> = opFamily(recurrentSchemas, {
  GRU: { infer: recurrent(3), macs: recurrentMacs(3) },
  LSTM: { infer: recurrent(4), macs: recurrentMacs(4) },
  RNN: { infer: recurrent(1), macs: recurrentMacs(1) },
});

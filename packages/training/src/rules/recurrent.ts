import { type Dim, standardOpDefs, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';
import { gruCell, lstmCell, type RecurrentCell, rnnCell } from './recurrent-cells.ts';

/** Attributes that the three operators share. */
interface RecurrentOptions {
  readonly activations?: readonly string[] | undefined;
  readonly activation_alpha?: readonly number[] | undefined;
  readonly activation_beta?: readonly number[] | undefined;
  readonly clip?: number | undefined;
  readonly direction: 'forward' | 'reverse' | 'bidirectional';
  readonly layout: number;
}

/** A recurrent operator, looked at as its rule needs it. */
interface Layer {
  readonly context: GradientContext;
  readonly emit: Emitter;
  readonly steps: number;
  readonly hidden: number;
  readonly directions: number;
  /** `[steps, batch, inputs]` */
  readonly x: Value;
  /** Gradient by the first output with time first, `[steps, directions, batch, hidden]`. */
  readonly outputs: Value | null;
}

/** Gradients of one direction. */
interface DirectionGradients {
  readonly x: Value;
  readonly w: Value;
  readonly r: Value;
  readonly b: Value | null;
  readonly states: readonly Value[];
}

function layerOf(context: GradientContext, options: RecurrentOptions, defaults: readonly string[]): Layer {
  const { emit } = context;
  const directions = options.direction === 'bidirectional' ? 2 : 1;
  const { activations } = options;
  const plain =
    activations === undefined ||
    activations.every((name, index) => name.toLowerCase() === defaults[index % defaults.length]);
  if (!plain)
    return context.unsupported(`activations other than ${defaults.join(', ')} have no gradient rule`);
  if (options.clip !== undefined && options.clip !== 0)
    return context.unsupported('"clip" has no gradient rule');
  if (context.has(4))
    return context.unsupported('sequence_lens has no gradient rule; train on sequences of one length');
  const given = context.input(0);
  const batchFirst = options.layout === 1;
  const steps: Dim = given.shape?.[batchFirst ? 1 : 0] ?? null;
  const hidden: Dim = context.input(2).shape?.[2] ?? null;
  if (typeof steps !== 'number') return context.unknownSize('the length of the sequence');
  if (typeof hidden !== 'number') return context.unknownSize('its hidden size');
  const outputs = context.gradient(0);
  return {
    context,
    emit,
    steps,
    hidden,
    directions,
    x: batchFirst ? emit.transpose(given, [1, 0, 2]) : given,
    outputs: outputs !== null && batchFirst ? emit.transpose(outputs, [1, 2, 0, 3]) : outputs,
  };
}

/** Entry `index` of an axis, the axis removed. */
const at = (emit: Emitter, value: Value, axis: number, index: number): Value =>
  emit.op('Gather', [value, emit.int(index)], { axis });

/**
 * Back-propagation through time of one direction (Werbos, 1990): the states are computed again from the inputs, for
 * the operator gives only its outputs, and then the steps are walked backwards.
 */
function throughTime(
  layer: Layer,
  cell: RecurrentCell,
  direction: number,
  reverse: boolean,
  stateAxis: number,
): DirectionGradients {
  const { context, emit, steps, hidden, x } = layer;
  const order = Array.from({ length: steps }, (_, step) => (reverse ? steps - 1 - step : step));
  const [w, r] = [at(emit, context.input(1), 0, direction), at(emit, context.input(2), 0, direction)];
  const bias = context.has(3) ? at(emit, context.input(3), 0, direction) : null;
  const wide = cell.gates * hidden;
  const [biasX, biasR] =
    bias === null
      ? [null, null]
      : (emit.node('Split', [bias, emit.ints([wide, wide])], { axis: 0 }, 2) as [Value, Value]);
  // All projections of inputs at once: [steps, batch, gates * hidden].
  const plain = emit.matmul(x, emit.transpose(w, [1, 0]));
  const projected = biasX === null ? plain : emit.add(plain, biasX);
  const weights = { r, bias: biasR };
  const zero = (): Value =>
    emit.scale(
      emit.op('Slice', [at(emit, plain, 0, 0), emit.ints([0]), emit.ints([hidden]), emit.ints([1])]),
      0,
    );
  let states: readonly Value[] = cell.states.map((index) =>
    context.has(index) ? at(emit, context.input(index), stateAxis, direction) : zero(),
  );
  const inputsOf = new Map<number, Value>();
  const before: (readonly Value[])[] = [];
  for (const time of order) {
    const row = at(emit, projected, 0, time);
    inputsOf.set(time, row);
    before.push(states);
    states = cell.forward(emit, row, states, weights, hidden);
  }
  let flowing: readonly (Value | null)[] = cell.states.map((_, index) => {
    const final = context.gradient(index + 1);
    return final === null ? null : at(emit, final, stateAxis, direction);
  });
  const byRow = new Array<Value>(steps);
  const byInner: Value[] = [];
  const hiddens: Value[] = [];
  for (let step = steps - 1; step >= 0; step--) {
    const time = order[step] as number;
    const previous = before[step] as readonly Value[];
    if (layer.outputs !== null) {
      const own = at(emit, at(emit, layer.outputs, 0, time), 0, direction);
      flowing = [flowing[0] == null ? own : emit.add(flowing[0], own), ...flowing.slice(1)];
    }
    if (flowing.every((value) => value === null))
      return context.unsupported('no gradient reaches its outputs');
    const result = cell.backward(
      emit,
      inputsOf.get(time) as Value,
      previous,
      flowing.map((value) => value ?? zero()),
      weights,
      hidden,
    );
    byRow[time] = result.row;
    byInner.push(result.inner);
    hiddens.push(...result.hidden);
    flowing = result.states;
  }
  const axis = emit.ints([0]);
  const rows = emit.op(
    'Concat',
    byRow.map((value) => emit.op('Unsqueeze', [value, axis])),
    { axis: 0 },
  );
  return {
    x: emit.matmul(rows, w),
    w: sumOuter(emit, rows, x),
    r: cell.recurrentGradient(emit, byInner, hiddens, hidden),
    b:
      bias === null
        ? null
        : emit.op(
            'Concat',
            [emit.sum(rows, [0, 1], false), emit.sum(emit.op('Concat', byInner, { axis: 0 }), [0], false)],
            { axis: 0 },
          ),
    states: flowing as readonly Value[],
  };
}

/** sum over time and batch of `left^T right`. */
function sumOuter(emit: Emitter, left: Value, right: Value): Value {
  const [rows, columns] = [left.shape?.at(-1), right.shape?.at(-1)];
  const flat = (value: Value, size: Dim | undefined): Value => emit.reshape(value, [-1, Number(size)]);
  return emit.matmul(emit.transpose(flat(left, rows), [1, 0]), flat(right, columns));
}

function recurrentRule(
  context: GradientContext,
  options: RecurrentOptions,
  cell: RecurrentCell,
): readonly (Value | null)[] {
  const layer = layerOf(context, options, cell.activations);
  const { emit } = layer;
  const stateAxis = options.layout === 1 ? 1 : 0;
  const parts = Array.from({ length: layer.directions }, (_, direction) =>
    throughTime(layer, cell, direction, options.direction === 'reverse' || direction === 1, stateAxis),
  );
  const stack = (values: readonly Value[], axis: number): Value => {
    const wide = values.map((value) => emit.op('Unsqueeze', [value, emit.ints([axis])]));
    return wide.length === 1 ? (wide[0] as Value) : emit.op('Concat', wide, { axis });
  };
  const byX = parts.map((part) => part.x).reduce((left, right) => emit.add(left, right));
  const results = new Array<Value | null>(context.node.inputs.length).fill(null);
  results[0] = options.layout === 1 ? emit.transpose(byX, [1, 0, 2]) : byX;
  results[1] = stack(
    parts.map((part) => part.w),
    0,
  );
  results[2] = stack(
    parts.map((part) => part.r),
    0,
  );
  if (context.has(3))
    results[3] = stack(
      parts.map((part) => part.b as Value),
      0,
    );
  cell.states.forEach((index, state) => {
    if (context.has(index))
      results[index] = stack(
        parts.map((part) => part.states[state] as Value),
        stateAxis,
      );
  });
  return results;
}

const rnn: GradientRule = (context) =>
  recurrentRule(context, context.attributes(standardOpDefs.RNN), rnnCell);

const gru: GradientRule = (context) => {
  const attributes = context.attributes(standardOpDefs.GRU);
  return recurrentRule(context, attributes, gruCell(attributes.linear_before_reset));
};

const lstm: GradientRule = (context) => {
  const attributes = context.attributes(standardOpDefs.LSTM);
  if (context.has(7)) return context.unsupported('peepholes have no gradient rule');
  if (attributes.input_forget)
    return context.unsupported('coupled input and forget gates have no gradient rule');
  return recurrentRule(context, attributes, lstmCell);
};

/** Gradients of recurrent operators, by back-propagation through time over a sequence of known length. */
export const recurrentGradients: GradientRules<'GRU' | 'LSTM' | 'RNN'> = { GRU: gru, LSTM: lstm, RNN: rnn };

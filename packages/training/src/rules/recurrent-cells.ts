import type { Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/** Recurrent weights of one direction. */
export interface CellWeights {
  /** `[gates * hidden, hidden]` */
  readonly r: Value;
  /** Recurrent bias `[gates * hidden]`; `null` without one. */
  readonly bias: Value | null;
}

/** Gradients of one step. */
export interface StepGradients {
  /** By the projected input of the step, `[batch, gates * hidden]`. */
  readonly row: Value;
  /** By the product of state and recurrent weights, `[batch, gates * hidden]`. */
  readonly inner: Value;
  /** What the recurrent weights were multiplied with, one `[batch, hidden]` per block of gates. */
  readonly hidden: readonly Value[];
  /** By the states before the step. */
  readonly states: readonly Value[];
}

/** What one time step of a recurrent operator computes, and its gradient. */
export interface RecurrentCell {
  /** Number of gates. */
  readonly gates: number;
  /** Names of the activations that are supported, in the operator's order. */
  readonly activations: readonly string[];
  /** Inputs of the operator that hold the initial states; the hidden state comes first. */
  readonly states: readonly number[];
  /** States after a step. */
  forward(
    emit: Emitter,
    row: Value,
    states: readonly Value[],
    weights: CellWeights,
    hidden: number,
  ): readonly Value[];
  /** Gradients by everything that went into a step, given those by the states after it. */
  backward(
    emit: Emitter,
    row: Value,
    states: readonly Value[],
    gradients: readonly Value[],
    weights: CellWeights,
    hidden: number,
  ): StepGradients;
  /** Gradient by the recurrent weights from the collected `inner` and `hidden` of all steps. */
  recurrentGradient(emit: Emitter, inner: readonly Value[], hidden: readonly Value[], size: number): Value;
}

/** state @ r^T + bias */
function project(emit: Emitter, state: Value, { r, bias }: CellWeights): Value {
  const product = emit.matmul(state, emit.transpose(r, [1, 0]));
  return bias === null ? product : emit.add(product, bias);
}

const split = (emit: Emitter, value: Value, sizes: readonly number[]): readonly Value[] =>
  emit.node('Split', [value, emit.ints(sizes)], { axis: 1 }, sizes.length);

const gatesOf = (emit: Emitter, value: Value, gates: number, hidden: number): readonly Value[] =>
  split(emit, value, new Array<number>(gates).fill(hidden));

const oneMinus = (emit: Emitter, value: Value): Value => emit.sub(emit.scalar(1, value.dtype), value);

/** gradient * y (1 - y) */
const throughSigmoid = (emit: Emitter, gradient: Value, y: Value): Value =>
  emit.mul(gradient, emit.mul(y, oneMinus(emit, y)));

/** gradient * (1 - y^2) */
const throughTanh = (emit: Emitter, gradient: Value, y: Value): Value =>
  emit.mul(gradient, oneMinus(emit, emit.mul(y, y)));

const joined = (emit: Emitter, values: readonly Value[], axis: number): Value =>
  values.length === 1 ? (values[0] as Value) : emit.op('Concat', values, { axis });

/** One product over all steps, for cells whose gates all see the same state. */
function sharedState(emit: Emitter, inner: readonly Value[], hidden: readonly Value[]): Value {
  return emit.matmul(emit.transpose(joined(emit, inner, 0), [1, 0]), joined(emit, hidden, 0));
}

/** H = tanh(row + H R^T). */
export const rnnCell: RecurrentCell = {
  gates: 1,
  activations: ['tanh'],
  states: [5],
  forward: (emit, row, [h], weights) => [
    emit.op('Tanh', [emit.add(row, project(emit, h as Value, weights))]),
  ],
  backward: (emit, row, [h], [gradient], weights) => {
    const y = emit.op('Tanh', [emit.add(row, project(emit, h as Value, weights))]);
    const inner = throughTanh(emit, gradient as Value, y);
    return { row: inner, inner, hidden: [h as Value], states: [emit.matmul(inner, weights.r)] };
  },
  recurrentGradient: sharedState,
};

/** Gates i, o, f, c of the LSTM, and tanh of the new cell state. */
function lstmGates(
  emit: Emitter,
  row: Value,
  states: readonly Value[],
  weights: CellWeights,
  hidden: number,
): Record<'i' | 'o' | 'f' | 'g' | 'cell' | 't', Value> {
  const [h, c] = states as [Value, Value];
  const [rawI, rawO, rawF, rawG] = gatesOf(emit, emit.add(row, project(emit, h, weights)), 4, hidden) as [
    Value,
    Value,
    Value,
    Value,
  ];
  const [i, o, f] = [rawI, rawO, rawF].map((value) => emit.op('Sigmoid', [value])) as [Value, Value, Value];
  const g = emit.op('Tanh', [rawG]);
  const cell = emit.add(emit.mul(f, c), emit.mul(i, g));
  return { i, o, f, g, cell, t: emit.op('Tanh', [cell]) };
}

/** Long short-term memory (Hochreiter and Schmidhuber, 1997) with forget gates, as ONNX defines it. */
export const lstmCell: RecurrentCell = {
  gates: 4,
  activations: ['sigmoid', 'tanh', 'tanh'],
  states: [5, 6],
  forward: (emit, row, states, weights, hidden) => {
    const { o, cell, t } = lstmGates(emit, row, states, weights, hidden);
    return [emit.mul(o, t), cell];
  },
  backward: (emit, row, states, gradients, weights, hidden) => {
    const [h, c] = states as [Value, Value];
    const [byH, byC] = gradients as [Value, Value];
    const { i, o, f, g, t } = lstmGates(emit, row, states, weights, hidden);
    const cell = emit.add(byC, throughTanh(emit, emit.mul(byH, o), t));
    const parts = [
      throughSigmoid(emit, emit.mul(cell, g), i),
      throughSigmoid(emit, emit.mul(byH, t), o),
      throughSigmoid(emit, emit.mul(cell, c), f),
      throughTanh(emit, emit.mul(cell, i), g),
    ];
    const inner = emit.op('Concat', parts, { axis: 1 });
    return { row: inner, inner, hidden: [h], states: [emit.matmul(inner, weights.r), emit.mul(cell, f)] };
  },
  recurrentGradient: sharedState,
};

/**
 * Gated recurrent unit (Cho et al., 2014), as ONNX defines it: H = (1 - z) n + z H. The reset gate acts on the state
 * before its product with the weights, or on the product (`linear_before_reset`, as in cuDNN and PyTorch).
 */
export function gruCell(linear: boolean): RecurrentCell {
  const gates = (
    emit: Emitter,
    row: Value,
    h: Value,
    weights: CellWeights,
    hidden: number,
  ): Record<'z' | 'r' | 'n' | 'side' | 'rows', Value> => {
    const [rows, rowN] = split(emit, row, [2 * hidden, hidden]) as [Value, Value];
    const [weightsZR, weightsN] = emit.node(
      'Split',
      [weights.r, emit.ints([2 * hidden, hidden])],
      { axis: 0 },
      2,
    ) as [Value, Value];
    const [biasZR, biasN] =
      weights.bias === null
        ? [null, null]
        : (emit.node('Split', [weights.bias, emit.ints([2 * hidden, hidden])], { axis: 0 }, 2) as [
            Value,
            Value,
          ]);
    const [z, r] = gatesOf(
      emit,
      emit.op('Sigmoid', [emit.add(rows, project(emit, h, { r: weightsZR, bias: biasZR }))]),
      2,
      hidden,
    ) as [Value, Value];
    // What the reset gate multiplies, or what it made of the state.
    const side = linear ? project(emit, h, { r: weightsN, bias: biasN }) : emit.mul(r, h);
    const inner = linear ? emit.mul(r, side) : project(emit, side, { r: weightsN, bias: biasN });
    return { z, r, n: emit.op('Tanh', [emit.add(rowN, inner)]), side, rows };
  };
  return {
    gates: 3,
    activations: ['sigmoid', 'tanh'],
    states: [5],
    forward: (emit, row, [h], weights, hidden) => {
      const { z, n } = gates(emit, row, h as Value, weights, hidden);
      return [emit.add(n, emit.mul(z, emit.sub(h as Value, n)))];
    },
    backward: (emit, row, states, gradients, weights, hidden) => {
      const [h] = states as [Value];
      const [gradient] = gradients as [Value];
      const { z, r, n, side } = gates(emit, row, h, weights, hidden);
      const byZ = throughSigmoid(emit, emit.mul(gradient, emit.sub(h, n)), z);
      const byN = throughTanh(emit, emit.mul(gradient, oneMinus(emit, z)), n);
      const [weightsZR, weightsN] = emit.node(
        'Split',
        [weights.r, emit.ints([2 * hidden, hidden])],
        { axis: 0 },
        2,
      ) as [Value, Value];
      const direct = emit.mul(gradient, z);
      if (linear) {
        const byR = throughSigmoid(emit, emit.mul(byN, side), r);
        const inner = emit.op('Concat', [byZ, byR, emit.mul(byN, r)], { axis: 1 });
        const outer = emit.op('Concat', [byZ, byR, byN], { axis: 1 });
        return { row: outer, inner, hidden: [h], states: [emit.add(direct, emit.matmul(inner, weights.r))] };
      }
      const bySide = emit.matmul(byN, weightsN);
      const byR = throughSigmoid(emit, emit.mul(bySide, h), r);
      const both = emit.op('Concat', [byZ, byR], { axis: 1 });
      const inner = emit.op('Concat', [both, byN], { axis: 1 });
      const byH = emit.add(emit.matmul(both, weightsZR), emit.mul(bySide, r));
      return { row: inner, inner, hidden: [h, side], states: [emit.add(direct, byH)] };
    },
    recurrentGradient: (emit, inner, hidden, size) => {
      if (linear) return sharedState(emit, inner, hidden);
      // The last gate saw the reset state: its weights are apart.
      const parts = inner.map((value) => split(emit, value, [2 * size, size]));
      const even = sharedState(
        emit,
        parts.map((pair) => pair[0] as Value),
        hidden.filter((_, index) => index % 2 === 0),
      );
      const odd = sharedState(
        emit,
        parts.map((pair) => pair[1] as Value),
        hidden.filter((_, index) => index % 2 === 1),
      );
      return emit.op('Concat', [even, odd], { axis: 0 });
    },
  };
}

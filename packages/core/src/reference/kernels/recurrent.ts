import { type AttributeSpec, type AttributesOf, attr } from '../../op/attributes.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers, toIntegers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { matMulNumbers } from './matmul.ts';
import { type Activation, activationsOf, clipper } from './recurrent-activation.ts';
import { permute } from './shape.ts';

/** The types of {@link recurrentAttributes}. */
export type RecurrentAttributes = {
  /** First parameters of activations. */
  readonly activation_alpha: AttributeSpec<readonly number[] | undefined>;
  /** Second parameters of activations. */
  readonly activation_beta: AttributeSpec<readonly number[] | undefined>;
  /** Names of activations. */
  readonly activations: AttributeSpec<readonly string[] | undefined>;
  /** Limit of what goes into activations. */
  readonly clip: AttributeSpec<number | undefined>;
  /** Which way time runs. */
  readonly direction: AttributeSpec<'forward' | 'reverse' | 'bidirectional'>;
  /** Size of the hidden state. */
  readonly hidden_size: AttributeSpec<number | undefined>;
  /** 0: time first; 1: batch first. */
  readonly layout: AttributeSpec<number>;
};

/** Attributes that `RNN`, `GRU` and `LSTM` share. */
export const recurrentAttributes: RecurrentAttributes = {
  activation_alpha: attr.optionalFloats(),
  activation_beta: attr.optionalFloats(),
  activations: attr.optionalStrings(),
  clip: attr.optionalFloat(),
  direction: attr.oneOf(['forward', 'reverse', 'bidirectional'], 'forward'),
  hidden_size: attr.optionalInt(),
  layout: attr.int(0),
};

/** Multiplies rows of inputs or hidden states with the transposed weights of a direction: `[rows, gates * hidden]`. */
export type Project = (which: 'input' | 'recurrent', direction: number, rows: Float64Array) => Float64Array;

/** A recurrent layer, unpacked. */
export interface Layer {
  /** Attributes. */
  readonly options: AttributesOf<RecurrentAttributes>;
  /** Steps in time. */
  readonly steps: number;
  /** Entries of the batch. */
  readonly batch: number;
  /** Elements of an input. */
  readonly inputs: number;
  /** Elements of the hidden state. */
  readonly hidden: number;
  /** 1 or 2. */
  readonly directions: number;
  /** Inputs, `[steps, batch, inputs]`. */
  readonly x: Float64Array;
  /** Biases `[directions, 2 * gates * hidden]`; zeros where there are none. */
  readonly bias: Float64Array;
  /** Steps of each batch entry. */
  readonly lengths: readonly number[];
  /** Products with the weights. */
  readonly project: Project;
}

/** Products with the weights `[directions, gates * hidden, columns]` as ONNX lays them out. */
function plainProject(w: Tensor, r: Tensor): Project {
  const weights = { input: transposed(w), recurrent: transposed(r) };
  return (which, direction, rows) => {
    const { values, k, n } = weights[which];
    const m = rows.length / k;
    return matMulNumbers(rows, values, {
      m,
      n,
      k,
      lefts: new Int32Array(1),
      rights: Int32Array.of(direction * k * n),
      shape: [m, n],
    });
  };
}

function transposed(weights: Tensor): { values: Float64Array; k: number; n: number } {
  const [, n, k] = weights.shape as [number, number, number];
  return { values: permute(weights, [0, 2, 1]).toFloat64Array(), k, n };
}

/** Unpacks the inputs that the three operators share. */
export function layerOf(
  context: KernelContext,
  gates: number,
  makeProject: (hidden: number) => Project,
): Layer {
  const options = context.attributes(recurrentAttributes);
  const directions = options.direction === 'bidirectional' ? 2 : 1;
  const given = context.tensor(0);
  if (given.shape.length !== 3) context.fail(`the input has ${given.shape.length} axes, not 3`);
  const x = options.layout === 1 ? permute(given, [1, 0, 2]) : given;
  const [steps, batch, inputs] = x.shape as [number, number, number];
  const hidden = options.hidden_size ?? context.fail('hidden_size is not given');
  if (hidden < 1) context.fail(`hidden_size is ${hidden}`);
  context.guard('float64', [directions, 2, gates, hidden]);
  const bias = context.optional(3)?.toFloat64Array() ?? new Float64Array(directions * 2 * gates * hidden);
  if (bias.length !== directions * 2 * gates * hidden) context.fail(`a bias of ${bias.length} elements`);
  const lengths =
    context.optional(4) === undefined ? new Array<number>(batch).fill(steps) : toIntegers(context.tensor(4));
  if (lengths.length !== batch || lengths.some((length) => length < 0 || length > steps))
    context.fail(`lengths [${lengths.join(', ')}] do not fit`);
  return {
    options,
    steps,
    batch,
    inputs,
    hidden,
    directions,
    x: x.toFloat64Array(),
    bias,
    lengths,
    project: makeProject(hidden),
  };
}

/** {@link layerOf} with the weights in inputs 1 and 2 as they are. */
function plainLayer(context: KernelContext, gates: number): Layer {
  const [w, r] = [context.tensor(1), context.tensor(2)];
  const layer = layerOf(context, gates, () => plainProject(w, r));
  const { directions, hidden, inputs } = layer;
  if (
    w.shape.join() !== [directions, gates * hidden, inputs].join() ||
    r.shape.join() !== [directions, gates * hidden, hidden].join()
  ) {
    context.fail(
      `weights [${w.shape.join(', ')}] and [${r.shape.join(', ')}] do not fit hidden_size ${hidden} and ${inputs} inputs`,
    );
  }
  return layer;
}

/** An initial state `[directions, batch, hidden]` (batch first for layout 1); zeros where it is left out. */
export function initialState(context: KernelContext, layer: Layer, index: number): Float64Array {
  const given = context.optional(index);
  const { directions, batch, hidden } = layer;
  if (given === undefined) return new Float64Array(directions * batch * hidden);
  const state = layer.options.layout === 1 ? permute(given, [1, 0, 2]) : given;
  if (state.shape.join() !== [directions, batch, hidden].join())
    context.fail(`an initial state [${given.shape.join(', ')}] does not fit`);
  return state.toFloat64Array();
}

/** What a cell sees of one step: rows are entries of the batch. */
interface Step {
  readonly direction: number;
  /** `W x`, `[batch, gates * hidden]`. */
  readonly projected: Float64Array;
  /** Hidden state before the step, `[batch, hidden]`. */
  readonly state: Float64Array;
}

/** Computes the hidden state after a step, `[batch, hidden]`. May keep further state of its own. */
type Cell = (step: Step, active: (entry: number) => boolean) => Float64Array;

/**
 * Runs a cell over time in every direction.
 *
 * @returns `Y` `[steps, directions, batch, hidden]` and the last states `[directions, batch, hidden]`
 */
export function runLayer(
  layer: Layer,
  initial: Float64Array,
  cell: Cell,
): { readonly all: Float64Array; readonly last: Float64Array } {
  const { steps, batch, hidden, directions, lengths, options } = layer;
  const all = new Float64Array(steps * directions * batch * hidden);
  const last = initial.slice();
  for (let direction = 0; direction < directions; direction++) {
    const backwards = options.direction === 'reverse' || direction === 1;
    const projected = layer.project('input', direction, layer.x);
    const width = steps * batch === 0 ? 0 : projected.length / (steps * batch);
    let state: Float64Array = initial.slice(direction * batch * hidden, (direction + 1) * batch * hidden);
    for (let step = 0; step < steps; step++) {
      // Backwards, every entry starts at its own last step.
      const timeOf = (entry: number): number => (backwards ? lengths[entry]! - 1 - step : step);
      const active = (entry: number): boolean => step < lengths[entry]!;
      const rows = new Float64Array(batch * width);
      for (let entry = 0; entry < batch; entry++) {
        if (!active(entry)) continue;
        const from = (timeOf(entry) * batch + entry) * width;
        rows.set(projected.subarray(from, from + width), entry * width);
      }
      const next = cell({ direction, projected: rows, state }, active);
      for (let entry = 0; entry < batch; entry++) {
        const row = entry * hidden;
        if (active(entry))
          all.set(
            next.subarray(row, row + hidden),
            ((timeOf(entry) * directions + direction) * batch + entry) * hidden,
          );
        else next.set(state.subarray(row, row + hidden), row);
      }
      state = next;
    }
    last.set(state, direction * batch * hidden);
  }
  return { all, last };
}

/** The outputs `Y` and `Y_h` (and further states) in the layout of the node. */
export function layerOutputs(
  context: KernelContext,
  layer: Layer,
  all: Float64Array,
  states: readonly Float64Array[],
): Tensor[] {
  const { steps, batch, hidden, directions, options } = layer;
  const { dtype } = context.tensor(0);
  context.guard(dtype, [steps, directions, batch, hidden]);
  const y = fromNumbers(dtype, [steps, directions, batch, hidden], all);
  const ends = states.map((state) => fromNumbers(dtype, [directions, batch, hidden], state));
  if (options.layout === 0) return [y, ...ends];
  return [permute(y, [2, 0, 1, 3]), ...ends.map((end) => permute(end, [1, 0, 2]))];
}

/** Sum of the two biases of a gate: `bias[direction, gate, j] + bias[direction, gates + gate, j]`. */
export function gateBias(layer: Layer, gates: number, direction: number): Float64Array {
  const width = gates * layer.hidden;
  const from = direction * 2 * width;
  return Float64Array.from(
    { length: width },
    (_, index) => layer.bias[from + index]! + layer.bias[from + width + index]!,
  );
}

/** ONNX `RNN` (opset 14): `Ht = f(Xt W^T + Ht-1 R^T + Wb + Rb)`. */
const rnn: ReferenceKernel = (context) => {
  const layer = plainLayer(context, 1);
  const functions = activationsOf(context, layer.options, {
    directions: layer.directions,
    defaults: ['Tanh'],
  });
  const limit = clipper(layer.options.clip);
  const biases = functions.map((_, direction) => gateBias(layer, 1, direction));
  const { all, last } = runLayer(
    layer,
    initialState(context, layer, 5),
    ({ direction, projected, state }) => {
      const recurrent = layer.project('recurrent', direction, state);
      const [f] = functions[direction] as [Activation];
      const bias = biases[direction]!;
      return projected.map((value, at) => f(limit(value + recurrent[at]! + bias[at % layer.hidden]!)));
    },
  );
  return layerOutputs(context, layer, all, [last]);
};

/**
 * ONNX `GRU` (opset 14), gates in order z, r, h (Cho et al., 2014): `Ht = (1 - zt) ht + zt Ht-1`; with
 * `linear_before_reset` the reset gate comes behind the product with the recurrent weights.
 */
const gru: ReferenceKernel = (context) => {
  const { linear_before_reset: linear } = context.attributes({ linear_before_reset: attr.flag(false) });
  const layer = plainLayer(context, 3);
  const { hidden, batch, directions } = layer;
  const functions = activationsOf(context, layer.options, { directions, defaults: ['Sigmoid', 'Tanh'] });
  const limit = clipper(layer.options.clip);
  const { all, last } = runLayer(
    layer,
    initialState(context, layer, 5),
    ({ direction, projected, state }) => {
      const [f, g] = functions[direction] as [Activation, Activation];
      const bias = layer.bias.subarray(direction * 6 * hidden, (direction + 1) * 6 * hidden);
      const recurrent = layer.project('recurrent', direction, state);
      const [z, r] = [new Float64Array(batch * hidden), new Float64Array(batch * hidden)];
      for (let at = 0; at < z.length; at++) {
        const [row, j] = [Math.floor(at / hidden) * 3 * hidden, at % hidden];
        z[at] = f(limit(projected[row + j]! + recurrent[row + j]! + bias[j]! + bias[3 * hidden + j]!));
        r[at] = f(
          limit(
            projected[row + hidden + j]! +
              recurrent[row + hidden + j]! +
              bias[hidden + j]! +
              bias[4 * hidden + j]!,
          ),
        );
      }
      const reset = linear
        ? recurrent
        : layer.project(
            'recurrent',
            direction,
            state.map((value, at) => value * r[at]!),
          );
      return state.map((before, at) => {
        const [row, j] = [Math.floor(at / hidden) * 3 * hidden + 2 * hidden, at % hidden];
        const [wb, rb] = [bias[2 * hidden + j]!, bias[5 * hidden + j]!];
        const inner = linear ? r[at]! * (reset[row + j]! + rb) : reset[row + j]! + rb;
        const candidate = g(limit(projected[row + j]! + inner + wb));
        return (1 - z[at]!) * candidate + z[at]! * before;
      });
    },
  );
  return layerOutputs(context, layer, all, [last]);
};

/** Runs an unpacked `LSTM` (gates in order i, o, f, c; peepholes in order i, o, f), as opset 14 defines it. */
export function runLstm(context: KernelContext, layer: Layer): Tensor[] {
  const { input_forget: coupled } = context.attributes({ input_forget: attr.flag(false) });
  const { hidden, batch, directions } = layer;
  const functions = activationsOf(context, layer.options, {
    directions,
    defaults: ['Sigmoid', 'Tanh', 'Tanh'],
  });
  const limit = clipper(layer.options.clip);
  const peepholes = context.optional(7)?.toFloat64Array() ?? new Float64Array(directions * 3 * hidden);
  if (peepholes.length !== directions * 3 * hidden) context.fail(`${peepholes.length} peephole weights`);
  const cells = initialState(context, layer, 6);
  const biases = functions.map((_, direction) => gateBias(layer, 4, direction));
  const { all, last } = runLayer(
    layer,
    initialState(context, layer, 5),
    ({ direction, projected, state }, active) => {
      const [f, g, h] = functions[direction] as [Activation, Activation, Activation];
      const recurrent = layer.project('recurrent', direction, state);
      const bias = biases[direction]!;
      const next = new Float64Array(batch * hidden);
      for (let at = 0; at < next.length; at++) {
        const [entry, j] = [Math.floor(at / hidden), at % hidden];
        if (!active(entry)) continue;
        const row = entry * 4 * hidden;
        const gate = (index: number): number =>
          projected[row + index * hidden + j]! +
          recurrent[row + index * hidden + j]! +
          bias[index * hidden + j]!;
        const peep = (index: number): number => peepholes[(direction * 3 + index) * hidden + j]!;
        const place = direction * batch * hidden + at;
        const before = cells[place]!;
        const i = f(limit(gate(0) + peep(0) * before));
        const forget = coupled ? 1 - i : f(limit(gate(2) + peep(2) * before));
        const cell = forget * before + i * g(limit(gate(3)));
        cells[place] = cell;
        next[at] = f(limit(gate(1) + peep(1) * cell)) * h(cell);
      }
      return next;
    },
  );
  return layerOutputs(context, layer, all, [last, cells]);
}

/** ONNX `LSTM` (opset 14) (Hochreiter and Schmidhuber, 1997; peepholes: Gers and Schmidhuber, 2000). */
const lstm: ReferenceKernel = (context) => runLstm(context, plainLayer(context, 4));

/** Recurrent layers: `ai.onnx`. */
export const recurrentKernels: KernelTable = { GRU: gru, LSTM: lstm, RNN: rnn };

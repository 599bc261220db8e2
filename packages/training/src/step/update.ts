import { errors, type Tensor, type Value } from '@lithe/core';
import { floatTensor } from '../autodiff/emitter.ts';
import type { ParameterUpdate, UpdateContext } from '../optimizers/optimizer.ts';
import { addState, type Build, keepState, type Slot, zeros } from './build.ts';

/** Gradients that weights move by, and when. */
export interface Ready {
  /** One per parameter. */
  readonly gradients: readonly Value[];
  /** A boolean: whether weights move in this step; `undefined` when they always do. */
  readonly ready: Value | undefined;
}

/** Averages gradients over several steps; between them the weights stay as they are. */
export function accumulate(build: Build, parameters: readonly Value[], gradients: readonly Value[]): Ready {
  const { emit, options } = build;
  const { accumulate: steps = 1 } = options;
  if (!Number.isInteger(steps) || steps < 1) {
    throw errors.optionsInvalid('trainingStep', ['"accumulate" must be a whole number above 0.']);
  }
  if (steps === 1) return { gradients, ready: undefined };
  const count = addState(build, 'accumulated', floatTensor([], [0], 'float32'));
  const now = emit.shift(count.input, 1);
  const ready = emit.op('GreaterOrEqual', [now, emit.scalar(steps)]);
  count.finish(emit.op('Where', [ready, emit.scalar(0), now]));
  const averages = gradients.map((value, index) => {
    const parameter = parameters[index] as Value;
    const slot = addState(build, `accumulated:${parameter.name}`, zeros(parameter.initializer as Tensor));
    const sum = emit.add(slot.input, value);
    slot.finish(emit.op('Where', [ready, emit.scalar(0, parameter.dtype), sum]));
    return emit.scale(sum, 1 / steps);
  });
  return { gradients: averages, ready };
}

/** Multiplies gradients by the factor of their group. */
export function scaleByGroup(
  { emit, options }: Build,
  parameters: readonly Value[],
  gradients: readonly Value[],
): readonly Value[] {
  return gradients.map((value, index) => {
    const { name } = parameters[index] as Value;
    return emit.scale(value, options.groups?.find((group) => group.matches(name))?.gradientScale ?? 1);
  });
}

/** Clips gradients, by value first and then by the norm of all together. */
export function clip({ emit, options }: Build, gradients: readonly Value[]): readonly Value[] {
  const { clipValue, clipNorm } = options;
  let result = gradients;
  for (const [name, limit] of Object.entries({ clipValue, clipNorm })) {
    if (limit !== undefined && !(limit > 0))
      throw errors.optionsInvalid('trainingStep', [`"${name}" must be above 0.`]);
  }
  if (clipValue !== undefined) {
    result = result.map((value) =>
      emit.op('Clip', [value, emit.scalar(-clipValue, value.dtype), emit.scalar(clipValue, value.dtype)]),
    );
  }
  if (clipNorm !== undefined) {
    const squares = result.map((value) => {
      const wide = emit.cast(value, 'float32');
      return emit.op('ReduceSum', [emit.mul(wide, wide)], { keepdims: 0 });
    });
    const norm = emit.op('Sqrt', [squares.length === 1 ? (squares[0] as Value) : emit.op('Sum', squares)]);
    const factor = emit.op('Min', [emit.scalar(1), emit.div(emit.scalar(clipNorm), emit.shift(norm, 1e-6))]);
    result = result.map((value) => emit.mul(value, emit.cast(factor, value.dtype ?? 'float32')));
  }
  return result;
}

/** The count of updates, before anything is known of this one. */
export function updateCount(build: Build): Slot {
  return addState(build, 'step', floatTensor([], [0], 'float32'));
}

/** Counts this update: its value is the number of this one, from 1. */
export function countUpdate(build: Build, slot: Slot, ready: Value | undefined): Value {
  const { emit } = build;
  const value = emit.shift(slot.input, 1);
  slot.finish(ready === undefined ? value : emit.op('Where', [ready, value, slot.input]));
  return value;
}

/** What parameters are updated with. */
export interface UpdateRequest extends Ready {
  /** The parameters, in the order of their gradients. */
  readonly parameters: readonly Value[];
  /** Learning rate, a scalar. */
  readonly rate: Value;
  /** Number of this update, a scalar. */
  readonly step: Value;
}

/** Adds the optimizer's update of every parameter, and turns the parameters into state. */
export async function update(build: Build, request: UpdateRequest): Promise<void> {
  const { emit, options, model } = build;
  const { parameters, gradients, rate, step, ready } = request;
  const hold = (before: Value, after: Value): Value =>
    ready === undefined ? after : emit.op('Where', [ready, after, before]);
  const decay = options.emaDecay === undefined ? undefined : averageDecay(build, options.emaDecay, step);
  const waiting: (ParameterUpdate & { complete(next: Value): void })[] = [];
  for (const [index, parameter] of parameters.entries()) {
    const initial = await (parameter.initializer as NonNullable<Value['initializer']>).load();
    const group = options.groups?.find((item) => item.matches(parameter.name));
    const slots = new Map<string, Slot>();
    const slot = (name: string): Slot => {
      const known = slots.get(name) ?? addState(build, `${name}:${parameter.name}`, zeros(initial));
      slots.set(name, known);
      return known;
    };
    const context: UpdateContext = {
      emit,
      parameter,
      gradient: gradients[index] as Value,
      learningRate: emit.cast(emit.scale(rate, group?.learningRateScale ?? 1), initial.dtype),
      step,
      weightDecay: group?.weightDecay ?? options.optimizer.weightDecay,
      slot: (name) => slot(name).input,
      setSlot: (name, value) => {
        const own = slot(name);
        own.finish(hold(own.input, value));
      },
    };
    const next = options.optimizer.update(context);
    const complete = (value: Value): void => {
      const moved = hold(parameter, value);
      if (decay !== undefined) {
        const own = addState(build, `${AVERAGE}${parameter.name}`, initial);
        // a + (1 - d) (w - a): one product fewer, and exact once a equals w.
        const share = emit.cast(emit.sub(emit.scalar(1), decay), initial.dtype);
        own.finish(hold(own.input, emit.add(own.input, emit.mul(share, emit.sub(moved, own.input)))));
      }
      const { type } = parameter;
      model.graph.setInputs([...model.graph.inputs, parameter]);
      model.graph.setInitializer(parameter, undefined);
      parameter.type = type;
      keepState(build, parameter, moved, initial);
    };
    if (options.optimizer.finish === undefined) complete(next);
    else waiting.push({ context, next, complete });
  }
  const finished = options.optimizer.finish?.(waiting) ?? [];
  for (const [index, { next, complete }] of waiting.entries()) complete(finished[index] ?? next);
}

/** Begins the names of averaged weights. */
export const AVERAGE = 'ema:';

/** min(decay, (1 + t) / (10 + t)): early averages follow fast, so that the first weights are forgotten. */
function averageDecay({ emit }: Build, decay: number, step: Value): Value {
  if (!(decay > 0 && decay < 1))
    throw errors.optionsInvalid('trainingStep', ['"emaDecay" must lie between 0 and 1.']);
  return emit.op('Min', [emit.scalar(decay), emit.div(emit.shift(step, 1), emit.shift(step, 10))]);
}

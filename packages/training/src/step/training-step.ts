import {
  errors,
  inferShapes,
  isFloat,
  isStaticShape,
  type Model,
  type OpSet,
  type StatePair,
  standardOps,
  type Tensor,
  type TraitTable,
  tensorType,
  type Value,
} from '@lithe/core';
import { Emitter, floatTensor, productOf } from '../autodiff/emitter.ts';
import type { GradientRule } from '../autodiff/gradient-rule.ts';
import { addGradients } from '../autodiff/gradients.ts';
import { type Loss, lossContext } from '../losses/loss.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import { promoteConstants } from './promote-constants.ts';
import { trainingForm } from './training-form.ts';

/** A group of parameters with settings of its own. */
export interface ParameterGroup {
  /** Whether a parameter belongs to the group. The first group that takes it counts. */
  matches(name: string): boolean;
  /** Weight decay instead of the optimizer's. */
  readonly weightDecay?: number | undefined;
  /** Factor on the learning rate; 1 by default. */
  readonly learningRateScale?: number | undefined;
}

/** What a {@link trainingStep} is made from. */
export interface TrainingStepOptions {
  /** What is minimized. */
  readonly loss: Loss;
  /** How. */
  readonly optimizer: Optimizer;
  /** Which weights learn: names, or a test. All float weights that the loss depends on by default. */
  readonly trainable?: readonly string[] | ((name: string) => boolean) | undefined;
  /** Groups with settings of their own. */
  readonly groups?: readonly ParameterGroup[] | undefined;
  /** Largest norm of all gradients together; larger ones are scaled down (Pascanu et al., 2013). */
  readonly clipNorm?: number | undefined;
  /** Largest absolute value of a gradient element. */
  readonly clipValue?: number | undefined;
  /** Decay of a running average of the weights, kept beside them under `ema:<name>`; none by default. */
  readonly emaDecay?: number | undefined;
  /** Steps whose gradients are averaged before the weights move; 1 by default. */
  readonly accumulate?: number | undefined;
  /** Gradient rules; those of the standard operators by default. */
  readonly rules?: TraitTable<GradientRule> | undefined;
  /** Operators that are known. */
  readonly opset?: OpSet | undefined;
}

/** One training step as a graph. */
export interface TrainingStep {
  /** The graph: feeds, targets and learning rate in; loss and the model's outputs out; weights and slots as state. */
  readonly model: Model;
  /** What stays on the device between steps. */
  readonly state: readonly StatePair[];
  /** Names of the weights that learn. */
  readonly parameters: readonly string[];
  /** State that is part of the model though it does not learn by gradients: running statistics of BatchNormalization. */
  readonly statistics: readonly string[];
  /** Inputs of random masks for Dropout: to be fed with 0 and 1 / (1 - ratio). */
  readonly masks: readonly DropoutMask[];
  /** Name of the loss output. */
  readonly loss: string;
  /** Name of the learning-rate input, a float32 scalar. */
  readonly learningRate: string;
}

/** A random mask that a training step is fed. */
export interface DropoutMask {
  /** Input name. */
  readonly name: string;
  /** Value whose shape the mask has; the batch dim may be symbolic. */
  readonly shape: readonly (number | string | null)[];
  /** Share that is dropped. */
  readonly ratio: number;
}

/** Name of the learning-rate input. */
const LEARNING_RATE = 'learning_rate';

interface Build {
  readonly model: Model;
  readonly emit: Emitter;
  readonly options: TrainingStepOptions;
  readonly state: StatePair[];
}

/**
 * Derives one training step from an inference model: forward part in training form, loss, gradients, clipping and
 * the optimizer's update, all of standard operators, so that whatever runs the model also trains it. Weights become
 * inputs with a matching output; a backend keeps them on the device from step to step (see `CompileOptions.state`).
 *
 * @param model the model; it is not changed
 * @throws {LitheError} OPTIONS_INVALID when nothing is trainable or a name is unknown; OP_UNSUPPORTED naming the node
 *   when an operator has no gradient rule
 */
export async function trainingStep(model: Model, options: TrainingStepOptions): Promise<TrainingStep> {
  const copy = model.clone();
  const opset = options.opset ?? standardOps;
  const { graph } = copy;
  promoteConstants(graph);
  await inferShapes(copy, { opset });
  const emit = new Emitter(graph, opset, 'train/');
  const form = await trainingForm(graph);
  await inferShapes(copy, { opset });
  const build: Build = { model: copy, emit, options, state: [] };
  const loss = options.loss.build(lossContext(graph, emit));
  const parameters = trainableOf(build, loss);
  const rate = graph.addInput(graph.uniqueName(LEARNING_RATE), tensorType('float32', []));
  const gradients = addGradients(copy, { of: loss, wrt: parameters, rules: options.rules, opset });
  const averaged = accumulate(build, parameters, gradients);
  const clipped = clip(build, averaged.gradients);
  const step = counter(build, averaged.ready);
  const next = await update(build, { parameters, gradients: clipped, rate, step, ready: averaged.ready });
  for (const { input, output, initial } of form.statistics)
    build.state.push({ input: input.name, output: output.name, initial });
  graph.rename(loss, graph.uniqueName('loss'));
  const outputs = [
    loss,
    ...graph.outputs.filter((value) => value !== loss),
    ...next,
    ...form.statistics.map((item) => item.output),
  ];
  graph.setOutputs([...new Set(outputs)]);
  return {
    model: copy,
    state: build.state,
    parameters: parameters.map((value) => value.name),
    statistics: form.statistics.map((item) => item.input.name),
    masks: form.masks,
    loss: loss.name,
    learningRate: rate.name,
  };
}

/** The weights that learn: float initializers that the loss depends on. */
function trainableOf({ model, options }: Build, loss: Value): Value[] {
  const { trainable } = options;
  const wanted =
    typeof trainable === 'function'
      ? trainable
      : trainable === undefined
        ? () => true
        : (name: string) => trainable.includes(name);
  if (Array.isArray(trainable)) {
    const missing = trainable.filter((name: string) => model.graph.value(name)?.initializer === undefined);
    if (missing.length > 0)
      throw errors.optionsInvalid(
        'trainingStep',
        missing.map((name: string) => `The model has no weight called "${name}".`),
      );
  }
  const reached = ancestors(loss);
  const found = [...model.graph.initializers].filter(
    (value) =>
      value.dtype !== undefined &&
      isFloat(value.dtype) &&
      reached.has(value) &&
      wanted(value.name) &&
      isWeight(value),
  );
  if (found.length === 0)
    throw errors.optionsInvalid('trainingStep', ['No trainable weight leads to the loss.']);
  return found;
}

/** Constants that an operator is set up with, not weights: a Clip bound, a Pad value, a scale of quantization. */
const settings: Readonly<Record<string, readonly number[]>> = {
  Clip: [1, 2],
  Pad: [2],
  Resize: [1, 2],
  BatchNormalization: [3, 4],
  QuantizeLinear: [1],
  DequantizeLinear: [1],
  Dropout: [1],
  Pow: [1],
};

function isWeight(value: Value): boolean {
  if (value.name.startsWith('train/') || value.name.startsWith('grad/')) return false;
  // A scalar of plain arithmetic is a constant of the model: the 3 and 6 of a written-out hard swish.
  const rank = value.shape?.length ?? 0;
  return value.uses.every(({ node, index }) => {
    if (settings[node.opType]?.includes(index) === true) return false;
    return rank > 0 || !['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min', 'Where'].includes(node.opType);
  });
}

function ancestors(value: Value): ReadonlySet<Value> {
  const seen = new Set<Value>();
  const stack: Value[] = [value];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    if (seen.has(item)) continue;
    seen.add(item);
    const { producer } = item;
    if (producer !== null) for (const input of producer.inputs) if (input !== null) stack.push(input);
  }
  return seen;
}

/** A state slot: a graph input, and the value that replaces it. */
function addState(
  build: Build,
  name: string,
  initial: Tensor,
): { readonly input: Value; readonly finish: (next: Value) => Value } {
  const { graph } = build.model;
  const input = graph.addInput(graph.uniqueName(name), tensorType(initial.dtype, initial.shape));
  return {
    input,
    finish: (next) => {
      const output = build.emit.op('Identity', [next]);
      graph.rename(output, graph.uniqueName(`next:${input.name}`));
      build.state.push({ input: input.name, output: output.name, initial });
      return output;
    },
  };
}

interface Accumulated {
  readonly gradients: readonly Value[];
  /** 1 in steps in which weights move, else 0; `undefined` when they always do. */
  readonly ready: Value | undefined;
  readonly outputs: readonly Value[];
}

/** Averages gradients over several steps; between them the weights stay as they are. */
function accumulate(
  build: Build,
  parameters: readonly Value[],
  gradients: readonly (Value | undefined)[],
): Accumulated {
  const { emit, options } = build;
  const present = gradients.map((value, index) => value ?? emit.zerosLike(parameters[index] as Value));
  const { accumulate: steps = 1 } = options;
  if (steps === 1) return { gradients: present, ready: undefined, outputs: [] };
  if (!Number.isInteger(steps) || steps < 1)
    throw errors.optionsInvalid('trainingStep', ['"accumulate" must be a whole number above 0.']);
  const count = addState(build, 'accumulated', floatTensor([], [0], 'float32'));
  const now = emit.shift(count.input, 1);
  const ready = emit.cast(emit.op('GreaterOrEqual', [now, emit.scalar(steps)]), 'float32');
  const keep = emit.sub(emit.scalar(1), ready);
  const outputs = [count.finish(emit.mul(now, keep))];
  const sums = present.map((value, index) => {
    const parameter = parameters[index] as Value;
    const slot = addState(build, `accumulated:${parameter.name}`, zeros(parameter));
    const sum = emit.add(slot.input, value);
    outputs.push(slot.finish(emit.mul(sum, keep)));
    return emit.scale(sum, 1 / steps);
  });
  pending.set(build, outputs);
  return { gradients: sums, ready, outputs };
}

/** Outputs of state that was made before the update, to be listed with the rest. */
const pending: WeakMap<Build, readonly Value[]> = new WeakMap();

function zeros(parameter: Value): Tensor {
  if (!isStaticShape(parameter.shape))
    throw errors.internal(`the shape of weight "${parameter.name}" is not known`);
  return floatTensor(
    parameter.shape,
    new Float32Array(productOf(parameter.shape)),
    parameter.dtype ?? 'float32',
  );
}

function clip({ emit, options }: Build, gradients: readonly Value[]): readonly Value[] {
  let result = gradients;
  const { clipValue, clipNorm } = options;
  if (clipValue !== undefined) {
    result = result.map((value) =>
      emit.op('Clip', [value, emit.scalar(-clipValue, value.dtype), emit.scalar(clipValue, value.dtype)]),
    );
  }
  if (clipNorm !== undefined) {
    const squares = result.map((value) =>
      emit.cast(emit.op('ReduceSumSquare', [value], { keepdims: 0 }), 'float32'),
    );
    const norm = emit.op('Sqrt', [squares.length === 1 ? (squares[0] as Value) : emit.op('Sum', squares)]);
    const factor = emit.op('Min', [emit.scalar(1), emit.div(emit.scalar(clipNorm), emit.shift(norm, 1e-6))]);
    result = result.map((value) => emit.mul(value, emit.cast(factor, value.dtype ?? 'float32')));
  }
  return result;
}

/** Counts the updates, from 1. */
function counter(build: Build, ready: Value | undefined): { readonly value: Value; readonly output: Value } {
  const { emit } = build;
  const slot = addState(build, 'step', floatTensor([], [0], 'float32'));
  const value = emit.shift(slot.input, 1);
  return { value, output: slot.finish(ready === undefined ? value : emit.add(slot.input, ready)) };
}

interface Update {
  readonly parameters: readonly Value[];
  readonly gradients: readonly Value[];
  readonly rate: Value;
  readonly step: { readonly value: Value; readonly output: Value };
  readonly ready: Value | undefined;
}

async function update(
  build: Build,
  { parameters, gradients, rate, step, ready }: Update,
): Promise<readonly Value[]> {
  const { emit, options, model } = build;
  const { graph } = model;
  const outputs: Value[] = [step.output, ...(pending.get(build) ?? [])];
  for (const [index, parameter] of parameters.entries()) {
    const initial = await (parameter.initializer as NonNullable<Value['initializer']>).load();
    const group = options.groups?.find((item) => item.matches(parameter.name));
    const scale = group?.learningRateScale ?? 1;
    const slots = new Map<string, { readonly input: Value; readonly finish: (next: Value) => Value }>();
    const slot = (name: string): { readonly input: Value; readonly finish: (next: Value) => Value } => {
      const known = slots.get(name) ?? addState(build, `${name}:${parameter.name}`, zeros(parameter));
      slots.set(name, known);
      return known;
    };
    const hold = (before: Value, after: Value): Value =>
      ready === undefined ? after : emit.add(before, emit.mul(ready, emit.sub(after, before)));
    const next = options.optimizer.update({
      emit,
      parameter,
      gradient: gradients[index] as Value,
      learningRate: emit.cast(emit.scale(rate, scale), parameter.dtype ?? 'float32'),
      step: step.value,
      weightDecay: group?.weightDecay ?? options.optimizer.weightDecay,
      slot: (name) => slot(name).input,
      setSlot: (name, value) => {
        const own = slot(name);
        outputs.push(own.finish(hold(own.input, value)));
      },
    });
    const moved = hold(parameter, next);
    const output = emit.op('Identity', [moved]);
    graph.rename(output, graph.uniqueName(`next:${parameter.name}`));
    outputs.push(output);
    build.state.push({ input: parameter.name, output: output.name, initial });
    if (options.emaDecay !== undefined)
      outputs.push(average(build, parameter, moved, initial, options.emaDecay));
    toInput(graph, parameter);
  }
  return outputs;
}

function average(build: Build, parameter: Value, next: Value, initial: Tensor, decay: number): Value {
  const { emit } = build;
  const slot = addState(build, `ema:${parameter.name}`, initial);
  return slot.finish(emit.add(emit.scale(slot.input, decay), emit.scale(next, 1 - decay)));
}

/** Turns a weight into an input of the graph. */
function toInput(graph: Value['graph'], value: Value): void {
  const { type } = value;
  graph.setInputs([...graph.inputs, value]);
  graph.setInitializer(value, undefined);
  value.type = type;
}

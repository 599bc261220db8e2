import {
  type Dim,
  errors,
  type Graph,
  inferShapes,
  type Model,
  type OpSet,
  type StatePair,
  standardOps,
  type TraitTable,
  tensorType,
  type Value,
} from '@lithe/core';
import { Emitter } from '../autodiff/emitter.ts';
import type { GradientRule } from '../autodiff/gradient-rule.ts';
import { addGradients } from '../autodiff/gradients.ts';
import { type Loss, lossContext } from '../losses/loss.ts';
import {
  type CheckpointingOptions,
  type CheckpointingResult,
  checkpointActivations,
} from '../memory/checkpoint-activations.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { LossScaleOutputs } from '../precision/loss-scale.ts';
import {
  type MixedPrecision,
  type MixedPrecisionOptions,
  mixPrecision,
} from '../precision/mixed-precision.ts';
import { addState, type Build } from './build.ts';
import { buildForms, type ForwardForm } from './forward-form.ts';
import { lowerBatchNormalization } from './lower-batch-normalization.ts';
import { promoteConstants } from './promote-constants.ts';
import { shareEqualNodes } from './share-equal-nodes.ts';
import { type DropoutMask, trainingForm } from './training-form.ts';
import { AVERAGE, accumulate, clip, countUpdate, scaleByGroup, update, updateCount } from './update.ts';
import { chooseTrainable, findWeights } from './weights.ts';

/** A group of parameters with settings of its own. */
export interface ParameterGroup {
  /** Whether a parameter belongs to the group. The first group that takes it counts. */
  matches(name: string): boolean;
  /** Weight decay instead of the optimizer's. */
  readonly weightDecay?: number | undefined;
  /** Factor on the learning rate; 1 by default. */
  readonly learningRateScale?: number | undefined;
  /** Factor on the gradient, before clipping; 1 by default. */
  readonly gradientScale?: number | undefined;
}

/** What a {@link trainingStep} is made from. */
export interface TrainingStepOptions {
  /** What is minimized. */
  readonly loss: Loss;
  /** How. */
  readonly optimizer: Optimizer;
  /**
   * Which weights learn: names of float initializers, or a test among the weights that are found. By default all that
   * are found and that the loss depends on: what operators read as kernels, matrices, biases, scales, tables; vectors of
   * plain arithmetic; addends of several axes that are no masks. Constants such as bounds, exponents and single numbers,
   * running statistics and scales of quantization learn only when they are named.
   */
  readonly trainable?: readonly string[] | ((name: string) => boolean) | undefined;
  /** Groups with settings of their own. */
  readonly groups?: readonly ParameterGroup[] | undefined;
  /** Largest norm of all gradients together; larger ones are scaled down (Pascanu et al., 2013). */
  readonly clipNorm?: number | undefined;
  /** Largest absolute value of a gradient element. */
  readonly clipValue?: number | undefined;
  /**
   * Decay d of a running average of the weights: a = d a + (1 - d) w after each update, d being at most
   * (1 + t) / (10 + t) in update t so that the first weights are forgotten. None by default.
   */
  readonly emaDecay?: number | undefined;
  /** Steps whose gradients are averaged before the weights move; 1 by default. */
  readonly accumulate?: number | undefined;
  /**
   * Shapes of inputs while training, by name, where the model leaves sizes open that gradients need to know; a text is a
   * size that stays open, such as that of the batch. The trained model keeps its own.
   */
  readonly inputShapes?: Readonly<Record<string, readonly Dim[]>> | undefined;
  /**
   * Whether batch normalization goes by its running statistics, as in the trained model, and leaves them as they are: for
   * training on with few samples, with others than it was trained on, or in small batches. It holds for those too whose
   * file says `training_mode = 1`. `false` by default.
   */
  readonly frozenStatistics?: boolean | undefined;
  /**
   * Computes activations again in the backward part instead of holding them: much less memory, a third more arithmetic, the
   * same numbers. `true` chooses the segments; none by default. See {@link checkpointActivations}.
   */
  readonly checkpointing?: boolean | CheckpointingOptions | undefined;
  /**
   * Computes products and what follows them in float16, with float32 weights and a scaled loss (see {@link MixedPrecisionOptions}).
   * `true` takes the defaults; everything is computed in the model's own types by default. For backends that compute in
   * float16: `fit` refuses others.
   */
  readonly mixedPrecision?: boolean | MixedPrecisionOptions | undefined;
  /**
   * Changes of the forward part that hold while training only, such as fake quantization whose ranges follow the batches;
   * none by default.
   */
  readonly forms?: readonly ForwardForm[] | undefined;
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
  /** Names of weights that learn and belong to the loss, not to the model: see {@link LossContext.parameter}. */
  readonly lossParameters: readonly string[];
  /** State that holds the running average of each weight, by the weight's name; empty without `emaDecay`. */
  readonly averages: ReadonlyMap<string, string>;
  /** State that is part of the model though it does not learn by gradients: running statistics of BatchNormalization. */
  readonly statistics: readonly string[];
  /** Inputs of random masks for Dropout: to be fed with 0 and 1 / (1 - ratio). */
  readonly masks: readonly DropoutMask[];
  /** What `checkpointing` did; `undefined` without it. */
  readonly checkpointing?: CheckpointingResult | undefined;
  /** Outputs that tell of the loss scale; `undefined` without `mixedPrecision`. */
  readonly lossScale?: LossScaleOutputs | undefined;
  /** Name of the loss output. */
  readonly loss: string;
  /** Name of the learning-rate input, a float32 scalar. */
  readonly learningRate: string;
}

/**
 * Derives one training step from an inference model: forward part in training form, loss, gradients, clipping and
 * the optimizer's update, all of standard operators, so that whatever runs the model also trains it. Weights become
 * inputs with a matching output; a backend keeps them on the device from step to step (see `CompileOptions.state`).
 *
 * @param model the model; it is not changed
 * @throws {LitheError} OPTIONS_INVALID when nothing is trainable or a name is unknown; OP_UNSUPPORTED naming the node
 *   when an operator has no gradient rule
 * @example
 * ```ts
 * import { crossEntropy, mlp, sgd, trainingStep } from '@lithe/training';
 *
 * const model = await mlp({ inputs: 2, hidden: [4], classes: 2 });
 * const step = await trainingStep(model, { loss: crossEntropy({ logits: 'logits' }), optimizer: sgd() });
 * step.parameters; // => ['linear1.weight', 'linear1.bias', 'classifier.weight', 'classifier.bias']
 * ```
 */
export async function trainingStep(model: Model, options: TrainingStepOptions): Promise<TrainingStep> {
  const copy = model.clone();
  const opset = options.opset ?? standardOps;
  const { graph } = copy;
  promoteConstants(graph);
  // Files before IR version 4 list their weights among the inputs too, as defaults of what is fed.
  graph.setInputs(graph.inputs.filter(({ initializer }) => initializer === undefined));
  fixShapes(graph, options.inputShapes ?? {});
  await inferShapes(copy, { opset });
  const shown = await findWeights(graph);
  const emit = new Emitter(graph, opset, 'train/');
  const build: Build = { model: copy, emit, options, state: [], outputs: [] };
  const { forms = [] } = options;
  const early = forms.length === 0 ? undefined : updateCount(build);
  const formed = early && (await buildForms(build, forms, { step: early.input, opset }));
  const found = [...new Set([...shown, ...(formed?.weights ?? [])])];
  const form = await trainingForm(build, formed?.statistics);
  await inferShapes(copy, { opset });
  const mixed = await mixedOf(build, [...found, ...form.masks.map(({ name }) => graph.value(name) as Value)]);
  const count = early ?? updateCount(build);
  const context = lossContext({
    graph,
    emit,
    opsetImports: copy.opsetImports,
    step: count.input,
    addState: (name, initial) => addState(build, name, initial),
  });
  const loss = options.loss.build(
    mixed === undefined ? context : { ...context, value: (name) => mixed.wide(context.value(name)) },
  );
  const own = chooseTrainable(graph, found, { loss, trainable: options.trainable });
  const parameters = [...own, ...context.parameters];
  const rate = graph.addInput(graph.uniqueName('learning_rate'), tensorType('float32', []));
  const scaling = mixed?.scale(loss);
  const gradients = addGradients(copy, {
    of: scaling?.scaled ?? loss,
    wrt: parameters,
    stop: new Set([...context.detached, ...(formed?.stopped ?? [])]),
    rules: options.rules,
    opset,
  }).map((value, index) => value ?? emit.zerosLike(parameters[index] as Value));
  const summed = accumulate(build, parameters, gradients);
  const unscaled = scaling?.unscale(summed);
  const averaged = unscaled?.ready ?? summed;
  const step = countUpdate(build, count, averaged.ready);
  await update(build, {
    parameters,
    gradients: clip(build, scaleByGroup(build, parameters, averaged.gradients)),
    rate,
    step,
    ready: averaged.ready,
  });
  form.finish(unscaled?.finite);
  lowerBatchNormalization(graph);
  if (loss.name !== 'loss') graph.rename(loss, graph.uniqueName('loss'));
  const outputs = [loss, ...graph.outputs.filter((value) => value !== loss), ...build.outputs];
  graph.setOutputs([...new Set(outputs)]);
  shareEqualNodes(graph);
  const checkpointing = checkpoint(graph, loss.name, options.checkpointing ?? false);
  const names = own.map((value) => value.name);
  return {
    model: copy,
    state: build.state,
    parameters: names,
    lossParameters: context.parameters.map((value) => value.name),
    averages: new Map(options.emaDecay === undefined ? [] : names.map((name) => [name, `${AVERAGE}${name}`])),
    statistics: form.statistics,
    masks: form.masks,
    ...(checkpointing === undefined ? {} : { checkpointing }),
    ...(unscaled === undefined ? {} : { lossScale: unscaled.outputs }),
    loss: loss.name,
    learningRate: rate.name,
  };
}

async function mixedOf(build: Build, weights: readonly Value[]): Promise<MixedPrecision | undefined> {
  const { mixedPrecision: wanted = false, trainable } = build.options;
  if (wanted === false) return undefined;
  const named =
    typeof trainable === 'object' ? trainable.flatMap((name) => build.model.graph.value(name) ?? []) : [];
  return await mixPrecision(build, [...weights, ...named], wanted === true ? {} : wanted);
}

function checkpoint(
  graph: Graph,
  loss: string,
  wanted: boolean | CheckpointingOptions,
): CheckpointingResult | undefined {
  return wanted === false ? undefined : checkpointActivations(graph, loss, wanted === true ? {} : wanted);
}

function fixShapes(graph: Graph, shapes: Readonly<Record<string, readonly Dim[]>>): void {
  const entries = Object.entries(shapes);
  for (const [name, shape] of entries) {
    const value = graph.inputs.find((input) => input.name === name);
    const known = value?.shape;
    const fits = known?.every((dim, axis) => typeof dim !== 'number' || dim === shape[axis]) ?? true;
    if (value?.dtype === undefined || (known !== undefined && known.length !== shape.length) || !fits) {
      throw errors.optionsInvalid('trainingStep', [
        `The model has no input "${name}" of shape [${shape.join(', ')}].`,
      ]);
    }
    value.type = tensorType(value.dtype, shape);
  }
  if (entries.length === 0) return;
  // What the file says of other values is looser than what now follows from the inputs.
  for (const node of graph.nodes()) for (const output of node.outputs) output.type = undefined;
}

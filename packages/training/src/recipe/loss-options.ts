import { errors, type Model, type Value } from '@lithe/core';
import { z } from 'zod';
import { binaryCrossEntropy, crossEntropy } from '../losses/classification.ts';
import type { Loss } from '../losses/loss.ts';
import { cosineDistance, huber, klDivergence, meanSquaredError } from '../losses/regression.ts';
import { allowedNames, namedChoice } from './choice.ts';

/** What every loss with scores takes. */
export interface ScoresField {
  /** Value that holds scores before softmax or sigmoid; what the model's only output is made from by default. */
  readonly logits?: string | undefined;
  /** Name of the target; that of the data's only one by default. */
  readonly target?: string | undefined;
}

/** What every loss that compares an output takes. */
export interface OutputField {
  /** Output to compare; the model's only one by default. */
  readonly output?: string | undefined;
  /** Name of the target; that of the data's only one by default. */
  readonly target?: string | undefined;
}

/** A loss on labels as data: its name, and its options beside it. */
export type LossSettings =
  | ({
      /** Name of the loss. */
      readonly name: 'cross-entropy';
      /** What the target holds: class numbers by default, probabilities with mixup. */
      readonly targets?: 'labels' | 'probabilities' | undefined;
      /** Share of probability spread evenly over all classes; 0 by default. */
      readonly labelSmoothing?: number | undefined;
      /** Samples with this label count for nothing. */
      readonly ignoreIndex?: number | undefined;
    } & ScoresField)
  | ({
      /** Name of the loss. */
      readonly name: 'binary-cross-entropy';
    } & ScoresField)
  | ({
      /** Name of the loss. */
      readonly name: 'kl-divergence';
    } & ScoresField)
  | ({
      /** Name of the loss. */
      readonly name: 'mean-squared-error';
    } & OutputField)
  | ({
      /** Name of the loss. */
      readonly name: 'cosine-distance';
    } & OutputField)
  | ({
      /** Name of the loss. */
      readonly name: 'huber';
      /** Where the square turns into a line; 1 by default. */
      readonly delta?: number | undefined;
    } & OutputField);

/** {@link LossSettings}, or the name alone. */
export type LossChoice = LossSettings | LossSettings['name'];

const text = z.string().min(1).optional();
const scores = { logits: text, target: text };
const output = { output: text, target: text };

/** The schema of {@link LossChoice}. */
export const lossSchema: z.ZodType<LossSettings, LossChoice> = namedChoice(
  z.discriminatedUnion(
    'name',
    [
      z.strictObject({
        name: z.literal('cross-entropy'),
        ...scores,
        targets: z.enum(['labels', 'probabilities']).optional(),
        labelSmoothing: z.number().min(0).lt(1).optional(),
        ignoreIndex: z.int().optional(),
      }),
      z.strictObject({ name: z.literal('binary-cross-entropy'), ...scores }),
      z.strictObject({ name: z.literal('kl-divergence'), ...scores }),
      z.strictObject({ name: z.literal('mean-squared-error'), ...output }),
      z.strictObject({ name: z.literal('cosine-distance'), ...output }),
      z.strictObject({ name: z.literal('huber'), ...output, delta: z.number().positive().optional() }),
    ],
    allowedNames([
      'cross-entropy',
      'binary-cross-entropy',
      'kl-divergence',
      'mean-squared-error',
      'cosine-distance',
      'huber',
    ]),
  ),
);

/** A loss on labels for a model and its data. */
export interface TaskLoss {
  /** The loss. */
  readonly loss: Loss;
  /** The value of the model that it looks at. */
  readonly output: string;
  /** The target it compares with. */
  readonly target: string;
  /** Whether the target holds class numbers. */
  readonly labels: boolean;
  /** Number of classes, where the target holds class numbers and the model tells. */
  readonly classes: number | undefined;
}

/** What a loss is made for. */
export interface TaskLossRequest {
  /** The model; shapes should be inferred. */
  readonly model: Model;
  /** Names of the data's targets. */
  readonly targets: readonly string[];
  /** Whether an augmentation turns labels into probabilities. */
  readonly mixed?: boolean | undefined;
}

/**
 * The loss that options name, for a model and its data.
 *
 * @throws {LitheError} OPTIONS_INVALID when the model has several outputs and none is named; DATA_INVALID when the data
 *   has no such target
 */
export function taskLoss(settings: LossSettings, request: TaskLossRequest): TaskLoss {
  const target = targetFor(settings.target, request.targets);
  const { model, mixed = false } = request;
  switch (settings.name) {
    case 'cross-entropy': {
      const { name: logits, classes } = scoresOf(model, settings.logits);
      const labels = (settings.targets ?? 'labels') === 'labels';
      const targets = labels && !mixed ? 'labels' : 'probabilities';
      const { name: _, ...rest } = settings;
      const loss = crossEntropy({ ...rest, logits, target, targets });
      return { loss, output: logits, target, labels, classes: labels ? classes : undefined };
    }
    case 'binary-cross-entropy': {
      const { name: logits } = scoresBefore(model, settings.logits, sigmoids);
      return plain(binaryCrossEntropy({ logits, target }), logits, target);
    }
    case 'kl-divergence': {
      const { name: logits } = scoresOf(model, settings.logits);
      return plain(klDivergence({ logits, target }), logits, target);
    }
    case 'mean-squared-error':
    case 'cosine-distance':
    case 'huber': {
      const output = settings.output ?? onlyOutput(model).name;
      const make = { 'mean-squared-error': meanSquaredError, 'cosine-distance': cosineDistance, huber };
      const delta = settings.name === 'huber' ? settings.delta : undefined;
      return plain(make[settings.name]({ output, target, delta }), output, target);
    }
  }
}

const plain = (loss: Loss, output: string, target: string): TaskLoss => ({
  loss,
  output,
  target,
  labels: false,
  classes: undefined,
});

const usual = ['label', 'labels', 'target', 'targets'];

function targetFor(wanted: string | undefined, targets: readonly string[]): string {
  const known =
    wanted ?? (targets.length === 1 ? targets[0] : targets.find((target) => usual.includes(target)));
  if (known !== undefined && targets.includes(known)) return known;
  throw errors.dataInvalid(
    'training data',
    targets.length === 0
      ? 'it has no targets to learn from.'
      : `it has ${targets.map((target) => `"${target}"`).join(', ')}; the loss needs ${wanted === undefined ? 'one of them' : `"${wanted}"`}.`,
    targets.length === 0 ? 'Distillation without a loss on labels needs none.' : 'Name it: loss.target.',
  );
}

const softmaxes = ['Softmax', 'LogSoftmax'];
const sigmoids = ['Sigmoid'];

/** Where a model keeps its scores. */
export interface Scores {
  /** Name of the value. */
  readonly name: string;
  /** Size of its second axis, where it is known. */
  readonly classes: number | undefined;
}

/**
 * The value that holds a model's class scores: its only output, or what a softmax at its end reads.
 *
 * @param model shapes should be inferred
 * @param wanted a name instead
 * @throws {LitheError} OPTIONS_INVALID when the model has several outputs, or no value of the wanted name
 * @example
 * ```ts
 * import { mlp, scoresOf } from '@lithe/training';
 *
 * scoresOf(await mlp({ classes: 3 })); // => { name: 'logits', classes: 3 }
 * ```
 */
export function scoresOf(model: Model, wanted?: string): Scores {
  return scoresBefore(model, wanted, softmaxes);
}

function scoresBefore(model: Model, wanted: string | undefined, activations: readonly string[]): Scores {
  const value = wanted === undefined ? onlyOutput(model) : model.graph.value(wanted);
  if (value === undefined)
    throw errors.optionsInvalid('loss', [`The model has no value called "${wanted}".`]);
  const { producer } = value;
  const before = producer !== null && activations.some((op) => producer.is(op)) ? producer.input(0) : null;
  const found = wanted === undefined ? (before ?? value) : value;
  const classes = found.shape?.[1];
  return { name: found.name, classes: typeof classes === 'number' ? classes : undefined };
}

function onlyOutput({ graph }: Model): Value {
  const [only, another] = graph.outputs;
  if (only !== undefined && another === undefined) return only;
  throw errors.optionsInvalid(
    'loss',
    [
      `The model has ${graph.outputs.length} outputs: ${graph.outputs.map(({ name }) => `"${name}"`).join(', ')}.`,
    ],
    'Name the one to learn by: loss.logits or loss.output.',
  );
}

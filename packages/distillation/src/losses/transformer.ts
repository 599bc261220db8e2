import { errors, type Value } from '@lithe/core';
import type { Emitter } from '@lithe/training';
import { type DistillationLoss, featureShape, type Tap, tapped, tappedAlike } from './distillation-loss.ts';
import { averaged, divergence } from './logits.ts';
import { type ProjectorOptions, project } from './projector.ts';

/** Options of {@link hiddenStateDistillation}. */
export interface HiddenStateOptions extends Tap, ProjectorOptions {}

/**
 * Hidden states (Jiao et al., "TinyBERT", 2020, equation 8; also for the embeddings): mean squared error between the
 * teacher's `[N, T, D]` and the student's behind a learned linear map where widths differ.
 */
export function hiddenStateDistillation(options: HiddenStateOptions): DistillationLoss {
  return {
    name: `hidden state (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const { student, teacher } = tapped(context, options);
      const difference = emit.sub(project(context, student, teacher, options), teacher);
      return averaged(emit, emit.mul(difference, difference));
    },
  };
}

/**
 * Attention scores (TinyBERT, equation 7): mean squared error of the scores before softmax, `[N, heads, T, T]`. Both
 * must have the same number of heads. Scores below -100, which a mask makes, count as 0 in both.
 *
 * @throws {LitheError} OPTIONS_INVALID, from `build`, when the shapes differ
 */
export function attentionDistillation(options: Tap): DistillationLoss {
  return {
    name: `attention scores (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const { student, teacher } = tappedAlike(context, options, 'attentionDistillation');
      const open = (value: Value): Value =>
        emit.mask(emit.op('Greater', [value, emit.scalar(-100, value.dtype)]), value.dtype ?? 'float32');
      const kept = emit.mul(open(context.detach(student)), open(teacher));
      // A product with the mask would make NaN of an infinite score: it is chosen away.
      const chosen = (value: Value): Value =>
        emit.op('Where', [
          emit.op('Greater', [kept, emit.scalar(0.5, kept.dtype)]),
          value,
          emit.scalar(0, value.dtype),
        ]);
      const difference = emit.sub(chosen(student), chosen(teacher));
      return averaged(emit, emit.mul(difference, difference));
    },
  };
}

/** Options of {@link relationDistillation}. */
export interface RelationOptions extends Tap {
  /** Relation heads that both are split into; the student's number by default. */
  readonly heads?: number | undefined;
}

/**
 * Self-attention relations (Wang et al., "MiniLM", 2020, and "MiniLMv2", 2021): KL between the softmax of
 * V V^T / sqrt(d) of teacher and student, averaged over samples, heads and positions. Taps are queries, keys or values
 * as `[N, heads, T, d]`; numbers of heads and widths may differ, for both are split anew into the same number of
 * relation heads, as long as that number divides the widths.
 *
 * @throws {LitheError} OPTIONS_INVALID, from `build`, when the heads do not divide a width or the numbers of positions
 *   differ
 */
export function relationDistillation(options: RelationOptions): DistillationLoss {
  return {
    name: `relation (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const { student, teacher } = tapped(context, options);
      const [ours, theirs] = [
        headed(student, `"${options.student}" of the student`),
        headed(teacher, `"${options.teacher ?? options.student}" of the teacher`),
      ];
      if (ours.length !== theirs.length)
        throw errors.optionsInvalid('relationDistillation', [
          `${ours.name} has ${ours.length} positions and ${theirs.name} ${theirs.length}.`,
        ]);
      const { heads = ours.heads } = options;
      return divergence(emit, relation(emit, theirs, heads), relation(emit, ours, heads), 3);
    },
  };
}

/** A value `[N, heads, T, d]`. */
interface Headed {
  readonly value: Value;
  /** For messages. */
  readonly name: string;
  readonly heads: number;
  readonly length: number;
  readonly width: number;
}

function headed(value: Value, name: string): Headed {
  const [, heads, length, width, ...more] = featureShape(value, 'relationDistillation');
  if (heads === undefined || length === undefined || width === undefined || more.length > 0)
    throw errors.optionsInvalid('relationDistillation', [`${name} must be of shape [N, heads, T, d].`]);
  return { value, name, heads, length, width };
}

/** X X^T / sqrt(d) after splitting into `heads`, `[N, heads, T, T]`. */
function relation(emit: Emitter, { value, name, heads: own, length, width }: Headed, heads: number): Value {
  const all = own * width;
  if (!Number.isInteger(heads) || heads < 1 || all % heads !== 0)
    throw errors.optionsInvalid('relationDistillation', [
      `${heads} heads do not divide the width ${all} of ${name}.`,
    ]);
  const joined = emit.reshape(emit.transpose(value, [0, 2, 1, 3]), [-1, length, heads, all / heads]);
  const split = own === heads ? value : emit.transpose(joined, [0, 2, 1, 3]);
  return emit.scale(emit.matmul(split, emit.transpose(split, [0, 1, 3, 2])), 1 / Math.sqrt(all / heads));
}

import { errors, type Value } from '@lithe/core';
import type { Emitter } from '@lithe/training';
import { type DistillationLoss, rankOf, type Tap, type TappedValues, tapped } from './distillation-loss.ts';
import { averaged } from './logits.ts';
import { type ProjectorOptions, project } from './projector.ts';

/** Options of {@link hintDistillation}. */
export interface HintOptions extends Tap, ProjectorOptions {}

/**
 * Hints (Romero et al., "FitNets: Hints for Thin Deep Nets", 2015): mean squared error between a feature of the
 * teacher and the student's behind a learned regressor, a 1x1 convolution for `[N, C, H, W]` and `[N, C, D, H, W]` and a
 * linear map of the last axis otherwise. Where sizes agree the regressor is left out unless it is asked for. It is dropped at the end.
 *
 * @throws {LitheError} OPTIONS_INVALID when the features differ in more than their number of channels
 */
export function hintDistillation(options: HintOptions): DistillationLoss {
  return {
    name: `hint (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const { student, teacher } = tapped(context, options);
      const difference = emit.sub(project(context, student, teacher, options), teacher);
      return averaged(emit, emit.mul(difference, difference));
    },
  };
}

/** Options of {@link attentionTransfer}. */
export interface AttentionTransferOptions extends Tap {
  /** Power p of the activations; 2 by default. */
  readonly power?: number | undefined;
}

/**
 * Attention transfer (Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017): where the activations of
 * `[N, C, H, W]` are large. The map is the mean over channels of |a|^p, as a vector of length 1; the loss is the mean
 * squared difference of the maps. Numbers of channels may differ, height and width may not.
 *
 * @throws {LitheError} OPTIONS_INVALID when the power is not above 0, or, from `build`, when heights or widths differ
 */
export function attentionTransfer(options: AttentionTransferOptions): DistillationLoss {
  const { power = 2 } = options;
  if (!(power > 0 && Number.isFinite(power)))
    throw errors.optionsInvalid('attentionTransfer', ['"power" must be above 0.']);
  return {
    name: `attention transfer (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const values = images(tapped(context, options), 'attentionTransfer');
      const map = (value: Value): Value => {
        const energy =
          power === 2
            ? emit.mul(value, value)
            : emit.op('Pow', [emit.op('Abs', [value]), emit.scalar(power, value.dtype ?? 'float32')]);
        return unitRows(emit, emit.op('Flatten', [emit.mean(energy, [1], false)]));
      };
      const difference = emit.sub(map(values.student), map(values.teacher));
      return averaged(emit, emit.mul(difference, difference));
    },
  };
}

/** Rows `[N, D]` divided by their length. */
function unitRows(emit: Emitter, value: Value): Value {
  const squares = emit.sum(emit.mul(value, value), [1], true);
  return emit.div(value, emit.op('Sqrt', [emit.shift(squares, 1e-24)]));
}

function images(values: TappedValues, what: string): TappedValues {
  const [ours, theirs] = [values.student.shape ?? [], values.teacher.shape ?? []];
  const alike = (axis: number): boolean => {
    const [own, other] = [ours[axis], theirs[axis]];
    return typeof own !== 'number' || typeof other !== 'number' || own === other;
  };
  const fits = ours.length === 4 && theirs.length === 4 && alike(2) && alike(3);
  if (fits) return values;
  throw errors.optionsInvalid(
    what,
    [
      `"${values.student.name}" is [${ours.join(', ')}] and the teacher's value [${theirs.join(', ')}]; both must be [N, C, H, W] with the same H and W.`,
    ],
    'suggestTaps lists pairs that fit.',
  );
}

/**
 * Similarity-preserving distillation (Tung and Mori, 2019): samples that are alike for the teacher should be for the
 * student. G = F F^T of flattened features, rows of length 1; ||G_T - G_S||^2 / N^2. Features may be of any shape.
 */
export function similarityPreserving(options: Tap): DistillationLoss {
  return {
    name: `similarity (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const values = tapped(context, options);
      const gram = (value: Value): Value => {
        const rows = rankOf(value) === 2 ? value : emit.op('Flatten', [value]);
        return unitRows(emit, emit.matmul(rows, emit.transpose(rows, [1, 0])));
      };
      const difference = emit.sub(gram(values.student), gram(values.teacher));
      // The mean over N x N elements is the sum over N^2.
      return averaged(emit, emit.mul(difference, difference));
    },
  };
}

import { createRng, errors, Tensor, type Value } from '@lithe/core';
import { kaimingUniform } from '@lithe/training';
import { type DistillationContext, featureShape } from './distillation-loss.ts';

/** How a student's feature is brought to the teacher's number of channels. */
export interface ProjectorOptions {
  /** `auto` (default) where sizes differ; `always`, also where they do not. */
  readonly projector?: 'auto' | 'always' | undefined;
  /** Seed of its first weights; 0 by default. */
  readonly seed?: number | undefined;
}

/**
 * The student's feature in the teacher's shape: behind a learned 1x1 convolution for `[N, C, H, W]` and
 * `[N, C, D, H, W]`, behind a learned linear map of the last axis otherwise. The weights belong to the loss: they learn,
 * and are left behind at the end.
 *
 * @throws {LitheError} OPTIONS_INVALID when other sizes than that of the channels differ
 */
export function project(
  context: DistillationContext,
  student: Value,
  teacher: Value,
  { projector = 'auto', seed = 0 }: ProjectorOptions,
): Value {
  const [ours, theirs] = [featureShape(student, 'hint'), featureShape(teacher, 'hint')];
  const axis = ours.length > 3 ? 1 : ours.length - 1;
  const fits =
    ours.length === theirs.length &&
    ours.every((dim, index) => index === 0 || index === axis || dim === theirs[index]);
  if (!fits) {
    throw errors.optionsInvalid(
      'the hint',
      [
        `"${student.name}" is [${ours.join(', ')}] and the teacher's value [${theirs.join(', ')}]: only channels may differ.`,
      ],
      'suggestTaps lists pairs that fit.',
    );
  }
  const [from, to] = [ours[axis] as number, theirs[axis] as number];
  if (from === to && projector === 'auto') return student;
  const { emit } = context;
  const draw = kaimingUniform({ slope: Math.sqrt(5) });
  const name = `projector:${student.name}:${teacher.name}`;
  const weight = (shape: readonly number[]): Value =>
    context.parameter(`${name}.weight`, draw({ shape, fanIn: from, fanOut: to, rng: createRng(seed) }));
  const bias = context.parameter(`${name}.bias`, Tensor.from('float32', [to], new Float32Array(to)));
  if (ours.length > 3)
    return emit.op('Conv', [student, weight([to, from, ...ours.slice(2).map(() => 1)]), bias]);
  return emit.add(emit.matmul(student, weight([from, to])), bias);
}

import { createRng, type Dim, errors, Tensor, type Value } from '@lithe/core';
import { kaimingUniform } from '@lithe/training';
import type { DistillationContext } from './distillation-loss.ts';

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
 * @throws {LitheError} OPTIONS_INVALID when other sizes than that of the channels differ, or numbers of channels are not
 *   known
 */
export function project(
  context: DistillationContext,
  student: Value,
  teacher: Value,
  { projector = 'auto', seed = 0 }: ProjectorOptions,
): Value {
  const [ours, theirs] = [student.shape ?? [], teacher.shape ?? []];
  const axis = ours.length > 3 ? 1 : ours.length - 1;
  const [from, to] = [ours[axis], theirs[axis]];
  // Sizes of a picture or the length of a text may be open: both come from what is fed.
  const alike = (dim: Dim, index: number): boolean => {
    const other = theirs[index];
    return (
      index === 0 || index === axis || typeof dim !== 'number' || typeof other !== 'number' || dim === other
    );
  };
  const known = axis > 0 && typeof from === 'number' && typeof to === 'number';
  const fits = known && ours.length === theirs.length && ours.every(alike);
  if (!fits) {
    throw errors.optionsInvalid(
      'the hint',
      [
        `"${student.name}" is [${ours.join(', ')}] and the teacher's value [${theirs.join(', ')}]: only channels may differ, and their numbers must be known.`,
      ],
      'suggestTaps lists pairs that fit.',
    );
  }
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

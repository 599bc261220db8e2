import { errors, inferShapes, type Model, type Value } from '@lithe/core';
import { matchesPattern } from '@lithe/training';
import type { Tap } from './losses/distillation-loss.ts';

/**
 * Names of values that match a pattern, in the order they are computed in: `*` stands for any text. Constants and
 * weights are left out.
 *
 * @throws {LitheError} OPTIONS_INVALID when none does
 */
export function findTaps(model: Model, pattern: string): readonly string[] {
  const names = computedValues(model)
    .map(({ name }) => name)
    .filter((name) => matchesPattern(name, [pattern]));
  if (names.length > 0) return names;
  throw errors.optionsInvalid('findTaps', [`No computed value of the model matches "${pattern}".`]);
}

function computedValues({ graph }: Model): readonly Value[] {
  const found: Value[] = [];
  for (const node of graph.nodes())
    if (!node.is('Constant')) found.push(...node.outputs.filter((value) => value.name !== ''));
  return found;
}

/** A pair of values that a loss could compare. */
export interface TapSuggestion extends Required<Tap> {
  /** Shape of the student's, without the samples. */
  readonly studentShape: readonly number[];
  /** Shape of the teacher's, without the samples. */
  readonly teacherShape: readonly number[];
  /** Whether only the numbers of channels differ, so that a projector makes them comparable. */
  readonly projector: boolean;
}

/**
 * Pairs of features that could be compared: where both models come out of a stage, their last values of the same
 * height and width (`[N, C, H, W]`) or, for `[N, T, D]`, layers at the same relative depth.
 *
 * @param student not changed
 * @param teacher not changed
 */
export async function suggestTaps(student: Model, teacher: Model): Promise<readonly TapSuggestion[]> {
  const [ours, theirs] = await Promise.all([featuresOf(student), featuresOf(teacher)]);
  const suggestions: TapSuggestion[] = [];
  const taken = new Set<string>();
  for (const mine of ours) {
    const fitting = theirs.filter((other) => other.place === mine.place && !taken.has(other.name));
    // The one at the nearest relative depth.
    const nearest = fitting.sort(
      (a, b) => Math.abs(a.depth - mine.depth) - Math.abs(b.depth - mine.depth),
    )[0];
    if (nearest === undefined) continue;
    taken.add(nearest.name);
    suggestions.push({
      student: mine.name,
      teacher: nearest.name,
      studentShape: mine.shape,
      teacherShape: nearest.shape,
      projector: mine.shape.join() !== nearest.shape.join(),
    });
  }
  return suggestions;
}

interface Feature {
  readonly name: string;
  readonly shape: readonly number[];
  /** What must be equal: rank and the sizes that are no channels. */
  readonly place: string;
  /** 0 at the input, 1 at the output. */
  readonly depth: number;
}

/** Ends of residual blocks and activations: the values people compare. */
const ends = new Set(['Relu', 'Clip', 'LeakyRelu', 'HardSwish', 'Add', 'LayerNormalization', 'Gelu']);

async function featuresOf(model: Model): Promise<readonly Feature[]> {
  const copy = model.clone();
  await inferShapes(copy);
  const values = computedValues(copy);
  const features: Feature[] = [];
  values.forEach((value, index) => {
    const shape = value.shape?.slice(1);
    const { producer } = value;
    if (producer === null || !ends.has(producer.opType) || value.isGraphOutput) return;
    if (shape === undefined || shape.length < 2 || !shape.every((dim) => typeof dim === 'number')) return;
    const sizes = shape as readonly number[];
    const place =
      sizes.length === 3
        ? `image ${sizes[1]}x${sizes[2]}`
        : `${sizes.length}: ${sizes.slice(0, -1).join('x')}`;
    features.push({ name: value.name, shape: sizes, place, depth: index / Math.max(1, values.length - 1) });
  });
  // The last of each place is where a stage ends; sequences keep all their layers.
  return features.filter(
    (feature, index) =>
      !feature.place.startsWith('image') ||
      features.findLastIndex((other) => other.place === feature.place) === index,
  );
}

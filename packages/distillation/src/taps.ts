import { type Dim, errors, inferShapes, type Model, type Node, type Value } from '@lithe/core';
import { matchesPattern } from '@lithe/training';
import { boundTogether, isComparable } from './bound-shapes.ts';
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
  /** Shape of the student's, without the samples; lengths and sizes of pictures may be open. */
  readonly studentShape: readonly Dim[];
  /** Shape of the teacher's, without the samples. */
  readonly teacherShape: readonly Dim[];
  /** Whether only the numbers of channels differ, so that a projector makes them comparable. */
  readonly projector: boolean;
}

/**
 * Pairs of features that could be compared: where both models come out of a stage, their last values of the same
 * height and width (`[N, C, H, W]`, and so for volumes); for `[N, T, D]`, blocks at the same relative depth: what comes out
 * of their residual additions, and of the normalization right behind, or out of activations and normalizations where there
 * is no such addition. Open sizes of inputs, such as lengths of texts, are taken for equal where both models have an
 * input of that name: one feed decides them.
 *
 * @param student not changed
 * @param teacher not changed
 */
export async function suggestTaps(student: Model, teacher: Model): Promise<readonly TapSuggestion[]> {
  const bound = await boundTogether([student, teacher]);
  const [ours, theirs] = await Promise.all([featuresOf(student, bound[0]), featuresOf(teacher, bound[1])]);
  return [...ours].flatMap(([place, mine]) => {
    const other = theirs.get(place) ?? [];
    // Each takes the one at its relative depth; where the teacher has fewer, each of those is taken once.
    const count = Math.min(mine.length, other.length);
    return Array.from({ length: count }, (_, index) => {
      const at = (all: readonly Feature[]): Feature =>
        all[Math.round(((index + 1) * all.length) / count) - 1] as Feature;
      const [own, their] = [at(mine), at(other)];
      return {
        student: own.name,
        teacher: their.name,
        studentShape: own.shape,
        teacherShape: their.shape,
        projector: own.channels !== their.channels,
      };
    });
  });
}

interface Feature {
  readonly name: string;
  readonly shape: readonly Dim[];
  readonly channels: number;
}

/** Ends of residual blocks and activations: the values people compare. */
const ends = new Set(['Relu', 'Clip', 'LeakyRelu', 'HardSwish', 'Add', 'LayerNormalization', 'Gelu']);

/**
 * Features by what must be equal of two that are compared: their rank, and the sizes that are no channels.
 *
 * @param bound the model with sizes that can be compared with the other's
 */
async function featuresOf(model: Model, bound: Model): Promise<ReadonlyMap<string, readonly Feature[]>> {
  const copy = model.clone();
  await inferShapes(copy);
  const order = new Map([...copy.graph.nodes()].map((node, index) => [node, index]));
  const pictures = new Map<string, readonly Feature[]>();
  const layers = new Map<string, Feature[]>();
  const blocks = new Map<string, Feature[]>();
  const add = (to: Map<string, Feature[]>, place: string, feature: Feature): void => {
    const known = to.get(place);
    if (known === undefined) to.set(place, [feature]);
    else known.push(feature);
  };
  for (const value of computedValues(copy)) {
    const { producer } = value;
    if (producer === null || !ends.has(producer.opType) || value.isGraphOutput) continue;
    const feature = featureOf(value);
    const sizes = placeOf(value, bound);
    if (feature === undefined || sizes === undefined) continue;
    // Scores of attention have the rank of a picture.
    if (value.uses.some(({ node }) => node.is('Softmax'))) continue;
    if (feature.shape.length > 2) {
      // The last of a place is where a stage ends.
      pictures.set(`image ${sizes.join('x')}`, [feature]);
      continue;
    }
    const place = `sequence ${sizes[0]}`;
    if (!isResidual(producer, order)) add(layers, place, feature);
    else add(blocks, place, normalized(value) ?? feature);
  }
  return new Map([...pictures, ...layers, ...blocks]);
}

/** A value as a feature: where it is known to have more axes than samples and channels, and how many channels. */
function featureOf({ name, shape }: Value): Feature | undefined {
  const own = shape?.slice(1) ?? [];
  const channels = own.length > 2 ? own[0] : own[1];
  return typeof channels === 'number' ? { name, shape: own, channels } : undefined;
}

/** Sizes of a feature that are no channels; `undefined` where one cannot be compared. */
function placeOf(value: Value, bound: Model): readonly Dim[] | undefined {
  const shapes = [value.shape, bound.graph.value(value.name)?.shape];
  const places = shapes.map((shape = []) => (shape.length > 3 ? shape.slice(2) : shape.slice(1, 2)));
  const [own, other] = places;
  if (own?.every((dim) => typeof dim === 'number') === true) return own;
  return other !== undefined && other.length > 0 && other.every(isComparable) ? other : undefined;
}

/** Whether a node adds to a value what was computed from it. */
function isResidual(node: Node, order: ReadonlyMap<Node, number>): boolean {
  const [left, right] = node.inputs;
  if (!node.is('Add') || left == null || right == null) return false;
  return leadsTo(left, right, order) || leadsTo(right, left, order);
}

/** Whether a value is computed from another. Looks at what lies between them alone. */
function leadsTo(from: Value, to: Value, order: ReadonlyMap<Node, number>): boolean {
  if (from.producer === null || from === to) return false;
  const first = order.get(from.producer) ?? 0;
  const seen = new Set<Node>();
  const waiting: Value[] = [to];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (value === from) return true;
    const { producer } = value;
    if (producer === null || seen.has(producer) || (order.get(producer) ?? 0) <= first) continue;
    seen.add(producer);
    for (const input of producer.inputs) if (input !== null) waiting.push(input);
  }
  return false;
}

/** What a normalization makes of a value that nothing else reads. */
function normalized({ uses }: Value): Feature | undefined {
  const [only, another] = uses;
  if (only === undefined || another !== undefined || !only.node.is('LayerNormalization')) return undefined;
  const output = only.node.output();
  if (output.isGraphOutput) return undefined;
  return featureOf(output);
}

import { constantOf, elementsOf, errors, isFloat, type Model, Tensor } from '@lithe/core';
import { findWeights, promoteConstants } from '@lithe/training';

/** How a student's first weights are taken from its teacher. */
export interface InitializeOptions {
  /**
   * The teacher's weight for a weight of the student, by name: `undefined` leaves it as it is. Equal names by default.
   */
  readonly source?: ((studentWeight: string) => string | undefined) | undefined;
  /**
   * What is done where a weight of the teacher is larger along some axis: `spread` (default) takes evenly spaced
   * slices, `first` the first ones. Weights with a smaller axis are left as they are.
   */
  readonly slices?: 'spread' | 'first' | undefined;
}

/** A weight that was not taken over. */
export interface WeightLeft {
  /** Name of the student's weight. */
  readonly name: string;
  /** Why, as a clause. */
  readonly reason: string;
}

/** A student with weights of its teacher. */
export interface InitializedStudent {
  /** The student: a copy, in which weights that `Constant` nodes held are initializers. */
  readonly model: Model;
  /** Names of the student's weights that were taken over. */
  readonly taken: readonly string[];
  /** Names of those that were not, and why. */
  readonly left: readonly WeightLeft[];
}

/**
 * Gives a student the weights of its teacher, layer by layer: the start of DistilBERT (Sanh et al., 2019) and of
 * TinyBERT. A student that was cut out of its teacher (see `@lithe/pruning`) has them already.
 *
 * @param student not changed
 * @param teacher not changed
 * @throws {LitheError} OPTIONS_INVALID when no weight fits
 * @example
 * ```ts
 * import { initializeFrom } from '@lithe/distillation';
 * import { mlp } from '@lithe/training';
 *
 * const teacher = await mlp({ inputs: 2, hidden: [8, 8], classes: 3, seed: 1 });
 * const student = await mlp({ inputs: 2, hidden: [4], classes: 3 });
 * const { taken } = await initializeFrom(student, teacher);
 * taken; // => ['linear1.weight', 'linear1.bias', 'classifier.weight', 'classifier.bias']
 * ```
 */
export async function initializeFrom(
  student: Model,
  teacher: Model,
  { source = (name) => name, slices = 'spread' }: InitializeOptions = {},
): Promise<InitializedStudent> {
  const model = student.clone();
  const { graph } = model;
  const stored = new Set([...graph.initializers].map(({ name }) => name));
  promoteConstants(graph);
  // Of what was held in nodes, weights alone: not the numbers of arithmetic.
  const weights = new Set(await findWeights(graph));
  const taken: string[] = [];
  const left: WeightLeft[] = [];
  for (const value of graph.initializers) {
    const { name, initializer } = value;
    if (initializer === undefined || !isFloat(initializer.dtype)) continue;
    if (!stored.has(name) && !weights.has(value)) continue;
    const from = source(name);
    const found = from === undefined ? undefined : constantOf(teacher.graph.value(from));
    if (found === undefined || found.dtype !== initializer.dtype) {
      left.push({
        name,
        reason:
          from === undefined
            ? 'no weight was named for it'
            : `the teacher has no ${initializer.dtype} weight "${from}"`,
      });
      continue;
    }
    const { shape } = initializer;
    if (found.shape.length !== shape.length || found.shape.some((size, axis) => size < (shape[axis] ?? 0))) {
      left.push({
        name,
        reason: `it is [${shape.join(', ')}] and the teacher's only [${found.shape.join(', ')}]`,
      });
      continue;
    }
    graph.setInitializer(value, sliced(await found.load(), shape, slices));
    taken.push(name);
  }
  if (taken.length === 0)
    throw errors.optionsInvalid(
      'initializeFrom',
      ['No weight of the student has one of the teacher that fits.'],
      'Name them: source.',
    );
  return { model, taken, left };
}

/** Indices of an axis that are kept. */
function kept(size: number, count: number, slices: 'spread' | 'first'): readonly number[] {
  return Array.from({ length: count }, (_, index) =>
    slices === 'first' ? index : Math.floor((index * size) / count),
  );
}

function sliced(tensor: Tensor, shape: readonly number[], slices: 'spread' | 'first'): Tensor {
  if (tensor.shape.every((size, axis) => size === shape[axis])) return tensor;
  const width = tensor.byteLength / tensor.size;
  const bytes = new Uint8Array(elementsOf(shape) * width);
  const source = tensor.bytes;
  const axes = shape.map((count, axis) => kept(tensor.shape[axis] ?? 1, count, slices));
  const strides = tensor.shape.map((_, axis) => elementsOf(tensor.shape.slice(axis + 1)));
  let to = 0;
  const copy = (axis: number, offset: number): void => {
    for (const index of axes[axis] ?? []) {
      const at = offset + index * (strides[axis] ?? 1);
      if (axis + 1 < shape.length) copy(axis + 1, at);
      else {
        bytes.set(source.subarray(at * width, (at + 1) * width), to);
        to += width;
      }
    }
  };
  copy(0, 0);
  return Tensor.fromBytes(tensor.dtype, shape, bytes);
}

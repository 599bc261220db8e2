import { type Dim, elementsOf, errors, type Feeds, type Graph, type Rng, Tensor } from '@lithe/core';
import type { DropoutMask } from '../step/training-form.ts';

/** Sizes of the symbols in a model's inputs, as a batch has them. */
export function symbolSizes(graph: Graph, inputs: Feeds): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const [name, tensor] of Object.entries(inputs)) {
    graph.value(name)?.shape?.forEach((dim, axis) => {
      const size = tensor.shape[axis];
      if (typeof dim === 'string' && size !== undefined) sizes.set(dim, size);
    });
  }
  return sizes;
}

/**
 * Draws the masks of one step: 0 with probability `ratio`, else 1 / (1 - ratio) (Srivastava et al., 2014, inverted
 * form). A mask depends on the stream and its name alone.
 *
 * @throws {LitheError} DATA_INVALID when the batch has no input that gives a symbol of a mask its size
 */
export function maskFeeds(
  masks: readonly DropoutMask[],
  sizes: ReadonlyMap<string, number>,
  rng: Rng,
): Feeds {
  return Object.fromEntries(
    masks.map(({ name, shape, ratio }) => {
      const dims = shape.map((dim) => sizeOf(dim, sizes, name));
      const own = rng.fork(name);
      const kept = 1 / (1 - ratio);
      const values = new Float32Array(elementsOf(dims));
      for (let index = 0; index < values.length; index++) values[index] = own.next() < ratio ? 0 : kept;
      return [name, Tensor.from('float32', dims, values)];
    }),
  );
}

function sizeOf(dim: Dim, sizes: ReadonlyMap<string, number>, mask: string): number {
  const size = typeof dim === 'string' ? sizes.get(dim) : dim;
  if (typeof size === 'number') return size;
  throw errors.dataInvalid('batch', `no input gives "${String(dim)}" a size, which "${mask}" has.`);
}

import { elementsOf, type Feeds, type Rng, Tensor } from '@lithe/core';
import type { DropoutMask } from '../step/training-step.ts';

/** Draws the masks of one step: 0 with probability `ratio`, else 1 / (1 - ratio) (Srivastava et al., 2014, inverted form). */
export function maskFeeds(masks: readonly DropoutMask[], batchSize: number, rng: Rng): Feeds {
  return Object.fromEntries(
    masks.map(({ name, shape, ratio }) => {
      const dims = shape.map((dim, axis) => (typeof dim === 'number' ? dim : axis === 0 ? batchSize : 1));
      const own = rng.fork(name);
      const kept = 1 / (1 - ratio);
      const values = new Float32Array(elementsOf(dims));
      for (let index = 0; index < values.length; index++) values[index] = own.next() < ratio ? 0 : kept;
      return [name, Tensor.from('float32', dims, values)];
    }),
  );
}

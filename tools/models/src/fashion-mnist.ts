import type { Tensor } from '@lithe/core';
import { loadImages, tensorsOf } from '@lithe-internal/example-cnn/images';

/** Images as the networks take them, and their classes. */
export interface FashionPart {
  /** Mean 0 and deviation 1, float32 `[count, 1, 28, 28]`. */
  readonly x: Tensor<'float32'>;
  /** 0 to 9, int64 `[count]`. */
  readonly label: Tensor<'int64'>;
}

/**
 * The first images of a part of Fashion-MNIST in its seeded order: 60,000 that the networks were trained on (calibrate
 * on these) and 10,000 held out (measure on these).
 *
 * @param count all by default
 */
export async function fashionMnist(part: 'train' | 'test', count?: number): Promise<FashionPart> {
  const images = await loadImages('fashion');
  return tensorsOf(images[part], count);
}

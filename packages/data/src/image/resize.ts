import type { Image } from './image.ts';

/** How pixels are interpolated. */
export type Interpolation = 'nearest' | 'bilinear' | 'bicubic';

/** What {@link resizeImage} makes. */
export interface ResizeTo {
  /** New width. */
  readonly width: number;
  /** New height. */
  readonly height: number;
  /** How pixels are interpolated. */
  readonly interpolation: Interpolation;
  /** Whether shrinking averages over all pixels it covers (as Pillow and torchvision), or not (as OpenCV). */
  readonly antialias: boolean;
}

/** For every output position: where its window begins, and its weights. */
interface Windows {
  readonly starts: Int32Array;
  readonly weights: Float32Array;
  /** Weights per position. */
  readonly taps: number;
}

const kernels: Readonly<Record<'bilinear' | 'bicubic', { readonly support: number; at(x: number): number }>> =
  {
    bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
    // Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981, with a = -1/2.
    bicubic: {
      support: 2,
      at: (x) => {
        const d = Math.abs(x);
        if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
        return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
      },
    },
  };

/**
 * Resizes an image, pixel centres at halves. Weights of pixels beyond the edge go to those inside. Rows and columns
 * are resampled one after the other and rounded to 8 bits each time, as Pillow does.
 */
export function resizeImage(image: Image, to: ResizeTo): Image {
  const { width, height, rgb } = image;
  if (width === to.width && height === to.height) return image;
  if (to.interpolation === 'nearest') return nearest(image, to);
  const columns = windowsOf(width, to.width, to);
  const rows = windowsOf(height, to.height, to);
  const across = new Uint8ClampedArray(3 * to.width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to.width; x++) {
      let red = 0;
      let green = 0;
      let blue = 0;
      let from = 3 * (y * width + columns.starts[x]!);
      for (let tap = x * columns.taps, end = tap + columns.taps; tap < end; tap++, from += 3) {
        const weight = columns.weights[tap]!;
        if (weight === 0) continue;
        red += weight * rgb[from]!;
        green += weight * rgb[from + 1]!;
        blue += weight * rgb[from + 2]!;
      }
      const at = 3 * (y * to.width + x);
      across[at] = Math.floor(red + 0.5);
      across[at + 1] = Math.floor(green + 0.5);
      across[at + 2] = Math.floor(blue + 0.5);
    }
  }
  const stride = 3 * to.width;
  const out = new Uint8ClampedArray(stride * to.height);
  const line = new Float32Array(stride);
  for (let y = 0; y < to.height; y++) {
    line.fill(0);
    for (let tap = 0; tap < rows.taps; tap++) {
      const weight = rows.weights[y * rows.taps + tap]!;
      if (weight === 0) continue;
      const from = (rows.starts[y]! + tap) * stride;
      for (let x = 0; x < stride; x++) line[x]! += weight * across[from + x]!;
    }
    // A clamped array rounds halves to even; half up is what image libraries do.
    for (let x = 0; x < stride; x++) out[y * stride + x] = Math.floor(line[x]! + 0.5);
  }
  return { width: to.width, height: to.height, rgb: new Uint8Array(out.buffer) };
}

function windowsOf(from: number, to: number, { interpolation, antialias }: ResizeTo): Windows {
  const kernel = kernels[interpolation === 'bicubic' ? 'bicubic' : 'bilinear'];
  const scale = from / to;
  const stretch = antialias ? Math.max(1, scale) : 1;
  const support = kernel.support * stretch;
  const taps = Math.min(from, Math.ceil(support) * 2 + 1);
  const starts = new Int32Array(to);
  const weights = new Float32Array(to * taps);
  for (let index = 0; index < to; index++) {
    const centre = (index + 0.5) * scale;
    const start = Math.max(0, Math.min(Math.floor(centre - support + 0.5), from - taps));
    starts[index] = start;
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) sum += kernel.at((start + tap + 0.5 - centre) / stretch);
    for (let tap = 0; tap < taps; tap++) {
      weights[index * taps + tap] = kernel.at((start + tap + 0.5 - centre) / stretch) / sum;
    }
  }
  return { starts, weights, taps };
}

function nearest({ width, height, rgb }: Image, to: ResizeTo): Image {
  const out = new Uint8Array(3 * to.width * to.height);
  for (let y = 0; y < to.height; y++) {
    const row = Math.min(height - 1, Math.floor(((y + 0.5) * height) / to.height));
    for (let x = 0; x < to.width; x++) {
      const from = 3 * (row * width + Math.min(width - 1, Math.floor(((x + 0.5) * width) / to.width)));
      const at = 3 * (y * to.width + x);
      out[at] = rgb[from]!;
      out[at + 1] = rgb[from + 1]!;
      out[at + 2] = rgb[from + 2]!;
    }
  }
  return { width: to.width, height: to.height, rgb: out };
}

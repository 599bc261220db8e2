import { attr } from '../../op/attributes.ts';
import { elementsOf, stridesOf } from '../../tensor/dtype.ts';
import { fromNumbers, toIntegers } from '../elements.ts';
import type { KernelTable, ReferenceKernel } from '../kernel.ts';
import { isReal, REAL } from './numeric.ts';
import { cubicWeight } from './resize.ts';
import { roundHalfEven } from './special-functions.ts';

type Padding = 'zeros' | 'border' | 'reflection';

/** Folds a coordinate back into [low, high], as mirrors at both ends would. */
function reflected(x: number, low: number, high: number): number {
  const range = high - low;
  if (range <= 0) return low;
  const distance = x < low ? low - x : x > high ? x - high : -1;
  if (distance < 0) return x;
  const turns = Math.floor(distance / range);
  const rest = distance - turns * range;
  const fromLow = (turns % 2 === 0) === x < low;
  return fromLow ? low + rest : high - rest;
}

/** One axis of a place to sample at: positions that may be -1 (outside, zero) and their weights. */
interface AxisTaps {
  readonly at: number[];
  readonly weights: number[];
}

interface SampleMode {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly padding: Padding;
  readonly alignCorners: boolean;
}

function axisTaps(normalized: number, dim: number, { mode, padding, alignCorners }: SampleMode): AxisTaps {
  const raw = alignCorners ? ((normalized + 1) / 2) * (dim - 1) : ((normalized + 1) * dim - 1) / 2;
  const [low, high] = alignCorners ? [0, dim - 1] : [-0.5, dim - 0.5];
  let x = mode === 'nearest' ? roundHalfEven(raw) : raw;
  // Cubic weights reach over the edge: runtimes fold the pixels that they read, not the place itself.
  if (mode !== 'cubic' && (x < low || x > high)) {
    if (padding === 'border') x = Math.min(Math.max(x, 0), dim - 1);
    else if (padding === 'reflection') x = reflected(x, low, high);
  }
  const pixel = (at: number): number => {
    if (at >= 0 && at < dim) return at;
    if (padding === 'zeros' || !Number.isFinite(at)) return -1;
    return padding === 'border' ? Math.min(Math.max(at, 0), dim - 1) : Math.trunc(reflected(at, low, high));
  };
  if (mode === 'nearest') return { at: [pixel(Math.trunc(x))], weights: [1] };
  const first = Math.floor(x);
  const offsets = mode === 'linear' ? [0, 1] : [-1, 0, 1, 2];
  return {
    at: offsets.map((offset) => pixel(first + offset)),
    weights: offsets.map((offset) => {
      const distance = first + offset - x;
      return mode === 'linear' ? 1 - Math.abs(distance) : cubicWeight(distance, -0.75);
    }),
  };
}

/** ONNX `GridSample` (opset 20): samples `[N, C, spatial…]` at the normalized places of a grid, x first. */
const gridSample: ReferenceKernel = (context) => {
  const options = context.attributes({
    align_corners: attr.flag(false),
    mode: attr.oneOf(['linear', 'nearest', 'cubic', 'bilinear', 'bicubic'], 'linear'),
    padding_mode: attr.oneOf(['zeros', 'border', 'reflection'], 'zeros'),
  });
  // Opset 16 spelled the last two.
  const mode = options.mode === 'bilinear' ? 'linear' : options.mode === 'bicubic' ? 'cubic' : options.mode;
  const how: SampleMode = { mode, padding: options.padding_mode, alignCorners: options.align_corners };
  const [input, grid] = [context.tensor(0), context.tensor(1)];
  if (!isReal(input.dtype)) context.wrongType(input.dtype, REAL);
  const spatial = input.shape.slice(2);
  const rank = spatial.length;
  if (
    rank < 1 ||
    grid.shape.length !== rank + 2 ||
    grid.shape.at(-1) !== rank ||
    grid.shape[0] !== input.shape[0]
  ) {
    context.fail(`a grid [${grid.shape.join(', ')}] does not fit an input [${input.shape.join(', ')}]`);
  }
  const [batch, channels] = input.shape as [number, number];
  const shape = [batch, channels, ...grid.shape.slice(1, -1)];
  context.guard(input.dtype, shape);
  const places = elementsOf(grid.shape.slice(1, -1));
  const area = elementsOf(spatial);
  const strides = stridesOf(spatial);
  const values = input.toFloat64Array();
  const where = grid.toFloat64Array();
  const out = new Float64Array(elementsOf(shape));
  for (let n = 0; n < batch; n++) {
    for (let place = 0; place < places; place++) {
      let at: number[] = [0];
      let weights: number[] = [1];
      for (let axis = 0; axis < rank; axis++) {
        // The grid names the last axis first.
        const taps = axisTaps(where[(n * places + place) * rank + rank - 1 - axis]!, spatial[axis]!, how);
        const stride = strides[axis]!;
        at = at.flatMap((base) =>
          taps.at.map((position) => (base < 0 || position < 0 ? -1 : base + position * stride)),
        );
        weights = weights.flatMap((weight) => taps.weights.map((other) => weight * other));
      }
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let tap = 0; tap < at.length; tap++) {
          if (at[tap]! >= 0) sum += weights[tap]! * values[(n * channels + c) * area + at[tap]!]!;
        }
        out[(n * channels + c) * places + place] = sum;
      }
    }
  }
  return [fromNumbers(input.dtype, shape, out)];
};

/** ONNX `AffineGrid` (opset 20): the places that affine maps `theta` of normalized output coordinates name. */
const affineGrid: ReferenceKernel = (context) => {
  const { align_corners: alignCorners } = context.attributes({ align_corners: attr.flag(false) });
  const theta = context.tensor(0);
  const size = toIntegers(context.tensor(1));
  const spatial = size.slice(2);
  const rank = spatial.length;
  const batch = theta.shape[0]!;
  if (theta.shape.join() !== [batch, rank, rank + 1].join() || size[0] !== batch) {
    context.fail(`theta [${theta.shape.join(', ')}] does not fit size [${size.join(', ')}]`);
  }
  const shape = [batch, ...spatial, rank];
  const out = new Float64Array(context.guard(theta.dtype, shape));
  const matrix = theta.toFloat64Array();
  const strides = stridesOf(spatial);
  const places = elementsOf(spatial);
  for (let place = 0; place < batch * places; place++) {
    const n = Math.floor(place / places);
    for (let row = 0; row < rank; row++) {
      let sum = matrix[(n * rank + row) * (rank + 1) + rank]!;
      for (let column = 0; column < rank; column++) {
        const axis = rank - 1 - column;
        const dim = spatial[axis]!;
        const index = Math.floor((place % places) / strides[axis]!) % dim;
        const coordinate = alignCorners
          ? dim === 1
            ? -1
            : (2 * index) / (dim - 1) - 1
          : (2 * index + 1) / dim - 1;
        sum += matrix[(n * rank + row) * (rank + 1) + column]! * coordinate;
      }
      out[place * rank + row] = sum;
    }
  }
  return [fromNumbers(theta.dtype, shape, out)];
};

/** Sampling at computed places: `ai.onnx`. */
export const samplingKernels: KernelTable = { AffineGrid: affineGrid, GridSample: gridSample };

import { floorDivideDim, multiplyDims } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { type AnyInferContext, axesOf, requireRank, unknownDims } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the image operators. */
export const imageSchemas = {
  AffineGrid: {
    since: 20,
    inputs: 'theta:T1 size:T2',
    outputs: 'grid:T1',
    types: { T1: 'float bfloat16', T2: 'int64' },
    attributes: { align_corners: ['flag', false] },
  },
  GridSample: {
    since: 20,
    inputs: 'X:T1 grid:T2',
    outputs: 'Y:T1',
    types: { T1: 'float int complex bool string', T2: 'float' },
    attributes: {
      align_corners: ['flag', false],
      mode: ['one', 'linear', 'nearest', 'cubic'],
      padding_mode: ['one', 'zeros', 'border', 'reflection'],
    },
  },
  ImageDecoder: {
    since: 20,
    inputs: 'encoded_stream:T1',
    outputs: 'image:T2',
    types: { T1: 'uint8', T2: 'uint8' },
    attributes: { pixel_format: ['one', 'RGB', 'BGR', 'Grayscale'] },
  },
  Resize: {
    since: 19,
    inputs: 'X:T1 roi:T2? scales:float32? sizes:int64?',
    outputs: 'Y:T1',
    types: { T1: 'any', T2: 'float' },
    attributes: {
      antialias: ['flag', false],
      axes: 'ints?',
      coordinate_transformation_mode: [
        'one',
        'half_pixel',
        'half_pixel_symmetric',
        'pytorch_half_pixel',
        'align_corners',
        'asymmetric',
        'tf_half_pixel_for_nn',
        'tf_crop_and_resize',
      ],
      cubic_coeff_a: ['float', -0.75],
      exclude_outside: ['flag', false],
      extrapolation_value: ['float', 0],
      keep_aspect_ratio_policy: ['one', 'stretch', 'not_larger', 'not_smaller'],
      mode: ['one', 'nearest', 'linear', 'cubic'],
      nearest_mode: ['one', 'round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'],
    },
  },
} as const;

interface ResizeAttributes {
  readonly axes: readonly number[] | undefined;
  readonly keep_aspect_ratio_policy: 'stretch' | 'not_larger' | 'not_smaller';
}

function inferResize(context: InferContext<ResizeAttributes>): void {
  const data = context.shape(0);
  if (data === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const axes = axesOf(context, context.attributes.axes ?? data.map((_, axis) => axis), data.length);
  const target = context.has(3) ? resizedBySizes(context, data, axes) : resizedByScales(context, data, axes);
  context.output(
    0,
    undefined,
    data.map((dim, axis) => (axes.includes(axis) ? (target?.[axes.indexOf(axis)] ?? null) : dim)),
  );
}

function resizedBySizes(
  context: InferContext<ResizeAttributes>,
  data: readonly Dim[],
  axes: readonly number[],
): readonly Dim[] | undefined {
  const sizes = context.sizes(3);
  if (sizes === undefined) return undefined;
  if (sizes.length !== axes.length)
    context.fail(`sizes must have ${axes.length} entries, not ${sizes.length}`);
  const { keep_aspect_ratio_policy: policy } = context.attributes;
  if (policy === 'stretch') return sizes;
  const dims = axes.map((axis) => data[axis] ?? null);
  if (![...sizes, ...dims].every((item) => typeof item === 'number')) return undefined;
  const ratios = sizes.map((size, index) => (size as number) / (dims[index] as number));
  const scale = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios);
  // Halves round up.
  return dims.map((dim) => Math.floor(scale * (dim as number) + 0.5));
}

function resizedByScales(
  context: AnyInferContext,
  data: readonly Dim[],
  axes: readonly number[],
): readonly Dim[] | undefined {
  const scales = context.sizes(2);
  if (scales === undefined || scales.length === 0) return undefined;
  if (scales.length !== axes.length)
    context.fail(`scales must have ${axes.length} entries, not ${scales.length}`);
  return axes.map((axis, index) => {
    const [dim, scale] = [data[axis] ?? null, scales[index] ?? null];
    if (typeof scale !== 'number') return null;
    if (scale <= 0) context.fail(`scales must be above 0, not ${scale}`);
    // Runtimes multiply in float32.
    if (typeof dim === 'number') return Math.floor(Math.fround(dim * scale));
    return scaledDim(dim, scale);
  });
}

/** `floor(dim * scale)` for scales that are a whole number of halves, quarters and so on, for which floats are exact. */
function scaledDim(dim: Dim, scale: number): Dim {
  for (let parts = 1; parts <= 256; parts *= 2) {
    if (Number.isInteger(scale * parts)) return floorDivideDim(multiplyDims(dim, scale * parts), parts);
  }
  return null;
}

/** Data [N, C, D1, D2, ...], grid [N, D1_out, D2_out, ..., rank - 2]. */
function inferGridSample(context: AnyInferContext): void {
  const data = requireRank(context, 0, 3);
  const grid = requireRank(context, 1, data?.length ?? 3, data !== undefined);
  const rank = data?.length ?? grid?.length;
  if (rank === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  context.output(0, undefined, [
    data?.[0] ?? grid?.[0] ?? null,
    data?.[1] ?? null,
    ...(grid?.slice(1, -1) ?? unknownDims(rank - 2)),
  ]);
}

/** Size [N, C, H, W] or [N, C, D, H, W]. */
function inferAffineGrid(context: AnyInferContext): void {
  const theta = requireRank(context, 0, 3, true);
  const size = context.sizes(1);
  if (size !== undefined) {
    if (size.length !== 4 && size.length !== 5)
      context.fail(`size must have 4 or 5 entries, not ${size.length}`);
    context.output(0, undefined, [size[0] ?? null, ...size.slice(2), size.length - 2]);
    return;
  }
  const [count] = context.shape(1) ?? [];
  const rank = typeof count === 'number' ? count : typeof theta?.[1] === 'number' ? theta[1] + 2 : undefined;
  context.output(
    0,
    undefined,
    rank === 4 || rank === 5 ? [theta?.[0] ?? null, ...unknownDims(rank - 2), rank - 2] : undefined,
  );
}

/** Definitions of the image operators. */
export const imageOps: OpFamily<typeof imageSchemas> = opFamily(imageSchemas, {
  AffineGrid: inferAffineGrid,
  GridSample: inferGridSample,
  ImageDecoder: (context) =>
    context.output(0, 'uint8', [null, null, context.attributes.pixel_format === 'Grayscale' ? 1 : 3]),
  Resize: inferResize,
});

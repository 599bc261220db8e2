import { addDims, multiplyDims } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { type WindowAttributes, windowedShape } from './convolution.ts';
import { type AnyInferContext, mergedDim, requireRank, unknownDims } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the pooling operators. */
export const poolingSchemas = {
  AveragePool: {
    since: 19,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      ceil_mode: ['flag', false],
      count_include_pad: ['flag', false],
      dilations: 'ints?',
      kernel_shape: 'ints!',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  GlobalAveragePool: { since: 1, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float' } },
  GlobalLpPool: {
    since: 2,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: { p: ['int', 2] },
  },
  GlobalMaxPool: { since: 1, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float' } },
  LpPool: {
    since: 18,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      ceil_mode: ['flag', false],
      dilations: 'ints?',
      kernel_shape: 'ints!',
      p: ['int', 2],
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  MaxPool: {
    since: 12,
    inputs: 'X:T',
    outputs: 'Y:T Indices:I?',
    types: { T: 'float int8 uint8', I: 'int64' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      ceil_mode: ['flag', false],
      dilations: 'ints?',
      kernel_shape: 'ints!',
      pads: 'ints?',
      storage_order: ['int', 0],
      strides: 'ints?',
    },
  },
  MaxRoiPool: {
    since: 1,
    inputs: 'X:T rois:T',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: { pooled_shape: 'ints!', spatial_scale: ['float', 1] },
  },
  MaxUnpool: {
    since: 11,
    inputs: 'X:T1 I:T2 output_shape:T2?',
    outputs: 'output:T1',
    types: { T1: 'float', T2: 'int64' },
    attributes: { kernel_shape: 'ints!', pads: 'ints?', strides: 'ints?' },
  },
  RoiAlign: {
    since: 16,
    inputs: 'X:T1 rois:T1 batch_indices:T2',
    outputs: 'Y:T1',
    types: { T1: 'float', T2: 'int64' },
    attributes: {
      coordinate_transformation_mode: ['one', 'half_pixel', 'output_half_pixel'],
      mode: ['one', 'avg', 'max'],
      output_height: ['int', 1],
      output_width: ['int', 1],
      sampling_ratio: ['int', 0],
      spatial_scale: ['float', 1],
    },
  },
} as const;

interface PoolAttributes extends WindowAttributes {
  readonly kernel_shape: readonly number[];
  readonly ceil_mode: boolean;
}

function inferPool(context: InferContext<PoolAttributes>): void {
  const { kernel_shape: kernel, ceil_mode: ceil } = context.attributes;
  const data = requireRank(context, 0, kernel.length + 2, true);
  const shape =
    data === undefined
      ? unknownDims(kernel.length + 2)
      : [...data.slice(0, 2), ...windowedShape(context, data.slice(2), kernel, ceil)];
  context.output(0, undefined, shape);
  context.output(1, 'int64', shape);
}

function inferGlobalPool(context: AnyInferContext): void {
  const data = requireRank(context, 0, 2);
  context.output(
    0,
    undefined,
    data?.map((dim, axis) => (axis < 2 ? dim : 1)),
  );
}

function inferMaxRoiPool(context: InferContext<{ readonly pooled_shape: readonly number[] }>): void {
  const data = requireRank(context, 0, 4, true);
  const rois = requireRank(context, 1, 2, true);
  const { pooled_shape: pooled } = context.attributes;
  if (pooled.length !== 2) context.fail(`pooled_shape must have 2 entries, not ${pooled.length}`);
  context.output(0, undefined, [rois?.[0] ?? null, data?.[1] ?? null, ...pooled]);
}

function inferMaxUnpool(context: InferContext<PoolAttributes>): void {
  const { kernel_shape: kernel, strides, pads } = context.attributes;
  const count = kernel.length;
  const data = requireRank(context, 0, count + 2, true);
  const given = context.sizes(2);
  if (given !== undefined) {
    context.output(0, undefined, given);
    return;
  }
  if (context.has(2)) {
    context.output(0, undefined, unknownDims(count + 2));
    return;
  }
  const spatial = kernel.map((size, axis): Dim => {
    const padding = (pads?.[axis] ?? 0) + (pads?.[axis + count] ?? 0);
    return addDims(multiplyDims(addDims(data?.[axis + 2] ?? null, -1), strides?.[axis] ?? 1), size - padding);
  });
  context.output(0, undefined, [data?.[0] ?? null, data?.[1] ?? null, ...spatial]);
}

function inferRoiAlign(
  context: InferContext<{ readonly output_height: number; readonly output_width: number }>,
): void {
  const data = requireRank(context, 0, 4, true);
  const rois = requireRank(context, 1, 2, true);
  const batch = requireRank(context, 2, 1, true);
  const count = mergedDim(
    context,
    rois?.[0] ?? null,
    batch?.[0] ?? null,
    'the number of regions and of batch indices',
  );
  const { output_height: height, output_width: width } = context.attributes;
  context.output(0, undefined, [count, data?.[1] ?? null, height, width]);
}

/** Definitions of the pooling operators. */
export const poolingOps: OpFamily<typeof poolingSchemas> = opFamily(poolingSchemas, {
  AveragePool: inferPool,
  GlobalAveragePool: inferGlobalPool,
  GlobalLpPool: inferGlobalPool,
  GlobalMaxPool: inferGlobalPool,
  LpPool: inferPool,
  MaxPool: inferPool,
  MaxRoiPool: inferMaxRoiPool,
  MaxUnpool: (context) => inferMaxUnpool(context as InferContext<unknown> as InferContext<PoolAttributes>),
  RoiAlign: inferRoiAlign,
});

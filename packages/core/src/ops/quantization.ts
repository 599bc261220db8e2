import { ceilDivideDim } from '../ir/dims.ts';
import type { InferContext } from '../op/op-def.ts';
import { type AnyInferContext, axisOf, dtypeOf, mergedDim, mergedShape, sameAsInput } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the quantization operators. */
export const quantizationSchemas = {
  DequantizeLinear: {
    since: 21,
    inputs: 'x:T1 x_scale:T2 x_zero_point:T1?',
    outputs: 'y:T2',
    types: { T1: 'float8 fourbit int8 int16 int32 uint8 uint16', T2: 'float32 float16 bfloat16' },
    attributes: { axis: ['int', 1], block_size: ['int', 0] },
  },
  DynamicQuantizeLinear: {
    since: 11,
    inputs: 'x:T1',
    outputs: 'y:T2 y_scale:float32 y_zero_point:T2',
    types: { T1: 'float32', T2: 'uint8' },
  },
  QuantizeLinear: {
    since: 21,
    inputs: 'x:T1 y_scale:T1 y_zero_point:T2?',
    outputs: 'y:T2',
    types: { T1: 'float32 float16 bfloat16 int32', T2: 'float8 fourbit int8 int16 uint8 uint16' },
    attributes: {
      axis: ['int', 1],
      block_size: ['int', 0],
      output_dtype: ['int', 0],
      saturate: ['flag', true],
    },
  },
} as const;

interface ScaleAttributes {
  readonly axis: number;
  readonly block_size: number;
}

/** Checks that scales are one number, one per index of an axis, or one per block along it. */
export function checkScales(context: InferContext<ScaleAttributes>): void {
  const [data, scale, zero] = [context.shape(0), context.shape(1), context.shape(2)];
  const { block_size: block } = context.attributes;
  if (scale !== undefined && zero !== undefined && scale.length === zero.length) {
    mergedShape(context, scale, zero, 'scale and zero point');
  }
  if (data === undefined || scale === undefined || scale.length === 0) return;
  const isSingle = scale.length === 1 && scale[0] === 1;
  if (block < 0) context.fail(`block_size must not be negative, but is ${block}`);
  if (block === 0) {
    if (isSingle) return;
    if (scale.length !== 1)
      context.fail(`scale must have at most one dim without block_size, not [${scale.join(', ')}]`);
    const axis = axisOf(context, context.attributes.axis, data.length);
    mergedDim(
      context,
      data[axis] ?? null,
      scale[0] ?? null,
      `axis ${axis} of the input and the number of scales`,
    );
    return;
  }
  if (scale.length !== data.length)
    context.fail(`scale must have ${data.length} dims with block_size, not [${scale.join(', ')}]`);
  const axis = axisOf(context, context.attributes.axis, data.length);
  scale.forEach((dim, index) => {
    const expected = index === axis ? ceilDivideDim(data[index] ?? null, block) : (data[index] ?? null);
    mergedDim(context, dim, expected, `dim ${index} of scale and blocks`);
  });
}

function inferQuantize(context: InferContext<ScaleAttributes & { readonly output_dtype: number }>): void {
  checkScales(context);
  const declared = dtypeOf(context, context.attributes.output_dtype);
  const zero = context.dtype(2);
  if (declared !== undefined && zero !== undefined && declared !== zero)
    context.fail(`output_dtype is ${declared}, but the zero point ${zero}`);
  // A zero point of unknown dtype leaves the output unknown too.
  context.output(0, declared ?? (context.has(2) ? zero : 'uint8'), context.shape(0));
}

function inferDequantize(context: InferContext<ScaleAttributes>): void {
  checkScales(context);
  context.output(0, context.dtype(1), context.shape(0));
}

function inferDynamicQuantize(context: AnyInferContext): void {
  sameAsInput(context);
  context.output(0, 'uint8', context.shape(0));
  context.output(1, 'float32', []);
  context.output(2, 'uint8', []);
}

/** Definitions of the quantization operators. */
export const quantizationOps: OpFamily<typeof quantizationSchemas> = opFamily(quantizationSchemas, {
  DequantizeLinear: inferDequantize,
  DynamicQuantizeLinear: inferDynamicQuantize,
  QuantizeLinear: inferQuantize,
});

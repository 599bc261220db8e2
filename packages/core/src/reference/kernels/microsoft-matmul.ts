import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { gatherAxis } from './gather.ts';
import { matMulNumbers, planMatMul } from './matmul.ts';
import {
  broadcastTo,
  centred,
  dynamicQuantize,
  integerProduct,
  rangeOf,
  saturated,
  scalar,
} from './quantization.ts';
import { layerOf, runLstm } from './recurrent.ts';
import { requireAxis } from './reduce.ts';
import { permute } from './shape.ts';

/** Number `index` of whole numbers of `bits` bits packed into bytes, the low bits first. */
function packed(bytes: Uint8Array, index: number, bits: number): number {
  const perByte = 8 / bits;
  return (bytes[Math.floor(index / perByte)]! >> ((index % perByte) * bits)) & (2 ** bits - 1);
}

/**
 * `com.microsoft.MatMulNBits`: `A W^T` with `W` `[N, K]` in blocks of 2, 4 or 8 bits along K: `(q - zero) scale`,
 * zero `2^(bits - 1)` where there are no zero points. `B` is `[N, blocks, block_size bits / 8]`, low bits first; every
 * row of packed zero points starts at a byte. `g_idx` names the block of each position of K.
 */
const matMulNBits: ReferenceKernel = (context) => {
  const options = context.attributes({
    K: attr.requiredInt(),
    N: attr.requiredInt(),
    bits: attr.int(4),
    block_size: attr.requiredInt(),
  });
  const { K: k, N: n, bits, block_size: block } = options;
  const [a, b, scales] = [context.tensor(0), context.tensor(1), context.tensor(2).toFloat64Array()];
  if (bits !== 2 && bits !== 4 && bits !== 8) context.fail(`bits is ${bits}, not 2, 4 or 8`);
  const blocks = Math.ceil(k / block);
  const bytes = b.data as Uint8Array;
  const rowBytes = (blocks * block * bits) / 8;
  if (bytes.length !== n * rowBytes || scales.length !== n * blocks)
    context.fail(`B [${b.shape.join(', ')}] and ${scales.length} scales do not fit N ${n} and K ${k}`);
  const zeroOf = zeroReader(context, { index: 3, rows: n, blocks, bits, fallback: 2 ** (bits - 1) });
  const groups = context.optional(4)?.toFloat64Array();
  const weights = new Float64Array(k * n);
  for (let row = 0; row < n; row++) {
    for (let at = 0; at < k; at++) {
      const group = groups === undefined ? Math.floor(at / block) : groups[at]!;
      const whole = packed(bytes, (row * rowBytes * 8) / bits + at, bits);
      weights[at * n + row] = (whole - zeroOf(row, group)) * scales[row * blocks + group]!;
    }
  }
  const plan = planMatMul(context, a.shape, [k, n]);
  context.guard(a.dtype, plan.shape);
  const values = matMulNumbers(a.toFloat64Array(), weights, plan);
  addRow(context, values, context.optional(5));
  return [fromNumbers(a.dtype, plan.shape, values)];
};

/** Reads zero points `[rows, blocks]`: packed bytes, or one number each. */
function zeroReader(
  context: KernelContext,
  {
    index,
    rows,
    blocks,
    bits,
    fallback,
  }: {
    readonly index: number;
    readonly rows: number;
    readonly blocks: number;
    readonly bits: number;
    readonly fallback: number;
  },
): (row: number, block: number) => number {
  const tensor = context.optional(index);
  if (tensor === undefined) return () => fallback;
  if (tensor.dtype !== 'uint8') {
    const values = tensor.toFloat64Array();
    if (values.length !== rows * blocks)
      context.fail(`${values.length} zero points for ${rows * blocks} blocks`);
    return (row, block) => values[row * blocks + block]!;
  }
  const bytes = tensor.data as Uint8Array;
  const rowBytes = Math.ceil((blocks * bits) / 8);
  if (bytes.length !== rows * rowBytes)
    context.fail(`${bytes.length} bytes of zero points, not ${rows * rowBytes}`);
  return (row, block) => packed(bytes, (row * rowBytes * 8) / bits + block, bits);
}

/** Adds a vector to every row. */
function addRow(context: KernelContext, values: Float64Array, bias: Tensor | undefined): void {
  if (bias === undefined) return;
  const row = bias.toFloat64Array();
  if (row.length === 0 || values.length % row.length !== 0) context.fail(`a bias of ${row.length} elements`);
  for (let index = 0; index < values.length; index++) values[index]! += row[index % row.length]!;
}

/** The 16 levels of NormalFloat 4 (Dettmers et al., "QLoRA", 2023, appendix E). */
const normalFloat4: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];
/** The 16 levels of its 4-bit float: sign, two bits of exponent, one of mantissa, over 12. */
const float4: readonly number[] = [0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3].map(
  (level) => level / 12,
);

/** `com.microsoft.MatMulBnb4`: `A W^T` with `W` `[N, K]` flat in blocks of 4-bit levels, the high nibble first. */
const matMulBnb4: ReferenceKernel = (context) => {
  const options = context.attributes({
    K: attr.requiredInt(),
    N: attr.requiredInt(),
    block_size: attr.requiredInt(),
    quant_type: attr.requiredInt(),
    transB: attr.flag(true),
  });
  const { K: k, N: n, block_size: block } = options;
  const [a, bytes, scales] = [
    context.tensor(0),
    context.tensor(1).data as Uint8Array,
    context.tensor(2).toFloat64Array(),
  ];
  if (bytes.length !== Math.ceil((n * k) / 2) || scales.length !== Math.ceil((n * k) / block))
    context.fail(`B and absmax do not fit N ${n} and K ${k}`);
  const levels = options.quant_type === 0 ? float4 : normalFloat4;
  const weights = new Float64Array(k * n);
  for (let at = 0; at < n * k; at++) {
    const byte = bytes[at >> 1]!;
    const value = levels[at % 2 === 0 ? byte >> 4 : byte & 15]! * scales[Math.floor(at / block)]!;
    weights[options.transB ? (at % k) * n + Math.floor(at / k) : at] = value;
  }
  const plan = planMatMul(context, a.shape, [k, n]);
  context.guard(a.dtype, plan.shape);
  return [fromNumbers(a.dtype, plan.shape, matMulNumbers(a.toFloat64Array(), weights, plan))];
};

/** Scales integer products: one factor for all, or one per column. */
function scaled(context: KernelContext, values: Float64Array, scale: number, columns: Tensor): void {
  const factors = columns.toFloat64Array();
  if (factors.length === 0 || values.length % factors.length !== 0)
    context.fail(`${factors.length} scales do not fit the columns`);
  for (let index = 0; index < values.length; index++)
    values[index]! *= scale * factors[index % factors.length]!;
}

/** `com.microsoft.MatMulIntegerToFloat`: `MatMulInteger`, times both scales, plus a bias. */
const matMulIntegerToFloat: ReferenceKernel = (context) => {
  const { values, shape } = integerProduct(
    context,
    [context.tensor(0), context.tensor(1)],
    [context.optional(4), context.optional(5)],
  );
  scaled(context, values, scalar(context, 2), context.tensor(3));
  addRow(context, values, context.optional(6));
  return [fromNumbers(context.tensor(2).dtype, shape, values)];
};

/** `com.microsoft.DynamicQuantizeMatMul`: A quantized to uint8 by its own range, times the quantized B. */
const dynamicQuantizeMatMul: ReferenceKernel = (context) => {
  const [a, b] = [context.tensor(0), context.tensor(1)];
  const { values: whole, scale, zero } = dynamicQuantize(a.toFloat64Array());
  const plan = planMatMul(context, a.shape, b.shape);
  context.guard(a.dtype, plan.shape);
  const values = matMulNumbers(
    whole.map((value) => value - zero),
    centred(context, b, context.optional(3), -1),
    plan,
  );
  scaled(context, values, scale, context.tensor(2));
  addRow(context, values, context.optional(4));
  return [fromNumbers(a.dtype, plan.shape, values)];
};

/** `com.microsoft.QGemm`: a quantized `Gemm` with an int32 bias; float32 out where there is no output scale. */
const qGemm: ReferenceKernel = (context) => {
  const { alpha, transA, transB } = context.attributes({
    alpha: attr.float(1),
    transA: attr.flag(false),
    transB: attr.flag(false),
  });
  const turned = (tensor: Tensor, flag: boolean): Tensor => (flag ? permute(tensor, [1, 0]) : tensor);
  const a = turned(context.tensor(0), transA);
  const b = turned(context.tensor(3), transB);
  const { values, shape } = integerProduct(context, [a, b], [context.tensor(2), context.tensor(5)]);
  const bias = context.optional(6);
  if (bias !== undefined) {
    const at = broadcastTo(context, bias.shape, shape);
    const added = bias.toFloat64Array();
    for (let index = 0; index < values.length; index++) values[index]! += added[at[index]!]!;
  }
  scaled(context, values, alpha * scalar(context, 1), context.tensor(4));
  if (context.optional(7) === undefined) return [fromNumbers('float32', shape, values)];
  const zero = context.tensor(8);
  const [scale, shift, range] = [scalar(context, 7), scalar(context, 8), rangeOf(zero.dtype)];
  return [
    fromNumbers(
      zero.dtype,
      shape,
      values.map((value) => saturated(Math.fround(value / scale), shift, range)),
    ),
  ];
};

/**
 * `com.microsoft.GatherBlockQuantized`: `Gather` of a table quantized in blocks. Tables of bytes hold `bits` bits an
 * element along their last axis, with zero points of `2^(bits - 1)` by default; those of 4-bit dtypes, 0.
 */
const gatherBlockQuantized: ReferenceKernel = (context) => {
  const options = context.attributes({
    bits: attr.int(4),
    block_size: attr.int(128),
    gather_axis: attr.int(0),
    quantize_axis: attr.int(1),
  });
  const [data, indices, scales, zero] = [
    context.tensor(0),
    context.tensor(1),
    context.tensor(2),
    context.optional(3),
  ];
  const inBytes = data.dtype === 'uint8';
  if (inBytes && ![2, 4, 8].includes(options.bits)) context.fail(`bits is ${options.bits}, not 2, 4 or 8`);
  const perByte = inBytes ? 8 / options.bits : 1;
  const wide = (tensor: Tensor): Tensor => {
    if (!inBytes || perByte === 1) return fromNumbers('float64', tensor.shape, tensor.toFloat64Array());
    const shape = tensor.shape.map((dim, axis) => (axis === tensor.shape.length - 1 ? dim * perByte : dim));
    return fromNumbers(
      'float64',
      shape,
      Float64Array.from({ length: elementsOf(shape) }, (_, index) =>
        packed(tensor.data as Uint8Array, index, options.bits),
      ),
    );
  };
  const table = wide(data);
  const axis = requireAxis(context, options.quantize_axis, table.shape.length);
  const values = table.toFloat64Array();
  const expected = table.shape.map((dim, at) => (at === axis ? Math.ceil(dim / options.block_size) : dim));
  if (scales.shape.join() !== expected.join())
    context.fail(`scales [${scales.shape.join(', ')}] are not [${expected.join(', ')}] blocks`);
  const inner = elementsOf(table.shape.slice(axis + 1));
  const [dim, blocks] = [table.shape[axis]!, expected[axis]!];
  const factors = scales.toFloat64Array();
  const zeros = zero === undefined ? undefined : wide(zero);
  const zeroDim = zeros?.shape[axis] ?? blocks;
  const shifts = zeros?.toFloat64Array();
  const fallback = inBytes ? 2 ** (options.bits - 1) : 0;
  for (let index = 0; index < values.length; index++) {
    const outer = Math.floor(index / (inner * dim));
    const block = Math.floor((Math.floor(index / inner) % dim) / options.block_size);
    // Packed zero points fill up to whole bytes: their rows may be longer than the blocks.
    const shift =
      shifts === undefined ? fallback : shifts[(outer * zeroDim + block) * inner + (index % inner)]!;
    values[index] = (values[index]! - shift) * factors[(outer * blocks + block) * inner + (index % inner)]!;
  }
  const gathered = gatherAxis(context, fromNumbers('float64', table.shape, values), {
    indices,
    axis: requireAxis(context, options.gather_axis, table.shape.length),
  });
  return [fromNumbers(scales.dtype, gathered.shape, gathered.toFloat64Array())];
};

/**
 * `com.microsoft.DynamicQuantizeLSTM`: `LSTM` with quantized weights `[directions, columns, 4 hidden]`; inputs and
 * hidden states are quantized to uint8 by their own range before each product.
 */
const dynamicQuantizeLstm: ReferenceKernel = (context) => {
  const tables = { input: [1, 8, 9], recurrent: [2, 10, 11] } as const;
  const layer = layerOf(context, 4, (hidden) => (which, direction, rows) => {
    const [weights, scales, zeros] = tables[which].map((index) => context.tensor(index)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const [directions, k, n] = weights.shape as [number, number, number];
    if (weights.shape.length !== 3 || n !== 4 * hidden || !Number.isInteger(rows.length / k)) {
      context.fail(`weights [${weights.shape.join(', ')}] do not fit hidden_size ${hidden}`);
    }
    const part = (tensor: Tensor): Float64Array => {
      const each = tensor.size / directions;
      return tensor.toFloat64Array().slice(direction * each, (direction + 1) * each);
    };
    const [shifts, factors] = [part(zeros), part(scales)];
    const whole = part(weights);
    for (let index = 0; index < whole.length; index++) whole[index]! -= shifts[index % shifts.length]!;
    const { values, scale, zero } = dynamicQuantize(rows);
    const m = rows.length / k;
    const plan = { m, n, k, lefts: new Int32Array(1), rights: new Int32Array(1), shape: [m, n] };
    const out = matMulNumbers(
      values.map((value) => value - zero),
      whole,
      plan,
    );
    for (let index = 0; index < out.length; index++)
      out[index]! *= scale * factors[(index % n) % factors.length]!;
    return out;
  });
  return runLstm(context, layer);
};

/** `com.microsoft.FusedMatMul`: `alpha A' B'`, the last two axes (or the first and the last but one) exchanged if asked. */
const fusedMatMul: ReferenceKernel = (context) => {
  const options = context.attributes({
    alpha: attr.float(1),
    transA: attr.flag(false),
    transB: attr.flag(false),
    transBatchA: attr.flag(false),
    transBatchB: attr.flag(false),
  });
  const turned = (tensor: Tensor, flag: boolean, batch: boolean): Tensor => {
    const rank = tensor.shape.length;
    const axes = tensor.shape.map((_, axis) => axis);
    if (rank < 2) return tensor;
    // The batch form takes the first axis of the matrix from the front, behind the batch.
    if (batch) axes.splice(0, rank - 1, ...axes.slice(1, rank - 1), 0);
    if (flag) axes.splice(rank - 2, 2, axes[rank - 1]!, axes[rank - 2]!);
    return permute(tensor, axes);
  };
  const a = turned(context.tensor(0), options.transA, options.transBatchA);
  const b = turned(context.tensor(1), options.transB, options.transBatchB);
  const plan = planMatMul(context, a.shape, b.shape);
  context.guard(a.dtype, plan.shape);
  const values = matMulNumbers(a.toFloat64Array(), b.toFloat64Array(), plan);
  for (let index = 0; index < values.length; index++) values[index]! *= options.alpha;
  return [fromNumbers(a.dtype, plan.shape, values)];
};

/** Products with packed or quantized weights: `com.microsoft`. */
export const microsoftMatMulKernels: KernelTable = {
  'com.microsoft.DynamicQuantizeLSTM': dynamicQuantizeLstm,
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.GatherBlockQuantized': gatherBlockQuantized,
  'com.microsoft.MatMulBnb4': matMulBnb4,
  'com.microsoft.MatMulIntegerToFloat': matMulIntegerToFloat,
  'com.microsoft.MatMulNBits': matMulNBits,
  'com.microsoft.QGemm': qGemm,
};

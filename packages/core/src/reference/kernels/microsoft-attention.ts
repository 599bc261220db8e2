import { attr } from '../../op/attributes.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import {
  appendSteps,
  attend,
  fourSizes,
  type Heads,
  headsOf,
  rotate,
  scoreBias,
  splitHeads,
  threeSizes,
} from './attention.ts';
import { matMulNumbers, planMatMul } from './matmul.ts';
import { integerProduct, scalar } from './quantization.ts';

/** What hides a score that is not to be looked at, where no filter value is given. */
const HIDDEN = -10000;

/** Whether queries see keys, by a mask of lengths `[batch]`, of keys `[batch, keys]` or of pairs `[batch, steps, keys]`. */
function maskOf(
  context: KernelContext,
  mask: Tensor | undefined,
  {
    batch,
    steps,
    keys,
    causal,
  }: { readonly batch: number; readonly steps: number; readonly keys: number; readonly causal: boolean },
): (n: number, step: number, key: number) => boolean {
  const inTime = (step: number, key: number): boolean => !causal || key <= keys - steps + step;
  if (mask === undefined) return (_, step, key) => inTime(step, key);
  const values = mask.toFloat64Array();
  const shape = mask.shape.join();
  if (shape === [batch].join()) return (n, step, key) => inTime(step, key) && key < values[n]!;
  if (shape === [batch, keys].join())
    return (n, step, key) => inTime(step, key) && values[n * keys + key] !== 0;
  if (shape === [batch, steps, keys].join()) {
    return (n, step, key) => inTime(step, key) && values[(n * steps + step) * keys + key] !== 0;
  }
  return context.fail(`a mask [${shape}] is not computed`);
}

const attentionAttributes = {
  mask_filter_value: attr.float(HIDDEN),
  num_heads: attr.requiredInt(),
  scale: attr.optionalFloat(),
  unidirectional: attr.flag(false),
} as const;

/** Attention over `[batch, steps, row]` that holds queries, keys and values side by side; the past is one tensor of both. */
function packedAttention(
  context: KernelContext,
  projected: {
    readonly values: Float64Array;
    readonly shape: readonly number[];
    readonly dtype: Tensor['dtype'];
  },
  inputs: {
    readonly mask: Tensor | undefined;
    readonly past: Tensor | undefined;
    readonly bias: Tensor | undefined;
    readonly sizes: readonly [number, number, number];
  },
): readonly Tensor[] {
  const options = context.attributes(attentionAttributes);
  const heads = options.num_heads;
  const [batch, steps, row] = projected.shape as [number, number, number];
  const [qSize, kSize, vSize] = inputs.sizes;
  if (
    heads < 1 ||
    Math.min(qSize, vSize) < heads ||
    row !== qSize + kSize + vSize ||
    qSize !== kSize ||
    qSize % heads !== 0 ||
    vSize % heads !== 0
  ) {
    context.fail(`${row} columns do not split into queries, keys and values of ${heads} heads`);
  }
  const part = (from: number, size: number): Heads =>
    splitHeads(projected.values, [batch, steps, row], { heads, width: size / heads, from });
  const past = pastOf(context, inputs.past);
  const q = part(0, qSize);
  const k = appendSteps(past?.[0], part(qSize, kSize));
  const v = appendSteps(past?.[1], part(qSize + kSize, vSize));
  const keys = k.shape[2];
  const out = attend(context, [q, k, v], {
    scale: options.scale ?? 1 / Math.sqrt(qSize / heads),
    bias: scoreBias(context, inputs.bias, [batch, heads, steps, keys]),
    sees: maskOf(context, inputs.mask, { batch, steps, keys, causal: options.unidirectional }),
    hidden: options.mask_filter_value,
  });
  const output = fromNumbers(projected.dtype, [batch, steps, vSize], out);
  if (context.outputCount < 2) return [output];
  const both = new Float64Array(k.values.length + v.values.length);
  both.set(k.values);
  both.set(v.values, k.values.length);
  return [output, fromNumbers(projected.dtype, [2, ...k.shape], both)];
}

function pastOf(context: KernelContext, past: Tensor | undefined): readonly [Heads, Heads] | undefined {
  if (past === undefined) return undefined;
  if (past.shape.length !== 5 || past.shape[0] !== 2)
    context.fail(`a past [${past.shape.join(', ')}] is not [2, batch, heads, steps, width]`);
  const shape = fourSizes(past.shape.slice(1));
  const values = past.toFloat64Array();
  const half = values.length / 2;
  return [
    { values: values.slice(0, half), shape },
    { values: values.slice(half), shape },
  ];
}

/** `com.microsoft.Attention`: queries, keys and values from one product with packed weights. */
const attention: ReferenceKernel = (context) => {
  const { qkv_hidden_sizes: sizes, do_rotary: rotary } = context.attributes({
    qkv_hidden_sizes: attr.optionalInts(),
    do_rotary: attr.flag(false),
  });
  if (rotary) context.fail('do_rotary is not computed');
  const [input, weights, bias] = [
    context.tensor(0),
    context.tensor(1),
    context.optional(2)?.toFloat64Array(),
  ];
  const plan = planMatMul(context, input.shape, weights.shape);
  context.guard(input.dtype, plan.shape);
  const values = matMulNumbers(input.toFloat64Array(), weights.toFloat64Array(), plan);
  if (bias !== undefined)
    for (let index = 0; index < values.length; index++) values[index]! += bias[index % bias.length]!;
  const third = plan.n / 3;
  return packedAttention(
    context,
    { values, shape: plan.shape, dtype: input.dtype },
    {
      mask: context.optional(3),
      past: context.optional(4),
      bias: context.optional(5),
      sizes: sizes === undefined ? [third, third, third] : threeSizes(sizes),
    },
  );
};

/** `com.microsoft.QAttention`: {@link attention} with quantized inputs and weights. */
const qAttention: ReferenceKernel = (context) => {
  const { values, shape } = integerProduct(
    context,
    [context.tensor(0), context.tensor(1)],
    [context.optional(6), context.optional(7)],
  );
  const bias = context.tensor(2).toFloat64Array();
  const scale = scalar(context, 3);
  const scales = context.tensor(4).toFloat64Array();
  for (let index = 0; index < values.length; index++) {
    values[index] = values[index]! * scale * scales[index % scales.length]! + bias[index % bias.length]!;
  }
  const third = shape.at(-1)! / 3;
  return packedAttention(
    context,
    { values, shape, dtype: context.tensor(2).dtype },
    { mask: context.optional(5), past: context.optional(8), bias: undefined, sizes: [third, third, third] },
  );
};

/** Adds a slice of a bias to `[…, columns]`. */
function withBias(
  values: Float64Array,
  bias: Float64Array | undefined,
  from: number,
  columns: number,
): Float64Array {
  return bias === undefined ? values : values.map((value, index) => value + bias[from + (index % columns)]!);
}

/** `com.microsoft.MultiHeadAttention`: queries, keys and values as three inputs (or keys and values as ready heads). */
const multiHeadAttention: ReferenceKernel = (context) => {
  const options = context.attributes(attentionAttributes);
  const heads = options.num_heads;
  const query = context.tensor(0);
  const [key, value] = [context.tensor(1), context.tensor(2)];
  if (query.shape.length !== 3) context.fail('packed queries, keys and values are not computed');
  const bias = context.optional(3)?.toFloat64Array();
  const columns = query.shape[2]!;
  const split = (tensor: Tensor, from: number): Heads => {
    if (tensor.shape.length === 4) return headsOf(context, tensor);
    const row =
      tensor.shape[2] ?? context.fail(`[${tensor.shape.join(', ')}] is not [batch, steps, columns]`);
    if (heads < 1 || row < heads || row % heads !== 0)
      context.fail(`${row} columns do not split into ${heads} heads`);
    return splitHeads(withBias(tensor.toFloat64Array(), bias, from, row), threeSizes(tensor.shape), {
      heads,
      width: row / heads,
      from: 0,
    });
  };
  const past = (index: number): Heads | undefined => {
    const tensor = context.optional(index);
    return tensor === undefined ? undefined : headsOf(context, tensor);
  };
  const q = split(query, 0);
  const k = appendSteps(past(6), split(key, columns));
  const v = appendSteps(past(7), split(value, 2 * columns));
  const [batch, , steps, width] = q.shape;
  const keys = k.shape[2];
  const out = attend(context, [q, k, v], {
    scale: options.scale ?? 1 / Math.sqrt(width),
    bias: scoreBias(context, context.optional(5), [batch, heads, steps, keys]),
    sees: maskOf(context, context.optional(4), { batch, steps, keys, causal: options.unidirectional }),
    hidden: options.mask_filter_value,
  });
  if (context.wants(3)) context.fail('the scores as an output are not computed');
  return [
    fromNumbers(query.dtype, [batch, steps, heads * v.shape[3]], out),
    fromNumbers(query.dtype, k.shape, k.values),
    fromNumbers(query.dtype, v.shape, v.values),
  ];
};

/** `com.microsoft.RotaryEmbedding`: rotates `[batch, steps, columns]` or `[batch, heads, steps, width]`. */
const rotaryEmbedding: ReferenceKernel = (context) => {
  const { interleaved, num_heads: given } = context.attributes({
    interleaved: attr.flag(false),
    num_heads: attr.int(0),
  });
  const [input, positions, cosines, sines] = [
    context.tensor(0),
    context.tensor(1),
    context.tensor(2),
    context.tensor(3),
  ];
  const flat = input.shape.length === 3;
  const columns = input.shape.at(-1)!;
  const count = given > 0 ? given : columns / (2 * cosines.shape[1]!);
  if (cosines.shape.length !== 2)
    context.fail(`tables [${cosines.shape.join(', ')}] are not [positions, pairs]`);
  if (
    flat &&
    (!Number.isInteger(count) || count < 1 || count > columns || !Number.isInteger(columns / count))
  )
    context.fail(`${columns} columns do not split into ${count} heads`);
  const heads = flat
    ? splitHeads(input.toFloat64Array(), threeSizes(input.shape), {
        heads: count,
        width: columns / count,
        from: 0,
      })
    : headsOf(context, input);
  const where = positions.toFloat64Array();
  const steps = heads.shape[2];
  const positionOf = (n: number, step: number): number =>
    where.length === 1 ? where[0]! + step : where[n * steps + step]!;
  const turned = rotate(context, heads, { cosines, sines, interleaved, positionOf });
  return [fromNumbers(input.dtype, input.shape, flat ? joinHeads(turned) : turned.values)];
};

/** Heads as `[batch, steps, heads * width]`. */
function joinHeads({ values, shape: [batch, heads, steps, width] }: Heads): Float64Array {
  const out = new Float64Array(values.length);
  for (let lane = 0; lane < batch * heads * steps; lane++) {
    const [n, head, step] = [
      Math.floor(lane / (heads * steps)),
      Math.floor(lane / steps) % heads,
      lane % steps,
    ];
    out.set(values.subarray(lane * width, (lane + 1) * width), ((n * steps + step) * heads + head) * width);
  }
  return out;
}

/**
 * `com.microsoft.GroupQueryAttention`: causal attention whose keys and values have fewer heads (Ainslie et al., "GQA",
 * 2023), with a cache, rotary positions, a sliding window and a bound on scores. Caches of floats only.
 */
const groupQueryAttention: ReferenceKernel = (context) => {
  const options = context.attributes({
    do_rotary: attr.flag(false),
    kv_num_heads: attr.requiredInt(),
    local_window_size: attr.int(-1),
    num_heads: attr.requiredInt(),
    rotary_interleaved: attr.flag(false),
    scale: attr.float(0),
    smooth_softmax: attr.int(-1),
    softcap: attr.float(0),
  });
  if (options.smooth_softmax === 1 || context.optional(11) !== undefined)
    context.fail('a smooth softmax is not computed');
  const query = context.tensor(0);
  const { num_heads: heads, kv_num_heads: shared } = options;
  const packed = context.optional(1) === undefined;
  const [batch, steps, row] = query.shape as [number, number, number];
  const width = row / (packed ? heads + 2 * shared : heads);
  if (query.shape.length !== 3 || !Number.isInteger(width) || width < 1 || heads < 1 || shared < 1)
    context.fail(`queries [${query.shape.join(', ')}] do not split into heads`);
  const part = (index: number, count: number, from: number): Heads => {
    const tensor = packed ? query : context.tensor(index);
    return splitHeads(tensor.toFloat64Array(), threeSizes(tensor.shape), {
      heads: count,
      width,
      from: packed ? from * width : 0,
    });
  };
  // `seqlens_k` is one less than the keys of an entry, those of this run included.
  const totals = Array.from(context.tensor(5).toFloat64Array(), (value) => value + 1);
  const rotated = (part: Heads): Heads => {
    if (!options.do_rotary) return part;
    const [cosines, sines] = [context.tensor(7), context.tensor(8)];
    const positionOf = (n: number, step: number): number => Math.max(0, totals[n]! - steps) + step;
    return rotate(context, part, { cosines, sines, interleaved: options.rotary_interleaved, positionOf });
  };
  const q = rotated(part(0, heads, 0));
  const k = cached(context, { past: context.optional(3), next: rotated(part(1, shared, heads)), totals });
  const v = cached(context, { past: context.optional(4), next: part(2, shared, heads + shared), totals });
  const keys = k.shape[2];
  const window = options.local_window_size;
  const out = attend(context, [q, k, v], {
    scale: options.scale === 0 ? 1 / Math.sqrt(width) : options.scale,
    softcap: options.softcap,
    bias: scoreBias(context, context.optional(10), [batch, heads, steps, keys]),
    sees: (n, step, key) => {
      const position = Math.max(0, totals[n]! - steps) + step;
      return key <= position && (window < 0 || key > position - window);
    },
    hidden: Number.NEGATIVE_INFINITY,
  });
  return [
    fromNumbers(query.dtype, [batch, steps, heads * width], out),
    fromNumbers(query.dtype, k.shape, k.values),
    fromNumbers(query.dtype, v.shape, v.values),
  ];
};

/** A cache with this run's steps put in behind each entry's own past. */
function cached(
  context: KernelContext,
  {
    past,
    next,
    totals,
  }: { readonly past: Tensor | undefined; readonly next: Heads; readonly totals: readonly number[] },
): Heads {
  const [batch, heads, steps, width] = next.shape;
  const before = past === undefined ? undefined : headsOf(context, past);
  const room = Math.max(before?.shape[2] ?? 0, ...totals);
  const values = new Float64Array(context.guard('float64', [batch, heads, room, width]));
  for (let lane = 0; lane < batch * heads; lane++) {
    const total = totals[Math.floor(lane / heads)] ?? context.fail('seqlens_k lacks an entry');
    const start = Math.max(0, total - steps);
    const known = before?.shape[2] ?? 0;
    const old = before?.values.subarray(
      lane * known * width,
      (lane * known + Math.min(known, start)) * width,
    );
    if (old !== undefined) values.set(old, lane * room * width);
    const length = Math.min(steps, room - start) * width;
    values.set(
      next.values.subarray(lane * steps * width, lane * steps * width + length),
      (lane * room + start) * width,
    );
  }
  return { values, shape: [batch, heads, room, width] };
}

/** Attention of `com.microsoft`. */
export const microsoftAttentionKernels: KernelTable = {
  'com.microsoft.Attention': attention,
  'com.microsoft.GroupQueryAttention': groupQueryAttention,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
  'com.microsoft.QAttention': qAttention,
  'com.microsoft.RotaryEmbedding': rotaryEmbedding,
};

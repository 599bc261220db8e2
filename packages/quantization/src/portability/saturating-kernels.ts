import { type DType, dtypes, type Node, Tensor } from '@lithe/core';
import {
  type KernelContext,
  type KernelTable,
  type ReferenceKernel,
  referenceKernels,
} from '@lithe/core/reference';
import { roundHalfEven } from '../parameters/rounding.ts';
import { channelsLastWeights, tapTable, windowOf, windowRows } from './convolution-rows.ts';
import { type BytesProduct, multiplySaturating, type SaturatedSums } from './saturating-product.ts';

/** What saturation did to one node in one run. */
export interface NodeSaturation {
  /** Name of the node. */
  readonly node: string;
  /** Pairs of products that were added. */
  readonly pairs: number;
  /** Those whose sum left 16 bits. */
  readonly saturated: number;
  /** Results. */
  readonly outputs: number;
  /** Results that such a pair is part of. */
  readonly affected: number;
  /** Sum of the squared results, in the units of the activations. */
  readonly signal: number;
  /** Sum of the squared errors, in the same. */
  readonly noise: number;
}

/** Receives what happened in a node. */
export type SaturationObserver = (found: NodeSaturation) => void;

/** Levels as the kernels multiply them: signed activations are shifted to unsigned ones, or stay, and then nothing saturates. */
function unsignedLevels(
  tensor: Tensor,
  keepsSigned: boolean,
): { readonly levels: Uint8Array; readonly shift: number } | undefined {
  if (tensor.dtype === 'uint8') return { levels: tensor.data as Uint8Array, shift: 0 };
  if (tensor.dtype !== 'int8' || keepsSigned) return undefined;
  return { levels: Uint8Array.from(tensor.data as Int8Array, (level) => level + 128), shift: 128 };
}

function numbersOf(tensor: Tensor | undefined): Float64Array {
  return tensor === undefined ? Float64Array.of(0) : tensor.toFloat64Array();
}

/** A zero point of one for all, or of one each. */
const zeroOf = (zeros: Float64Array, at: number): number => zeros[zeros.length === 1 ? 0 : at]!;

/** What the two ways of adding give, less zero points, with what it takes to scale them. */
interface Accumulated {
  readonly shape: readonly number[];
  readonly exact: Float64Array;
  readonly saturated: Float64Array;
  readonly pairs: number;
  readonly hits: number;
  readonly affected: number;
  /** Channel of a result. */
  channelOf(index: number): number;
}

/**
 * Takes the shares of the zero points off, which are exact in either way of adding: the raw levels are multiplied, and
 * `sum (a - p)(b - q) = sum a b - p sum b - q sum a + k p q`.
 */
function centre(
  sums: SaturatedSums,
  { left, right, k, columns }: BytesProduct,
  zeros: { readonly left: number; right(column: number): number },
): void {
  const shares = new Float64Array(columns);
  for (let column = 0; column < columns; column++) {
    let sum = 0;
    for (let index = 0; index < k; index++) sum += right[column * k + index]!;
    shares[column] = zeros.left * (sum - k * zeros.right(column));
  }
  for (let row = 0, at = 0; at < sums.exact.length; row++) {
    let sum = 0;
    for (let index = 0; index < k; index++) sum += left[row * k + index]!;
    for (let column = 0; column < columns; column++, at++) {
      const share = shares[column]! + zeros.right(column) * sum;
      sums.exact[at]! -= share;
      sums.saturated[at]! -= share;
    }
  }
}

/**
 * A convolution in both ways; `undefined` where onnxruntime multiplies otherwise, unsigned weights and depthwise, and
 * where shapes do not fit.
 */
function convolve(context: KernelContext, keepsSigned: boolean): Accumulated | undefined {
  const [x, w] = [context.tensor(0), context.tensor(3)];
  const input = unsignedLevels(x, keepsSigned);
  const zeros = numbersOf(context.tensor(5));
  if (input === undefined || w.dtype !== 'int8') return undefined;
  const group = context.node.attributes.get('group');
  const groups = group?.kind === 'int' ? Number(group.value) : 1;
  const [batch = 1, channels = 1, ...dims] = x.shape;
  const [maps = 1, perGroup = 1, ...kernel] = w.shape;
  const mapsPerGroup = maps / groups;
  if (groups > 1 && perGroup === 1 && mapsPerGroup === 1) return undefined;
  if (x.shape.length !== w.shape.length || channels !== perGroup * groups || maps % groups !== 0)
    return undefined;
  const window = windowOf(context.node, dims, kernel);
  if (!window.output.every((dim) => dim > 0)) return undefined;
  const table = tapTable(window);
  const places = window.output.reduce((all, dim) => all * dim, 1);
  const area = dims.reduce((all, dim) => all * dim, 1);
  const k = (w.data.length / (maps * perGroup)) * perGroup;
  const zero = numbersOf(context.tensor(2))[0]! + input.shift;
  const weights = channelsLastWeights(w.data as Int8Array, maps, perGroup);
  const exact = new Float64Array(batch * maps * places);
  const saturated = new Float64Array(exact.length);
  let hits = 0;
  let affected = 0;
  for (let n = 0; n < batch; n++) {
    for (let g = 0; g < groups; g++) {
      const from = (n * channels + g * perGroup) * area;
      const left = windowRows({ levels: input.levels, from, channels: perGroup, area, zero }, table);
      const right = weights.subarray(g * mapsPerGroup * k, (g + 1) * mapsPerGroup * k);
      const product = { left, right, rows: places, columns: mapsPerGroup, k };
      const sums = multiplySaturating(product);
      centre(sums, product, { left: zero, right: (column) => zeroOf(zeros, g * mapsPerGroup + column) });
      hits += sums.pairs;
      affected += sums.sums;
      for (let place = 0; place < places; place++) {
        for (let m = 0; m < mapsPerGroup; m++) {
          const to = (n * maps + g * mapsPerGroup + m) * places + place;
          exact[to] = sums.exact[place * mapsPerGroup + m]!;
          saturated[to] = sums.saturated[place * mapsPerGroup + m]!;
        }
      }
    }
  }
  const pairs = exact.length * Math.floor(k / 2);
  const channelOf = (index: number): number => Math.floor(index / places) % maps;
  return { shape: [batch, maps, ...window.output], exact, saturated, pairs, hits, affected, channelOf };
}

/** A product with a constant matrix in both ways; `undefined` where onnxruntime multiplies otherwise. */
function multiply(operands: {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly zeroA: Tensor | undefined;
  readonly zeroB: Tensor | undefined;
  readonly keepsSigned: boolean;
}): Accumulated | undefined {
  const { a, b, zeroA, zeroB, keepsSigned } = operands;
  const input = unsignedLevels(a, keepsSigned);
  if (input === undefined || b.dtype !== 'int8' || b.shape.length !== 2) return undefined;
  const zeros = numbersOf(zeroA);
  const zerosB = numbersOf(zeroB);
  if (zeros.length !== 1) return undefined;
  const [k = 1, columns = 1] = b.shape;
  if (k === 0 || a.shape.at(-1) !== k) return undefined;
  const rows = input.levels.length / k;
  const right = new Int8Array(k * columns);
  const data = b.data as Int8Array;
  for (let index = 0; index < k; index++)
    for (let column = 0; column < columns; column++)
      right[column * k + index] = data[index * columns + column]!;
  const product = { left: input.levels, right, rows, columns, k };
  const sums = multiplySaturating(product);
  centre(sums, product, { left: zeros[0]! + input.shift, right: (column) => zeroOf(zerosB, column) });
  return {
    shape: [...a.shape.slice(0, -1), columns],
    exact: Float64Array.from(sums.exact),
    saturated: Float64Array.from(sums.saturated),
    pairs: sums.exact.length * Math.floor(k / 2),
    hits: sums.pairs,
    affected: sums.sums,
    channelOf: (index) => index % columns,
  };
}

/** Scales of the results of a node, by channel. */
function scalesOf(input: Tensor, weight: Tensor): (channel: number) => number {
  const [one, many] = [numbersOf(input)[0]!, numbersOf(weight)];
  return (channel) => Math.fround(one * many[many.length === 1 ? 0 : channel]!);
}

function observe(
  node: Node,
  found: Accumulated,
  { scale, observer }: { readonly scale: (channel: number) => number; readonly observer: SaturationObserver },
): void {
  let signal = 0;
  let noise = 0;
  for (let index = 0; index < found.exact.length; index++) {
    const factor = scale(found.channelOf(index));
    signal += (found.exact[index]! * factor) ** 2;
    noise += ((found.exact[index]! - found.saturated[index]!) * factor) ** 2;
  }
  const { pairs, hits, affected } = found;
  observer({
    node: node.name,
    pairs,
    saturated: hits,
    outputs: found.exact.length,
    affected,
    signal,
    noise,
  });
}

/** Rounds sums to the integers of the result, in float32 steps as runtimes do. */
function requantize(
  found: Accumulated,
  sums: Float64Array,
  target: {
    readonly scale: (channel: number) => number;
    readonly output: number;
    readonly zero: Tensor;
    readonly bias: Tensor | undefined;
  },
): Tensor {
  const { zero, bias } = target;
  const dtype: DType = zero.dtype;
  const [low, high] = (dtypes[dtype].range ?? [0n, 0n]).map(Number) as [number, number];
  const shift = numbersOf(zero)[0]!;
  const biases = bias === undefined ? undefined : bias.toFloat64Array();
  const levels = dtype === 'int8' ? new Int8Array(sums.length) : new Uint8Array(sums.length);
  for (let index = 0; index < levels.length; index++) {
    const channel = found.channelOf(index);
    const sum = sums[index]! + (biases?.[channel] ?? 0);
    const factor = Math.fround(target.scale(channel) / target.output);
    const level = roundHalfEven(Math.fround(sum * factor)) + shift;
    levels[index] = Math.min(high, Math.max(low, level));
  }
  return Tensor.fromBytes(dtype, found.shape, new Uint8Array(levels.buffer));
}

/**
 * Kernels of the integer operators that count what saturates, by operator, for the reference interpreter.
 *
 * @param handsOn whether the nodes behind see saturated results; else exact ones
 * @param keepsSigned whether a node multiplies signed activations as they are, which saturates nothing: onnxruntime does
 *   so in integer operators that it finds in a file, and shifts them to unsigned ones in those that it makes of pairs
 */
export function saturatingKernels(
  observer: SaturationObserver,
  handsOn: boolean,
  keepsSigned: (node: Node) => boolean = () => false,
): KernelTable {
  const exactly = (name: string, context: KernelContext): readonly Tensor[] =>
    (referenceKernels[name] as ReferenceKernel)(context) as readonly Tensor[];
  const quantized =
    (name: 'QLinearConv' | 'QLinearMatMul'): ReferenceKernel =>
    (context) => {
      const isConv = name === 'QLinearConv';
      const found = isConv
        ? convolve(context, keepsSigned(context.node))
        : multiply({
            a: context.tensor(0),
            b: context.tensor(3),
            zeroA: context.tensor(2),
            zeroB: context.tensor(5),
            keepsSigned: keepsSigned(context.node),
          });
      if (found === undefined) return exactly(name, context);
      const scale = scalesOf(context.tensor(1), context.tensor(4));
      observe(context.node, found, { scale, observer });
      const bias = isConv ? context.optional(8) : undefined;
      const output = numbersOf(context.tensor(6))[0]!;
      const sums = handsOn ? found.saturated : found.exact;
      return [requantize(found, sums, { scale, output, zero: context.tensor(7), bias })];
    };
  return {
    QLinearConv: quantized('QLinearConv'),
    QLinearMatMul: quantized('QLinearMatMul'),
    MatMulInteger: (context) => {
      const [a, b] = [context.tensor(0), context.tensor(1)];
      const [zeroA, zeroB] = [context.optional(2), context.optional(3)];
      const found = multiply({ a, b, zeroA, zeroB, keepsSigned: keepsSigned(context.node) });
      if (found === undefined) return exactly('MatMulInteger', context);
      // Scales follow behind: within a row of one input scale they only weigh columns, all alike here.
      observe(context.node, found, { scale: () => 1, observer });
      const sums = handsOn ? found.saturated : found.exact;
      return [Tensor.from('int32', found.shape, Int32Array.from(sums))];
    },
  };
}

import { type Dim, isStaticShape, Tensor, type Value } from '@lithe/core';
import { type Emitter, productOf } from '../autodiff/emitter.ts';
import type { GradientContext } from '../autodiff/gradient-rule.ts';
import { positionOf, type Window } from './window.ts';

/** Both sides of a convolution, as its weight gradient sees them. */
interface Sides {
  readonly emit: Emitter;
  readonly window: Window;
  readonly group: number;
  /** Channels of the input. */
  readonly channels: number;
  /** Channels of the output. */
  readonly filters: number;
  /** Spatial size of the input. */
  readonly size: readonly number[];
  /** Spatial size of the output. */
  readonly out: readonly number[];
}

type SideName = 'input' | 'gradient';

/** One of the two factors: what is moved over the other, kernel position by kernel position. */
interface Side {
  readonly name: SideName;
  readonly value: Value;
  readonly channels: number;
  /** Rows per spatial axis. */
  readonly size: readonly number[];
}

/** The rows of one side that a kernel position meets along an axis; they may lie outside, where zeros count. */
interface Rows {
  readonly start: number;
  readonly count: number;
  readonly step: number;
}

/** How the work is shared between the sides. */
interface Plan {
  /** The side on which positions of the first axis become channels. */
  readonly laid: SideName;
  /** The side that is moved along all other axes, one product for each position. */
  readonly moved: SideName;
  /** One product for all: positions of every axis become channels of the laid side. */
  readonly joined: boolean;
  /** Channels copied by it, a measure of what it costs. */
  readonly cost: number;
}

/** Whether the gradient can be moved over the input along an axis, rather than the input over the gradient. */
function gradientMoves({ window, size, out }: Sides, axis: number): boolean {
  const begin = (window.kernel[axis]! - 1) * window.dilations[axis]! - window.padsBegin[axis]!;
  return window.strides[axis] === 1 && begin >= 0 && size[axis]! - out[axis]! + window.padsBegin[axis]! >= 0;
}

function rowsOf({ window, size, out }: Sides, name: SideName, axis: number, tap: number): Rows {
  const offset = tap * window.dilations[axis]! - window.padsBegin[axis]!;
  return name === 'input'
    ? { start: offset, count: out[axis]!, step: window.strides[axis]! }
    : { start: -offset, count: size[axis]!, step: 1 };
}

/** The first axis has its positions gathered as whole rows; with one axis alone there are no rows. */
const hasRows = ({ window }: Sides): boolean => window.kernel.length > 1;

/** The cheapest way, by the channels that are copied (see docs/adr/0012-training-decompositions.md). */
function planOf(sides: Sides): Plan {
  const { window, channels, filters } = sides;
  const others = window.kernel.map((_, axis) => axis).slice(hasRows(sides) ? 1 : 0);
  const rowTaps = hasRows(sides) ? window.kernel[0]! : 1;
  const taps = productOf(others.map((axis) => window.kernel[axis]!));
  const rowsMove = !hasRows(sides) || window.kernel[0] === 1 || gradientMoves(sides, 0);
  const othersMove = others.every((axis) => window.kernel[axis] === 1 || gradientMoves(sides, axis));
  const plans: Plan[] = [
    { laid: 'input', moved: 'input', joined: false, cost: channels * taps * (1 + rowTaps) },
    { laid: 'input', moved: 'input', joined: true, cost: channels * taps * (2 + rowTaps) },
  ];
  if (rowsMove)
    plans.unshift({
      laid: 'gradient',
      moved: 'input',
      joined: false,
      cost: filters * rowTaps + channels * taps,
    });
  if (othersMove)
    plans.unshift({
      laid: 'input',
      moved: 'gradient',
      joined: false,
      cost: channels * rowTaps + filters * taps,
    });
  // Products with fewer columns than a vector register is wide waste most of it: few channels are joined.
  const narrow = Math.min(channels, filters) < 8 && sides.group === 1;
  return plans
    .filter(({ joined }) => joined === narrow)
    .reduce((best, next) => (next.cost < best.cost ? next : best));
}

/** Rows of a side for one position of some axes: zeros added or cut off in one operation where the step is 1. */
function cut(sides: Sides, side: Side, axes: readonly number[], taps: readonly number[]): Value {
  const { emit, window } = sides;
  const rows = axes.map((axis, index) => rowsOf(sides, side.name, axis, taps[index]!));
  const begin = new Array<number>(window.kernel.length).fill(0);
  const end = [...begin];
  const steps = axes.some((_, index) => rows[index]!.step > 1 && rows[index]!.count > 1);
  axes.forEach((axis, index) => {
    const { start, count, step } = rows[index]!;
    const reach = start + (count - 1) * step + 1 - side.size[axis]!;
    // Before a Slice every position is padded alike, so that all share one Pad.
    const all = Array.from({ length: window.kernel[axis]! }, (_, tap) => rowsOf(sides, side.name, axis, tap));
    begin[axis] = steps ? Math.max(0, ...all.map((row) => -row.start)) : -start;
    end[axis] = steps
      ? Math.max(0, ...all.map((row) => row.start + (row.count - 1) * row.step + 1 - side.size[axis]!))
      : reach;
  });
  const padded = pad(emit, side.value, begin, end);
  if (!steps) return padded;
  const first = rows.map(({ start }, index) => start + begin[axes[index]!]!);
  return emit.op('Slice', [
    padded,
    emit.ints(first),
    emit.ints(rows.map(({ count, step }, index) => first[index]! + (count - 1) * step + 1)),
    emit.ints(axes.map((axis) => axis + 2)),
    emit.ints(rows.map(({ step }) => step)),
  ]);
}

function pad(emit: Emitter, value: Value, begin: readonly number[], end: readonly number[]): Value {
  const pads = [0, 0, ...begin, 0, 0, ...end];
  if (pads.every((rows) => rows === 0)) return value;
  // onnxruntime's WebGPU kernel reads the filling even where it is left out.
  return emit.op('Pad', [value, emit.ints(pads), emit.scalar(0, value.dtype ?? 'float32')]);
}

/** `[N, C, H, …]` with the rows that each kernel position of the first axis meets: `[N, C, taps, rows, …]`. */
function gatherRows(sides: Sides, side: Side): Value {
  const { emit, window } = sides;
  const taps = window.kernel[0]!;
  if (taps === 1) return cut(sides, side, [0], [0]);
  const rows = Array.from({ length: taps }, (_, tap) => rowsOf(sides, side.name, 0, tap));
  const begin = Math.max(0, ...rows.map(({ start }) => -start));
  const reach = rows.map(({ start, count, step }) => start + (count - 1) * step + 1);
  const end = Math.max(0, ...reach.map((row) => row - side.size[0]!));
  const rest = window.kernel.slice(1).map(() => 0);
  const numbers = rows.flatMap(({ start, count, step }) =>
    Array.from({ length: count }, (_, row) => BigInt(begin + start + row * step)),
  );
  const shape = [taps, rows[0]!.count];
  const indices = emit.constant(Tensor.from('int64', shape, BigInt64Array.from(numbers)));
  return emit.op('Gather', [pad(emit, side.value, [begin, ...rest], [end, ...rest]), indices], { axis: 2 });
}

/**
 * Gradient of a convolution by its weights: for every kernel position the product of gradient and input, summed over
 * batch and positions. Kernel positions along the first axis become channels of one side, whole rows gathered at once;
 * the other side is moved along the remaining axes, a product for each position:
 * `[N, G, A * kernel[0], P] x [N, G, P, B]`, summed over the batch. Where the batch of products would be larger than
 * its factors, the batch becomes part of the summed axis of one product.
 *
 * @param input the convolution's input `[N, C, …]`
 * @param gradient the gradient by its output `[N, M, …]`
 * @param weights the weights `[M, C/G, …]`, for the shape of the result
 */
export function convolutionByWeights(
  context: GradientContext,
  input: Value,
  gradient: Value,
  weights: Value,
  window: Window,
  group: number,
): Value {
  const { emit } = context;
  const size: readonly Dim[] = input.shape?.slice(2) ?? [];
  const out: readonly Dim[] = gradient.shape?.slice(2) ?? [];
  const channels = input.shape?.[1];
  const filters = gradient.shape?.[1];
  if (
    !isStaticShape(size) ||
    !isStaticShape(out) ||
    typeof channels !== 'number' ||
    typeof filters !== 'number'
  ) {
    return context.unknownSize('the size of its input or weights');
  }
  const sides: Sides = { emit, window, group, channels, filters, size, out };
  const plan = planOf(sides);
  const named = {
    input: { name: 'input', value: input, channels, size },
    gradient: { name: 'gradient', value: gradient, channels: filters, size: out },
  } as const;
  const laid = named[plan.laid];
  const other = named[plan.laid === 'input' ? 'gradient' : 'input'];
  const product = productOf(window.kernel) * channels * filters;
  const positions = productOf(
    window.kernel.map(
      (_, axis) => ((axis === 0 && hasRows(sides) ? plan.laid : plan.moved) === 'input' ? out : size)[axis]!,
    ),
  );
  const folds = group === 1 && product > positions * plan.cost;
  const work: Work = { sides, laid, other, moved: plan.moved, positions };
  const sum = plan.joined ? joined(work) : folds ? folded(work) : batched(work);
  // [G, A/G, first axis, B/G, other axes] to [G, M/G, C/G, …kernel]; A are the channels of the laid side.
  const apart = emit.reshape(sum, [
    group,
    laid.channels / group,
    hasRows(sides) ? window.kernel[0]! : 1,
    other.channels / group,
    -1,
  ]);
  const order = plan.laid === 'gradient' ? [0, 1, 3, 2, 4] : [0, 3, 1, 2, 4];
  return emit.reshapeLike(emit.transpose(apart, order), weights);
}

interface Work {
  readonly sides: Sides;
  readonly laid: Side;
  readonly other: Side;
  readonly moved: SideName;
  readonly positions: number;
}

/** Both factors for every position of the axes behind the first. */
function factors({ sides, laid, other, moved }: Work): readonly (readonly [Value, Value])[] {
  const { window } = sides;
  const axes = window.kernel.map((_, axis) => axis).slice(hasRows(sides) ? 1 : 0);
  const kernel = axes.map((axis) => window.kernel[axis]!);
  return Array.from({ length: productOf(kernel) }, (_, flat) => {
    const taps = positionOf(flat, kernel);
    return laid.name === moved
      ? [cut(sides, laid, axes, taps), other.value]
      : [laid.value, cut(sides, other, axes, taps)];
  });
}

function batched(work: Work): Value {
  const { sides, laid, other, positions } = work;
  const { emit, group } = sides;
  const laidOut = new Map<Value, Value>();
  const products = factors(work).map(([left, right]) => {
    const rows = laidOut.get(left) ?? (hasRows(sides) ? gatherRows(sides, { ...laid, value: left }) : left);
    laidOut.set(left, rows);
    const matrix = emit.reshape(rows, [0, group, -1, positions]);
    const columns = emit.swapLast(emit.reshape(right, [0, group, other.channels / group, positions]));
    return emit.op('Unsqueeze', [emit.sum(emit.matmul(matrix, columns), [0], false), emit.ints([3])]);
  });
  return products.length === 1 ? (products[0] as Value) : emit.op('Concat', products, { axis: 3 });
}

function joined({ sides, laid, other, moved, positions }: Work): Value {
  const { emit, window } = sides;
  const cuts = factors({ sides, laid, other, moved, positions }).map(([left]) => left);
  const all = cuts.length === 1 ? (cuts[0] as Value) : emit.op('Concat', cuts, { axis: 1 });
  const rows = hasRows(sides) ? gatherRows(sides, { ...laid, value: all }) : all;
  const matrix = emit.reshape(rows, [0, -1, positions]);
  const columns = emit.swapLast(emit.reshape(other.value, [0, other.channels, positions]));
  const sum = emit.sum(emit.matmul(matrix, columns), [0], false);
  const first = hasRows(sides) ? window.kernel[0]! : 1;
  return emit.transpose(emit.reshape(sum, [cuts.length, laid.channels, first, other.channels]), [1, 2, 3, 0]);
}

function folded(work: Work): Value {
  const { sides, laid, other } = work;
  const { emit, window } = sides;
  const spatial = window.kernel.map((_, axis) => axis + 2);
  const turn = (side: Side): Side => ({ ...side, value: emit.transpose(side.value, [1, 0, ...spatial]) });
  const turned = { ...work, laid: turn(laid), other: turn(other) };
  const taps = hasRows(sides) ? window.kernel[0]! : 1;
  const products = factors(turned).map(([left, right]) => {
    const side = { ...laid, value: left };
    const cuts = Array.from({ length: taps }, (_, tap) =>
      emit.reshape(hasRows(sides) ? cut(sides, side, [0], [tap]) : left, [laid.channels, -1]),
    );
    const matrix = cuts.length === 1 ? (cuts[0] as Value) : emit.op('Concat', cuts, { axis: 0 });
    const columns = emit.reshape(right, [other.channels, -1]);
    return emit.op('Unsqueeze', [emit.op('Gemm', [matrix, columns], { transB: 1 }), emit.ints([2])]);
  });
  const all = products.length === 1 ? (products[0] as Value) : emit.op('Concat', products, { axis: 2 });
  const apart = emit.reshape(all, [taps, laid.channels, other.channels, -1]);
  return emit.transpose(apart, [1, 0, 2, 3]);
}

import { isStaticShape, standardOpDefs, Tensor, type Value } from '@lithe/core';
import { type Emitter, productOf } from '../autodiff/emitter.ts';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';
import { nonZero } from './non-zero.ts';
import { positionOf, type Window, windowOf } from './window.ts';

interface Sizes {
  readonly size: readonly number[];
  readonly out: readonly number[];
}

function sizesOf(context: GradientContext): Sizes {
  const size = context.input(0).shape?.slice(2);
  const out = context.output().shape?.slice(2);
  if (!isStaticShape(size) || !isStaticShape(out))
    return context.unknownSize('the spatial size of its input');
  return { size, out };
}

/** Whether windows lie side by side and cover the input exactly. */
function tiles(window: Window, { size, out }: Sizes): boolean {
  return window.kernel.every(
    (kernel, axis) =>
      window.strides[axis] === kernel &&
      window.dilations[axis] === 1 &&
      window.padsBegin[axis] === 0 &&
      window.padsEnd[axis] === 0 &&
      out[axis]! * kernel === size[axis],
  );
}

/** Adds up what each tap gave, at the place of the input it looked at. `taps` are `[N, C, …out]`. */
function spreadTaps(emit: Emitter, taps: readonly Value[], window: Window, sizes: Sizes, like: Value): Value {
  const rank = window.kernel.length;
  if (tiles(window, sizes)) return tileTaps(emit, taps, window, like);
  // A transposed convolution whose k-th filter is 1 at tap k puts every value back where it came from.
  const count = taps.length;
  const columns = taps.map((tap) => emit.reshape(tap, [-1, 1, ...sizes.out]));
  const filters = new Float32Array(count * count);
  for (let tap = 0; tap < count; tap++) filters[tap * count + tap] = 1;
  const weights = emit.floats([count, 1, ...window.kernel], filters, like.dtype);
  const spread = transposed(emit, emit.op('Concat', columns, { axis: 1 }), weights, window, sizes, rank);
  return emit.reshapeLike(spread, like);
}

/** Interleaves taps of windows that lie side by side: no arithmetic at all. */
function tileTaps(emit: Emitter, taps: readonly Value[], window: Window, like: Value): Value {
  const rank = window.kernel.length;
  const out = like.shape?.slice(2).map((dim, axis) => Number(dim) / window.kernel[axis]!) ?? [];
  const behind = taps.map((tap) => emit.op('Unsqueeze', [tap, emit.ints([rank + 2])]));
  const stacked = emit.reshape(emit.op('Concat', behind, { axis: rank + 2 }), [
    0,
    0,
    ...out,
    ...window.kernel,
  ]);
  const order = [0, 1];
  for (let axis = 0; axis < rank; axis++) order.push(2 + axis, 2 + rank + axis);
  return emit.reshapeLike(emit.transpose(stacked, order), like);
}

function transposed(
  emit: Emitter,
  value: Value,
  weights: Value,
  window: Window,
  { size, out }: Sizes,
  rank: number,
): Value {
  // Rows of the padded input that no window reached get zeros: they count as output padding.
  const missing = Array.from({ length: rank }, (_, axis) => {
    const reached =
      (out[axis]! - 1) * window.strides[axis]! + (window.kernel[axis]! - 1) * window.dilations[axis]! + 1;
    return size[axis]! + window.padsBegin[axis]! + window.padsEnd[axis]! - reached;
  });
  // With ceil_mode the last window may reach beyond the padded input; more is cut off at the end then.
  const end = window.padsEnd.map((pad, axis) => pad - Math.min(0, missing[axis]!));
  const result = emit.op('ConvTranspose', [value, weights], {
    kernel_shape: window.kernel,
    strides: window.strides,
    dilations: window.dilations,
    pads: [...window.padsBegin, ...end],
  });
  if (missing.every((rows) => rows <= 0)) return result;
  const pads = [0, 0, ...window.kernel.map(() => 0), 0, 0, ...missing.map((rows) => Math.max(0, rows))];
  return emit.op('Pad', [result, emit.ints(pads)]);
}

/** Numbers that tell the places of a window apart, the first the largest, laid side by side over `[H, W]`. */
function placeNumbers(emit: Emitter, window: Window, { size }: Sizes): Value {
  const [height, width] = size as readonly [number, number];
  const [rows, columns] = window.kernel as readonly [number, number];
  const numbers = new Float32Array(height * width);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      numbers[row * width + column] = rows * columns - ((row % rows) * columns + (column % columns));
    }
  }
  return emit.floats([1, 1, height, width], numbers);
}

/**
 * Windows of an image that lie side by side: the result is enlarged to the input's size and compared with it (measured
 * in onnxruntime: faster than the taps one by one). Of equal extremes the first alone takes the gradient, as in the
 * forward operator's indices: extremes get the numbers of their places, and the largest number in a window wins.
 */
function tiledMaxPool(
  emit: Emitter,
  gradient: Value,
  values: { readonly x: Value; readonly y: Value },
  window: Window,
  sizes: Sizes,
): Value {
  const { kernel } = window;
  const scales = emit.floats([4], [1, 1, ...kernel]);
  const enlarge = (value: Value): Value =>
    emit.op('Resize', [value, null, scales], {
      mode: 'nearest',
      nearest_mode: 'floor',
      coordinate_transformation_mode: 'asymmetric',
    });
  const extremes = emit.mask(emit.op('Equal', [values.x, enlarge(values.y)]), 'float32');
  const places = emit.mul(extremes, placeNumbers(emit, window, sizes));
  const first = emit.op('MaxPool', [places], { kernel_shape: kernel, strides: kernel });
  const winners = emit.mask(emit.op('Equal', [places, enlarge(first)]), 'float32');
  return emit.mul(winners, enlarge(gradient));
}

const maxPool: GradientRule = (context, gradient) => {
  const { emit } = context;
  const window = windowOf(context, context.attributes(standardOpDefs.MaxPool), undefined);
  const sizes = sizesOf(context);
  const [x, y] = [context.input(0), context.output()];
  if (x.dtype === 'float32' && window.kernel.length === 2 && tiles(window, sizes)) {
    return [tiledMaxPool(emit, gradient, { x, y }, window, sizes)];
  }
  const dtype = x.dtype ?? 'float32';
  const needed = window.kernel.map(
    (kernel, axis) =>
      (sizes.out[axis]! - 1) * window.strides[axis]! + (kernel - 1) * window.dilations[axis]! + 1,
  );
  const extra = needed.map((reach, axis) =>
    Math.max(window.padsEnd[axis]!, reach - sizes.size[axis]! - window.padsBegin[axis]!),
  );
  const pads = [0, 0, ...window.padsBegin, 0, 0, ...extra];
  const lowest = emit.scalar(Number.NEGATIVE_INFINITY, dtype);
  const padded = pads.some((pad) => pad !== 0) ? emit.op('Pad', [x, emit.ints(pads), lowest]) : x;
  const axes = window.kernel.map((_, axis) => axis + 2);
  const taps: Value[] = [];
  let taken: Value | undefined;
  for (let flat = 0; flat < productOf(window.kernel); flat++) {
    const start = positionOf(flat, window.kernel).map((position, axis) => position * window.dilations[axis]!);
    const ends = start.map((from, axis) => from + (sizes.out[axis]! - 1) * window.strides[axis]! + 1);
    const seen = emit.op('Slice', [
      padded,
      emit.ints(start),
      emit.ints(ends),
      emit.ints(axes),
      emit.ints(window.strides),
    ]);
    // Ties go to the first element of the window alone, as in the forward operator's indices.
    const equal = emit.op('Equal', [seen, y]);
    const first: Value = taken === undefined ? equal : emit.op('And', [equal, emit.op('Not', [taken])]);
    taken = taken === undefined ? equal : emit.op('Or', [taken, equal]);
    taps.push(emit.mul(gradient, emit.mask(first, dtype)));
  }
  return [spreadTaps(emit, taps, window, sizes, x)];
};

/** How many elements each window of an average pool counts, per axis: 1 / count as a constant that broadcasts. */
function shares(context: GradientContext, window: Window, { size, out }: Sizes, includePads: boolean): Value {
  const { emit } = context;
  const perAxis = window.kernel.map((kernel, axis) =>
    Array.from({ length: out[axis]! }, (_, index) => {
      const start = index * window.strides[axis]! - window.padsBegin[axis]!;
      const from = includePads ? -window.padsBegin[axis]! : 0;
      const until = size[axis]! + (includePads ? window.padsEnd[axis]! : 0);
      let count = 0;
      for (let tap = 0; tap < kernel; tap++) {
        const position = start + tap * window.dilations[axis]!;
        if (position >= from && position < until) count++;
      }
      return count;
    }),
  );
  const values = new Float64Array(productOf(out));
  for (let flat = 0; flat < values.length; flat++) {
    const position = positionOf(flat, out);
    values[flat] = 1 / position.reduce((product, index, axis) => product * perAxis[axis]![index]!, 1);
  }
  return emit.floats(out, values, context.input(0).dtype);
}

const averagePool: GradientRule = (context, gradient) => {
  const { emit } = context;
  const attributes = context.attributes(standardOpDefs.AveragePool);
  const window = windowOf(context, attributes, undefined);
  const sizes = sizesOf(context);
  const share = emit.mul(gradient, shares(context, window, sizes, attributes.count_include_pad));
  const ones = emit.floats(
    [1, 1, ...window.kernel],
    new Float32Array(productOf(window.kernel)).fill(1),
    gradient.dtype,
  );
  const columns = emit.reshape(share, [-1, 1, ...sizes.out]);
  const spread = transposed(emit, columns, ones, window, sizes, window.kernel.length);
  return [emit.reshapeLike(spread, context.input(0))];
};

const globalAveragePool: GradientRule = (context, gradient) => {
  const size = context.input(0).shape?.slice(2);
  if (!isStaticShape(size)) return context.unknownSize('the spatial size of its input');
  return [context.emit.expandLike(context.emit.scale(gradient, 1 / productOf(size)), context.input(0))];
};

const globalMaxPool: GradientRule = (context, gradient) => {
  const { emit } = context;
  const x = context.input(0);
  // ArgMax gives the first of equal elements; a one-hot mask of it takes the gradient.
  const size = x.shape?.slice(2);
  if (!isStaticShape(size)) return context.unknownSize('the spatial size of its input');
  const flat = emit.reshape(x, [0, 0, -1]);
  const winner = emit.op('ArgMax', [flat], { axis: 2, keepdims: 1 });
  const positions = emit.constant(
    Tensor.from(
      'int64',
      [productOf(size)],
      BigInt64Array.from({ length: productOf(size) }, (_, index) => BigInt(index)),
    ),
  );
  const mask = emit.mask(emit.op('Equal', [positions, winner]), x.dtype ?? 'float32');
  const spread = emit.mul(emit.reshape(gradient, [0, 0, 1]), mask);
  return [emit.reshapeLike(spread, x)];
};

/** d/dx (sum |x|^p)^(1/p) = sign(x) |x|^(p-1) y^(1-p); the gradient at y = 0 is taken as 0. */
function throughNorm(emit: Emitter, x: Value, p: number): Value {
  if (p === 1) return emit.op('Sign', [x]);
  if (p === 2) return x;
  return emit.mul(emit.op('Sign', [x]), emit.op('Pow', [emit.op('Abs', [x]), emit.scalar(p - 1, x.dtype)]));
}

/** gradient * y^(1-p), 0 where y is 0. */
function overNorm(emit: Emitter, gradient: Value, y: Value, p: number): Value {
  if (p === 1) return gradient;
  const safe = nonZero(emit, y);
  return emit.div(gradient, p === 2 ? safe : emit.op('Pow', [safe, emit.scalar(p - 1, y.dtype)]));
}

const lpPool: GradientRule = (context, gradient) => {
  const { emit } = context;
  const attributes = context.attributes(standardOpDefs.LpPool);
  const window = windowOf(context, attributes, undefined);
  const sizes = sizesOf(context);
  const [x, y] = [context.input(0), context.output()];
  const ones = emit.floats(
    [1, 1, ...window.kernel],
    new Float32Array(productOf(window.kernel)).fill(1),
    gradient.dtype,
  );
  const columns = emit.reshape(overNorm(emit, gradient, y, attributes.p), [-1, 1, ...sizes.out]);
  const spread = emit.reshapeLike(transposed(emit, columns, ones, window, sizes, window.kernel.length), x);
  return [emit.mul(spread, throughNorm(emit, x, attributes.p))];
};

const globalLpPool: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { p } = context.attributes(standardOpDefs.GlobalLpPool);
  const x = context.input(0);
  return [emit.mul(overNorm(emit, gradient, context.output(), p), throughNorm(emit, x, p))];
};

/** Gradients of pooling. */
export const poolingGradients: GradientRules<
  'MaxPool' | 'AveragePool' | 'GlobalAveragePool' | 'GlobalMaxPool' | 'LpPool' | 'GlobalLpPool'
> = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: globalAveragePool,
  GlobalMaxPool: globalMaxPool,
  LpPool: lpPool,
  GlobalLpPool: globalLpPool,
};

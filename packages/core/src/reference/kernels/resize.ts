import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers, take, toIntegers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { aroundAxis } from './lanes.ts';
import { isReal, REAL } from './numeric.ts';
import { normalAxes } from './shape.ts';

type Coordinates =
  | 'half_pixel'
  | 'half_pixel_symmetric'
  | 'pytorch_half_pixel'
  | 'align_corners'
  | 'asymmetric'
  | 'tf_crop_and_resize';
const coordinateModes: readonly Coordinates[] = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
  'tf_crop_and_resize',
];
type NearestMode = 'round_prefer_floor' | 'round_prefer_ceil' | 'floor' | 'ceil';
const nearestModes: readonly NearestMode[] = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'];

interface ResizeOptions {
  readonly antialias: boolean;
  readonly coordinate_transformation_mode: Coordinates;
  readonly cubic_coeff_a: number;
  readonly exclude_outside: boolean;
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly nearest_mode: NearestMode;
}

/** How one axis is resized. */
interface AxisPlan {
  readonly axis: number;
  readonly input: number;
  readonly output: number;
  readonly scale: number;
  readonly roi: readonly [number, number];
}

/** Weighted source positions of one output position; `undefined` where it lies outside (`tf_crop_and_resize`). */
type Taps = { readonly at: readonly number[]; readonly weights: readonly number[] } | undefined;

/** Position in the input of output position `x`: the formulas of the operator's specification. */
function originalOf(x: number, { input, output, scale, roi }: AxisPlan, mode: Coordinates): number {
  const resized = scale * input;
  switch (mode) {
    case 'half_pixel':
      return (x + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric':
      return (input / 2) * (1 - output / resized) + (x + 0.5) / scale - 0.5;
    case 'pytorch_half_pixel':
      return resized > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case 'align_corners':
      return resized === 1 ? 0 : (x * (input - 1)) / (resized - 1);
    case 'asymmetric':
      return x / scale;
    case 'tf_crop_and_resize':
      return resized > 1
        ? roi[0] * (input - 1) + (x * (roi[1] - roi[0]) * (input - 1)) / (resized - 1)
        : 0.5 * (roi[0] + roi[1]) * (input - 1);
  }
}

function nearestOf(x: number, mode: NearestMode): number {
  if (mode === 'floor') return Math.floor(x);
  if (mode === 'ceil') return Math.ceil(x);
  return mode === 'round_prefer_floor' ? Math.ceil(x - 0.5) : Math.floor(x + 0.5);
}

/** Keys's cubic kernel ("Cubic Convolution Interpolation for Digital Image Processing", 1981) with parameter `a`. */
export function cubicWeight(distance: number, a: number): number {
  const d = Math.abs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return 0;
}

function tapsOf(x: number, plan: AxisPlan, options: ResizeOptions): Taps {
  const { input } = plan;
  const original = originalOf(x, plan, options.coordinate_transformation_mode);
  if (
    options.coordinate_transformation_mode === 'tf_crop_and_resize' &&
    (original < 0 || original > input - 1)
  )
    return undefined;
  const clamped = (at: number): number => Math.min(Math.max(at, 0), input - 1);
  if (options.mode === 'nearest')
    return { at: [clamped(nearestOf(original, options.nearest_mode))], weights: [1] };
  // Antialiasing stretches the kernel over the input that one output element covers.
  const squeeze = options.antialias ? Math.min(plan.scale, 1) : 1;
  const support = (options.mode === 'linear' ? 1 : 2) / squeeze;
  const at: number[] = [];
  const weights: number[] = [];
  let total = 0;
  for (let position = Math.floor(original - support) + 1; position < original + support; position++) {
    const distance = (position - original) * squeeze;
    const outside = options.exclude_outside && (position < 0 || position >= input);
    const weight = outside
      ? 0
      : options.mode === 'linear'
        ? Math.max(0, 1 - Math.abs(distance))
        : cubicWeight(distance, options.cubic_coeff_a);
    at.push(clamped(position));
    weights.push(weight);
    total += weight;
  }
  return {
    at,
    weights: options.antialias || options.exclude_outside ? weights.map((weight) => weight / total) : weights,
  };
}

/** Output sizes and scales, from the third or fourth input. */
function planAxes(context: KernelContext, input: Tensor): AxisPlan[] {
  const { axes: named, keep_aspect_ratio_policy: policy } = context.attributes({
    axes: attr.optionalInts(),
    keep_aspect_ratio_policy: attr.oneOf(['stretch', 'not_larger', 'not_smaller'], 'stretch'),
  });
  const axes = normalAxes(context, named ?? input.shape.map((_, axis) => axis), input.shape.length);
  const roi = context.optional(1)?.toFloat64Array() ?? new Float64Array(0);
  const scales = context.optional(2);
  const sizes = context.optional(3);
  const roiOf = (index: number): readonly [number, number] =>
    roi.length === 2 * axes.length ? [roi[index]!, roi[index + axes.length]!] : [0, 1];
  if (scales !== undefined && scales.size > 0) {
    const factors = scales.toFloat64Array();
    if (factors.length !== axes.length || factors.some((factor) => !(factor > 0)))
      context.fail(`${factors.length} scales do not fit ${axes.length} axes`);
    return axes.map((axis, index) => {
      const dim = input.shape[axis]!;
      return {
        axis,
        input: dim,
        output: Math.floor(dim * factors[index]!),
        scale: factors[index]!,
        roi: roiOf(index),
      };
    });
  }
  if (sizes === undefined) return context.fail('neither scales nor sizes are given');
  const wanted = toIntegers(sizes);
  if (wanted.length !== axes.length) context.fail(`${wanted.length} sizes for ${axes.length} axes`);
  const ratios = axes.map((axis, index) => wanted[index]! / input.shape[axis]!);
  const shared =
    policy === 'not_larger'
      ? Math.min(...ratios)
      : policy === 'not_smaller'
        ? Math.max(...ratios)
        : undefined;
  return axes.map((axis, index) => {
    const dim = input.shape[axis]!;
    const output = shared === undefined ? wanted[index]! : Math.floor(shared * dim + 0.5);
    return { axis, input: dim, output, scale: shared ?? ratios[index]!, roi: roiOf(index) };
  });
}

/** ONNX `Resize` (opset 19): nearest, linear or cubic, one axis after the other. */
const resize: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const options: ResizeOptions = context.attributes({
    antialias: attr.flag(false),
    coordinate_transformation_mode: attr.oneOf(coordinateModes, 'half_pixel'),
    cubic_coeff_a: attr.float(-0.75),
    exclude_outside: attr.flag(false),
    mode: attr.oneOf(['nearest', 'linear', 'cubic'], 'nearest'),
    nearest_mode: attr.oneOf(nearestModes, 'round_prefer_floor'),
  });
  const { extrapolation_value: outside } = context.attributes({ extrapolation_value: attr.float(0) });
  const plans = planAxes(context, input);
  const shape = [...input.shape];
  for (const plan of plans) shape[plan.axis] = plan.output;
  context.guard(input.dtype, shape);
  if (input.size === 0 && elementsOf(shape) > 0) context.fail('there is nothing to resize');
  const crops = options.coordinate_transformation_mode === 'tf_crop_and_resize';
  const moving = plans.filter((plan) => crops || plan.scale !== 1 || plan.input !== plan.output);
  const tables = moving.map((plan) => ({
    plan,
    taps: Array.from({ length: plan.output }, (_, x) => tapsOf(x, plan, options)),
  }));
  if (options.mode === 'nearest' && !crops) return [resizeNearest(input, tables)];
  if (!isReal(input.dtype)) context.wrongType(input.dtype, REAL);
  let values = input.toFloat64Array();
  const dims = [...input.shape];
  for (const { plan, taps } of tables) {
    values = resizeAxis(values, aroundAxis(dims, plan.axis), { taps, outside });
    dims[plan.axis] = plan.output;
  }
  return [fromNumbers(input.dtype, shape, values)];
};

function resizeAxis(
  values: Float64Array,
  { outer, length, inner }: { readonly outer: number; readonly length: number; readonly inner: number },
  { taps, outside }: { readonly taps: readonly Taps[]; readonly outside: number },
): Float64Array {
  const out = new Float64Array(outer * taps.length * inner);
  for (let row = 0; row < outer; row++) {
    for (let x = 0; x < taps.length; x++) {
      const found = taps[x];
      const to = (row * taps.length + x) * inner;
      if (found === undefined) {
        out.fill(outside, to, to + inner);
        continue;
      }
      for (let tap = 0; tap < found.at.length; tap++) {
        const from = (row * length + found.at[tap]!) * inner;
        const weight = found.weights[tap]!;
        if (weight === 0) continue;
        for (let column = 0; column < inner; column++) out[to + column]! += weight * values[from + column]!;
      }
    }
  }
  return out;
}

/** Nearest moves elements, whatever their dtype. */
function resizeNearest(
  input: Tensor,
  tables: readonly { readonly plan: AxisPlan; readonly taps: readonly Taps[] }[],
): Tensor {
  let result = input;
  for (const { plan, taps } of tables) {
    const { outer, length, inner } = aroundAxis(result.shape, plan.axis);
    const positions = new Int32Array(outer * taps.length * inner);
    let at = 0;
    for (let row = 0; row < outer; row++) {
      for (const found of taps) {
        const from = (row * length + (found?.at[0] ?? 0)) * inner;
        for (let column = 0; column < inner; column++) positions[at++] = from + column;
      }
    }
    result = take(
      result,
      positions,
      result.shape.map((dim, axis) => (axis === plan.axis ? taps.length : dim)),
    );
  }
  return result;
}

/** Resizing: `ai.onnx`. */
export const resizeKernels: KernelTable = { Resize: resize };

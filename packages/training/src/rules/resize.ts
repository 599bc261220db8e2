import { type Attribute, constantOf, Graph, Tensor } from '@lithe/core';
import { evaluateNode } from '@lithe/core/reference';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';
import { multiplyAxis } from './axis-product.ts';

/** Attributes that change how one axis is interpolated. */
const relevant = [
  'coordinate_transformation_mode',
  'cubic_coeff_a',
  'exclude_outside',
  'mode',
  'nearest_mode',
  'antialias',
];

/**
 * Resizing is linear along each axis: y = M x. The matrix M [out, in] of one axis is what the operator itself makes of
 * the unit matrix, taken from the reference interpreter once, when the gradient is built.
 */
function axisMatrix(
  context: GradientContext,
  size: number,
  out: number,
  scale: number | undefined,
): Tensor<'float32'> {
  const attributes = new Map<string, Attribute>();
  for (const name of relevant) {
    const value = context.node.attributes.get(name);
    if (value !== undefined) attributes.set(name, value);
  }
  const unit = new Float32Array(size * size);
  for (let index = 0; index < size; index++) unit[index * size + index] = 1;
  const graph = new Graph('axis');
  const inputs = ['x', 'roi', 'scales', 'sizes'].map((name) => graph.addInput(name));
  const bySize = scale === undefined;
  const node = graph.addNode({
    opType: 'Resize',
    inputs: bySize
      ? inputs.map((value, index) => (index === 0 || index === 3 ? value : null))
      : inputs.slice(0, 3).map((value, index) => (index === 1 ? null : value)),
    attributes,
  });
  const feeds = bySize
    ? [
        Tensor.from('float32', [size, size], unit),
        null,
        null,
        Tensor.from('int64', [2], BigInt64Array.of(BigInt(size), BigInt(out))),
      ]
    : [
        Tensor.from('float32', [size, size], unit),
        null,
        Tensor.from('float32', [2], Float32Array.of(1, scale)),
      ];
  const result = evaluateNode(node, feeds)?.[0];
  if (result === undefined || result.shape[1] !== out)
    return context.unsupported('its interpolation matrix could not be found');
  return result as Tensor<'float32'>;
}

const resize: GradientRule = (context, gradient) => {
  const { emit } = context;
  const from = context.input(0).shape;
  const to = context.output().shape;
  if (textOf(context, 'coordinate_transformation_mode') === 'tf_crop_and_resize')
    return context.unsupported('cropping has no gradient rule');
  if (from === undefined || to === undefined) return context.unknownSize('the rank of its input');
  const scales = scalesOf(context, from.length);
  let result = gradient;
  for (const [axis, dim] of from.entries()) {
    const out = to[axis];
    const scale = scales?.[axis];
    // A scale of 1.1 moves what lies between the ends though the size stays.
    if (dim === out && (scale === undefined || scale === 1)) continue;
    if (typeof dim !== 'number' || typeof out !== 'number')
      return context.unknownSize('the size of a resized axis');
    // [in, out] with the unit matrix's rows first: the gradient times its transpose.
    const unit = axisMatrix(context, dim, out, scale);
    const matrix = emit.floats(unit.shape, unit.data, gradient.dtype);
    result = multiplyAxis(emit, result, matrix, axis);
  }
  return [result, null, null, null];
};

/** The scale of each axis of the input, 1 for those that are not resized; `undefined` where sizes are given instead. */
function scalesOf(context: GradientContext, rank: number): readonly number[] | undefined {
  const given = context.has(2) && context.input(2).shape?.[0] !== 0 ? constantOf(context.input(2)) : null;
  if (given === null) {
    const policy = textOf(context, 'keep_aspect_ratio_policy') ?? 'stretch';
    return policy === 'stretch'
      ? undefined
      : context.unsupported('"keep_aspect_ratio_policy" has no gradient rule');
  }
  if (!(given instanceof Tensor)) return context.unsupported('its scales are not a constant');
  if (given.size === 0) return undefined;
  const values = given.toFloat64Array();
  const axes = context.node.attributes.get('axes');
  if (axes?.kind !== 'ints') return [...values];
  const scales = new Array<number>(rank).fill(1);
  axes.value.forEach((axis, index) => {
    scales[Number(axis) < 0 ? Number(axis) + rank : Number(axis)] = values[index] as number;
  });
  return scales;
}

function textOf({ node }: GradientContext, name: string): string | undefined {
  const found = node.attributes.get(name);
  return found?.kind === 'string' ? found.value : undefined;
}

/** Gradient of Resize. */
export const resizeGradients: GradientRules<'Resize'> = { Resize: resize };

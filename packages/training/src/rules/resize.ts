import { type Attribute, Graph, isStaticShape, Tensor } from '@lithe/core';
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
  const { emit, node } = context;
  const from = context.input(0).shape;
  const to = context.output().shape;
  const mode = node.attributes.get('coordinate_transformation_mode');
  if (mode?.kind === 'string' && mode.value === 'tf_crop_and_resize')
    return context.unsupported('cropping has no gradient rule');
  if (from === undefined || to === undefined)
    return context.unsupported('the rank of its input is not known');
  const scales = context.has(2) ? constantScales(context) : undefined;
  let result = gradient;
  from.forEach((dim, axis) => {
    const out = to[axis];
    if (dim === out) return;
    if (typeof dim !== 'number' || typeof out !== 'number')
      context.unsupported('the size of a resized axis is not known');
    // [in, out] with the unit matrix's rows first: the gradient times its transpose.
    const unit = axisMatrix(context, dim as number, out as number, scales?.[axis]);
    const matrix = emit.floats(unit.shape, unit.data, gradient.dtype);
    result = multiplyAxis(emit, result, matrix, axis);
  });
  return [result, null, null, null];
};

function constantScales(context: GradientContext): readonly number[] | undefined {
  const source = context.input(2).initializer ?? context.input(2).producer?.constantSource();
  if (source instanceof Tensor && source.size > 0 && isStaticShape(source.shape))
    return [...source.toFloat64Array()];
  return undefined;
}

/** Gradient of Resize. */
export const resizeGradients: GradientRules<'Resize'> = { Resize: resize };

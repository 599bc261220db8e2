import { attribute, type Node, type RewriteContext, type RewriteRule } from '@lithe/core';
import { integersOf, intOf, intsOf, isUnpadded, stringOf } from '../shared/attributes.ts';
import { normalizeAxis, rankOf } from '../shared/shapes.ts';

/** Pads of a Pad node in ONNX order, one begin and end per axis; `undefined` when not constant. */
function padsOf(node: Node, rank: number, context: RewriteContext): readonly number[] | undefined {
  const pads = integersOf(context, node, 1);
  if (pads === undefined) return undefined;
  if (node.input(3) === null) return pads.length === 2 * rank ? pads : undefined;
  const axes = integersOf(context, node, 3);
  if (axes === undefined || pads.length !== 2 * axes.length) return undefined;
  const full = new Array<number>(2 * rank).fill(0);
  for (const [index, axis] of axes.entries()) {
    const own = normalizeAxis(axis, rank);
    if (own === undefined) return undefined;
    full[own] = pads[index] as number;
    full[own + rank] = pads[index + axes.length] as number;
  }
  return full;
}

/** What a Pad node fills with; `undefined` when it is not a known number. */
function fillOf(node: Node, context: RewriteContext): number | undefined {
  if (stringOf(node, 'mode', 'constant') !== 'constant') return undefined;
  return node.input(2) === null ? 0 : context.small(node.input(2))?.toFloat64Array()[0];
}

/** Operators whose results are never below zero. */
const nonNegative: ReadonlySet<string> = new Set([
  'Relu',
  'Sigmoid',
  'HardSigmoid',
  'Softmax',
  'Abs',
  'Exp',
  'Softplus',
]);

function accepts(node: Node, fill: number, source: Node | null): boolean {
  if (node.is('Conv')) return fill === 0;
  if (node.is('AveragePool')) {
    return (
      fill === 0 &&
      intOf(node, 'ceil_mode', 0) === 0 &&
      (intOf(node, 'count_include_pad', 0) === 1 || isUnpadded(node))
    );
  }
  // MaxPool pads with minus infinity; a zero is as good where nothing is below it and every window holds an element.
  if (intOf(node, 'ceil_mode', 0) !== 0 || node.outputs.slice(1).some((output) => !output.isUnused))
    return false;
  return (
    fill === -Infinity ||
    (fill === 0 && source !== null && source.domain === '' && nonNegative.has(source.opType))
  );
}

/** Pad before a convolution or pooling. */
export const foldPad: RewriteRule = {
  name: 'simplify/fold-pad',
  summary: 'Folds a Pad of height and width into the padding of the Conv, AveragePool or MaxPool behind it.',
  anchors: ['Conv', 'AveragePool', 'MaxPool'],
  depth: 2,
  apply(node, context) {
    const pad = node.input(0)?.producer;
    const source = pad?.input(0);
    const rank = rankOf(source ?? null) ?? rankOf(node.input(0));
    if (!pad?.is('Pad') || pad.graph !== node.graph || !source || rank === undefined || node.domain !== '')
      return undefined;
    const pads = padsOf(pad, rank, context);
    const fill = fillOf(pad, context);
    if (pads === undefined || fill === undefined) return undefined;
    if (!['NOTSET', 'VALID'].includes(stringOf(node, 'auto_pad', 'NOTSET') ?? '')) return undefined;
    const spatial = [...pads.slice(2, rank), ...pads.slice(rank + 2)];
    if ([0, 1, rank, rank + 1].some((index) => pads[index] !== 0) || spatial.some((item) => item < 0))
      return undefined;
    if (!accepts(node, fill, source.producer))
      return { skip: { code: 'fill', reason: `Pad "${pad.name}" fills with ${fill}` } };
    const own = intsOf(node, 'pads') ?? new Array<number>(spatial.length).fill(0);
    const sum = own.map((item, index) => item + (spatial[index] as number));
    const kernel = intsOf(node, 'kernel_shape') ?? [];
    const dilated = (intsOf(node, 'dilations') ?? []).some((step) => step !== 1);
    if (
      !node.is('Conv') &&
      (dilated || sum.some((item, index) => item >= (kernel[index % kernel.length] ?? 0)))
    ) {
      return { skip: { code: 'wide', reason: `Pad "${pad.name}" is as wide as the window` } };
    }
    context.setAttribute(node, 'auto_pad', undefined);
    context.setAttribute(node, 'pads', attribute.ints(sum));
    if (node.is('AveragePool')) context.setAttribute(node, 'count_include_pad', attribute.int(1));
    context.setInput(node, 0, source);
    return `fold Pad "${pad.name}" into ${node.opType} "${node.name}"`;
  },
};

/** Mean over height and width. */
export const meanToPool: RewriteRule = {
  name: 'simplify/mean-to-global-average-pool',
  summary: 'Makes ReduceMean over all spatial axes, dims kept, a GlobalAveragePool.',
  anchors: ['ReduceMean'],
  depth: 0,
  apply(node, context) {
    const input = node.input(0);
    const rank = rankOf(input);
    if (input === null || !node.is('ReduceMean') || rank === undefined || intOf(node, 'keepdims', 1) !== 1)
      return undefined;
    // Over the last axis of a sequence it is most likely part of a layer normalization.
    if (rank < 4) return undefined;
    if (!['float32', 'float64', 'float16'].includes(input.dtype ?? '')) return undefined;
    const axes = integersOf(context, node, 1)?.map((axis) => normalizeAxis(axis, rank));
    if (axes === undefined || axes.length !== rank - 2 || new Set(axes).size !== rank - 2) return undefined;
    if (axes.some((axis) => axis === undefined || axis < 2)) return undefined;
    const made = context.insert(node, { opType: 'GlobalAveragePool', inputs: [input], name: node.name }, [
      { type: node.output().type },
    ]);
    context.replace(node.output(), made.output());
    return `make ReduceMean "${node.name}" a GlobalAveragePool`;
  },
};

import { type Dim, isStaticShape, standardOpDefs, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';
import { convolutionByWeights } from './convolution-weights.ts';
import { type Window, windowOf } from './window.ts';

/** Sums a gradient over the batch and all positions: the gradient of a bias. */
function overPositions(emit: Emitter, gradient: Value): Value {
  const rank = gradient.shape?.length ?? 4;
  return emit.sum(gradient, [0, ...Array.from({ length: rank - 2 }, (_, axis) => axis + 2)], false);
}

/**
 * Weights `[M, C/G, …]` as the transposed convolution would use them in a plain one: turned around along every spatial
 * axis, input and output channels of each group exchanged, `[C, M/G, …]`.
 */
function turnedWeights(emit: Emitter, weights: Value, window: Window, group: number): Value {
  const axes = window.kernel.flatMap((kernel, axis) => (kernel > 1 ? [axis + 2] : []));
  const back = axes.map(() => -1);
  const turned =
    axes.length === 0
      ? weights
      : emit.op('Slice', [
          weights,
          emit.ints(back),
          emit.ints(axes.map((axis) => -1 - (window.kernel[axis - 2] as number))),
          emit.ints(axes),
          emit.ints(back),
        ]);
  const spatial = window.kernel.map((_, axis) => axis);
  if (group === 1) return emit.transpose(turned, [1, 0, ...spatial.map((axis) => axis + 2)]);
  const [filters, perGroup] = weights.shape as readonly number[];
  const apart = emit.reshape(turned, [group, filters! / group, perGroup!, ...window.kernel]);
  const swapped = emit.transpose(apart, [0, 2, 1, ...spatial.map((axis) => axis + 3)]);
  return emit.reshape(swapped, [group * perGroup!, filters! / group, ...window.kernel]);
}

/**
 * Whether the gradient by the input is a transposed convolution even where a plain one could do it: a plain one
 * multiplies matrices with as few rows as the input has channels. Measured in onnxruntime on one thread for a kernel of
 * 3 x 3, transposed over plain: 64 filters on 32 channels 0.65, 16 on 16 0.74, 32 on 32 0.88, 64 on 64 0.95. But 40 % of
 * the transposed form runs on one thread however many there are, so that it must win clearly
 * (docs/adr/0012-training-decompositions.md).
 */
function prefersTransposed(channels: number, filters: number): boolean {
  return channels < 64 && filters >= 2 * channels;
}

/**
 * Gradient of a convolution by its input: the transposed convolution with the same weights. With strides of 1 that is
 * a plain convolution with turned weights, where that is faster; with larger strides it stays a transposed one, and
 * rows that no window reached are added as output padding.
 */
function convolutionByInput(context: GradientContext, gradient: Value, window: Window, group: number): Value {
  const { emit } = context;
  const x = context.input(0);
  const weights = context.input(1);
  const size: readonly Dim[] = x.shape?.slice(2) ?? [];
  const out: readonly Dim[] = gradient.shape?.slice(2) ?? [];
  if (!isStaticShape(size) || !isStaticShape(out)) {
    return context.unknownSize('the spatial size of its input');
  }
  const begin = window.kernel.map(
    (kernel, axis) => (kernel - 1) * window.dilations[axis]! - window.padsBegin[axis]!,
  );
  const end = size.map((rows, axis) => rows - out[axis]! + window.padsBegin[axis]!);
  const possible =
    window.strides.every((stride) => stride === 1) &&
    [...begin, ...end].every((rows) => rows >= 0) &&
    isStaticShape(weights.shape);
  const pointwise = window.kernel.every((span) => span === 1);
  const [filters, channels] = (weights.shape ?? []).map(Number);
  const transposed = group === 1 && !pointwise && prefersTransposed(channels ?? 0, filters ?? 0);
  if (possible && !transposed) {
    return emit.op('Conv', [gradient, turnedWeights(emit, weights, window, group)], {
      kernel_shape: window.kernel,
      dilations: window.dilations,
      pads: [...begin, ...end],
      group,
    });
  }
  const outputPadding = window.kernel.map((kernel, axis) => {
    const reached = (out[axis]! - 1) * window.strides[axis]! + (kernel - 1) * window.dilations[axis]! + 1;
    return size[axis]! + window.padsBegin[axis]! + window.padsEnd[axis]! - reached;
  });
  return emit.op('ConvTranspose', [gradient, weights], {
    kernel_shape: window.kernel,
    strides: window.strides,
    dilations: window.dilations,
    pads: [...window.padsBegin, ...window.padsEnd],
    group,
    ...(outputPadding.some((pad) => pad !== 0) ? { output_padding: outputPadding } : {}),
  });
}

const conv: GradientRule = (context, gradient) => {
  const attributes = context.attributes(standardOpDefs.Conv);
  const { group } = attributes;
  const [x, weights] = [context.input(0), context.input(1)];
  const window = windowOf(context, attributes, weights.shape?.slice(2));
  return [
    context.needs(0) ? convolutionByInput(context, gradient, window, group) : null,
    context.needs(1) ? convolutionByWeights(context, x, gradient, weights, window, group) : null,
    context.has(2) && context.needs(2) ? overPositions(context.emit, gradient) : null,
  ];
};

const convTranspose: GradientRule = (context, gradient) => {
  const { emit } = context;
  const attributes = context.attributes(standardOpDefs.ConvTranspose);
  const { group } = attributes;
  const [x, weights] = [context.input(0), context.input(1)];
  const kernel = weights.shape?.slice(2);
  const size: readonly Dim[] = x.shape?.slice(2) ?? [];
  const out: readonly Dim[] = gradient.shape?.slice(2) ?? [];
  if (!isStaticShape(kernel) || !isStaticShape(size) || !isStaticShape(out)) {
    return context.unknownSize('the spatial size of its input or weights');
  }
  const window = windowOf(context, attributes, kernel, { transposed: true, size, out });
  // The gradient by the input is the convolution that this operator is the transpose of. Output padding made rows
  // that this convolution's windows may not reach: they are a negative pad, cut off first.
  const cut = window.padsEnd.map((pad) => Math.min(0, pad));
  const cropped = (): Value =>
    cut.some((rows) => rows !== 0)
      ? emit.op('Pad', [gradient, emit.ints([0, 0, ...cut.map(() => 0), 0, 0, ...cut])])
      : gradient;
  const byInput = (): Value =>
    emit.op('Conv', [cropped(), weights], {
      kernel_shape: window.kernel,
      strides: window.strides,
      dilations: window.dilations,
      pads: [...window.padsBegin, ...window.padsEnd.map((pad) => Math.max(0, pad))],
      group,
    });
  return [
    context.needs(0) ? byInput() : null,
    // The same convolution once more: `gradient` is what goes into it, `x` is the gradient by its output.
    context.needs(1) ? convolutionByWeights(context, gradient, x, weights, window, group) : null,
    context.has(2) && context.needs(2) ? overPositions(emit, gradient) : null,
  ];
};

/** Gradients of convolutions. */
export const convolutionGradients: GradientRules<'Conv' | 'ConvTranspose'> = {
  Conv: conv,
  ConvTranspose: convTranspose,
};

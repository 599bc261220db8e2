import { errors, type Value } from '@lithe/core';
import { type Initializer, kaimingNormal, truncatedNormal } from './initializer.ts';
import { knownDim, type LayerScope, vector, weight } from './layer-scope.ts';

/** Options of a convolution layer. */
export interface Conv2dOptions {
  /** Height and width of the kernel; 3 by default. */
  readonly kernel?: number | undefined;
  /** Step of the kernel; 1 by default. */
  readonly stride?: number | undefined;
  /** Zeros around the image on each side; 0 by default. */
  readonly padding?: number | undefined;
  /** Distance between the kernel's elements; 1 by default. */
  readonly dilation?: number | undefined;
  /** Groups of channels that do not mix; 1 by default, the number of channels for a depthwise convolution. */
  readonly groups?: number | undefined;
  /** Whether a bias is added; `true` by default. Leave it out before a batch normalization. */
  readonly bias?: boolean | undefined;
  /** First weights; {@link kaimingNormal} by default. */
  readonly initializer?: Initializer | undefined;
  /** Name of the layer; `conv1` and so on by default. */
  readonly name?: string | undefined;
}

/** Adds a convolution with weights `[filters, channels / groups, kernel, kernel]`. */
export function conv2d(
  scope: LayerScope,
  x: Value,
  options: Conv2dOptions & { readonly filters: number },
): Value {
  const {
    filters,
    kernel = 3,
    stride = 1,
    padding = 0,
    dilation = 1,
    groups = 1,
    bias = true,
    initializer = kaimingNormal(),
  } = options;
  const name = scope.name('conv', options.name);
  const channels = knownDim(x, 1, 'conv2d');
  if (channels % groups !== 0 || filters % groups !== 0) {
    throw errors.optionsInvalid('conv2d', [
      `${groups} groups do not divide ${channels} channels and ${filters} filters.`,
    ]);
  }
  const area = kernel * kernel;
  const w = weight(scope, `${name}.weight`, initializer, {
    shape: [filters, channels / groups, kernel, kernel],
    fanIn: (channels / groups) * area,
    fanOut: (filters / groups) * area,
  });
  const inputs = bias ? [x, w, vector(scope, `${name}.bias`, filters, 0)] : [x, w];
  return scope.builder.op.Conv(
    inputs,
    {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [padding, padding, padding, padding],
      dilations: [dilation, dilation],
      group: groups,
    },
    { name },
  );
}

/** Options of a linear layer. */
export interface LinearOptions {
  /** Whether a bias is added; `true` by default. */
  readonly bias?: boolean | undefined;
  /** First weights; {@link kaimingNormal} by default. */
  readonly initializer?: Initializer | undefined;
  /** Name of the layer; `linear1` and so on by default. */
  readonly name?: string | undefined;
}

/**
 * Adds a linear layer: Gemm with weights `[features, width]` for matrices, MatMul with `[width, features]` for other
 * ranks: the forms that exporters write and runtimes are tuned for.
 */
export function linear(
  scope: LayerScope,
  x: Value,
  options: LinearOptions & { readonly features: number },
): Value {
  const { features, bias = true, initializer = kaimingNormal() } = options;
  const name = scope.name('linear', options.name);
  const width = knownDim(x, -1, 'linear');
  const matrix = x.shape?.length === 2;
  const w = weight(scope, `${name}.weight`, initializer, {
    shape: matrix ? [features, width] : [width, features],
    fanIn: width,
    fanOut: features,
  });
  const { op } = scope.builder;
  const b = bias ? vector(scope, `${name}.bias`, features, 0) : null;
  if (matrix) return op.Gemm(b === null ? [x, w] : [x, w, b], { transB: true }, { name });
  const product = op.MatMul([x, w], {}, { name });
  return b === null ? product : op.Add([product, b]);
}

/** Options of an embedding layer. */
export interface EmbeddingOptions {
  /** First vectors; {@link truncatedNormal} by default. */
  readonly initializer?: Initializer | undefined;
  /** Name of the layer; `embedding1` and so on by default. */
  readonly name?: string | undefined;
}

/** Adds a table of vectors that numbers choose from. */
export function embedding(
  scope: LayerScope,
  numbers: Value,
  options: EmbeddingOptions & { readonly entries: number; readonly width: number },
): Value {
  const { entries, width, initializer = truncatedNormal() } = options;
  const name = scope.name('embedding', options.name);
  const table = weight(scope, `${name}.weight`, initializer, {
    shape: [entries, width],
    fanIn: entries,
    fanOut: width,
  });
  return scope.builder.op.Gather([table, numbers], { axis: 0 }, { name });
}

import type { Value } from '@lithe/core';
import { knownDim, type LayerScope, vector } from './layer-scope.ts';

/** Options of a batch normalization layer. */
export interface BatchNormOptions {
  /** Share of the running statistics that a step keeps; 0.9 by default (PyTorch writes it as momentum 0.1). */
  readonly momentum?: number | undefined;
  /** Keeps the division finite; 1e-5 by default. */
  readonly epsilon?: number | undefined;
  /** First scale; 1 by default. 0 in the last one of a residual branch makes the branch silent at first. */
  readonly scale?: number | undefined;
  /** Name of the layer; `norm1` and so on by default. */
  readonly name?: string | undefined;
}

/** Adds a batch normalization: running statistics in inference, those of the batch in training. */
export function batchNorm2d(scope: LayerScope, x: Value, options: BatchNormOptions): Value {
  const { momentum = 0.9, epsilon = 1e-5, scale = 1 } = options;
  const name = scope.name('norm', options.name);
  const channels = knownDim(x, 1, 'batchNorm2d');
  const inputs = [
    x,
    vector(scope, `${name}.weight`, channels, scale),
    vector(scope, `${name}.bias`, channels, 0),
    vector(scope, `${name}.mean`, channels, 0),
    vector(scope, `${name}.variance`, channels, 1),
  ];
  return scope.builder.op.BatchNormalization(inputs, { momentum, epsilon }, { name });
}

/** Options of a layer normalization. */
export interface LayerNormOptions {
  /** Keeps the division finite; 1e-5 by default. */
  readonly epsilon?: number | undefined;
  /** Name of the layer; `layernorm1` and so on by default. */
  readonly name?: string | undefined;
}

/** Adds a normalization over the last axis, with a scale and a bias. */
export function layerNorm(scope: LayerScope, x: Value, options: LayerNormOptions): Value {
  const { epsilon = 1e-5 } = options;
  const name = scope.name('layernorm', options.name);
  const width = knownDim(x, -1, 'layerNorm');
  const inputs = [x, vector(scope, `${name}.weight`, width, 1), vector(scope, `${name}.bias`, width, 0)];
  return scope.builder.op.LayerNormalization(inputs, { axis: -1, epsilon }, { name });
}

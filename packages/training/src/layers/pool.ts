import type { Value } from '@lithe/core';
import type { LayerScope } from './layer-scope.ts';

/** Options of a pooling layer. */
export interface PoolOptions {
  /** Step of the window; its size by default. */
  readonly stride?: number | undefined;
  /** Border on each side; 0 by default. A mean does not count it. */
  readonly padding?: number | undefined;
}

function window({ size, stride = size, padding = 0 }: PoolOptions & { readonly size: number }): {
  readonly kernel_shape: readonly number[];
  readonly strides: readonly number[];
  readonly pads: readonly number[];
} {
  return {
    kernel_shape: [size, size],
    strides: [stride, stride],
    pads: [padding, padding, padding, padding],
  };
}

/** Adds a max pooling. */
export function maxPool(
  scope: LayerScope,
  x: Value,
  options: PoolOptions & { readonly size: number },
): Value {
  return scope.builder.op.MaxPool([x], window(options));
}

/** Adds an average pooling. */
export function averagePool(
  scope: LayerScope,
  x: Value,
  options: PoolOptions & { readonly size: number },
): Value {
  return scope.builder.op.AveragePool([x], window(options));
}

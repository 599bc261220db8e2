/**
 * How many elements share a scale: all of them; those of one index along an axis (a channel); or runs of `size`
 * elements along an axis (blocks, as ONNX's blocked `DequantizeLinear` has them). Negative axes count from the end.
 */
export type Granularity =
  | { readonly kind: 'per-tensor' }
  | { readonly kind: 'per-channel'; readonly axis: number }
  | { readonly kind: 'per-block'; readonly axis: number; readonly size: number };

/** Makes granularities. */
export const granularity = {
  /** One scale for the whole tensor. */
  perTensor: (): Granularity => ({ kind: 'per-tensor' }),
  /** One scale per index along `axis`. */
  perChannel: (axis: number): Granularity => ({ kind: 'per-channel', axis }),
  /** One scale per `size` consecutive indices along `axis`, for each position of the other axes. */
  perBlock: (axis: number, size: number): Granularity => ({ kind: 'per-block', axis, size }),
} as const;

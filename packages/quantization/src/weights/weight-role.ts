import type { Node, Use } from '@lithe/core';
import { type Granularity, granularity } from '../parameters/granularity.ts';

/** Which axes of a weight make an output channel, and along which a sum runs. */
export type WeightRole =
  /** Rows of consecutive elements, each an output channel: `rows` leading axes, the rest is summed over. */
  | { readonly kind: 'rows'; readonly leading: number }
  /** Columns: the last axis is the output channel, the one before it is summed over. */
  | { readonly kind: 'columns' }
  /** Output channels along axis 1, sums over axis 0 (transposed convolution). */
  | { readonly kind: 'transposed' };

function flag(node: Node, name: string): boolean {
  const value = node.attributes.get(name);
  return value?.kind === 'int' && value.value !== 0n;
}

/** What a reader does with a weight of `rank` axes; `undefined` when it is no matrix or table to it. */
export function weightRole(use: Use, rank: number): WeightRole | undefined {
  const { node, index } = use;
  if (rank < 2) return undefined;
  if (node.domain !== '') return { kind: 'rows', leading: rank - 1 };
  switch (node.opType) {
    case 'Conv':
      return { kind: 'rows', leading: 1 };
    case 'ConvTranspose':
      return index === 1 ? { kind: 'transposed' } : { kind: 'rows', leading: 1 };
    case 'MatMul':
      return index === 1 ? { kind: 'columns' } : { kind: 'rows', leading: rank - 1 };
    case 'Gemm':
      return flag(node, index === 1 ? 'transB' : 'transA') === (index === 1)
        ? { kind: 'rows', leading: rank - 1 }
        : { kind: 'columns' };
    default:
      // Embedding tables, recurrent weights [directions, gates, inputs], added tables: rows along the last axis.
      return { kind: 'rows', leading: rank - 1 };
  }
}

/** One scale per output channel. */
export function channelGranularity(role: WeightRole, shape: readonly number[]): Granularity {
  if (role.kind === 'columns') return granularity.perChannel(shape.length - 1);
  if (role.kind === 'transposed') return granularity.perChannel(1);
  if (role.leading === 1) return granularity.perChannel(0);
  return granularity.perBlock(shape.length - 1, Math.max(1, shape[shape.length - 1]!));
}

/** Scales of {@link channelGranularity}, in a shape that broadcasts against the weight. */
export function channelScaleShape(role: WeightRole, shape: readonly number[]): readonly number[] {
  if (role.kind === 'columns') return shape.map((dim, axis) => (axis === shape.length - 1 ? dim : 1));
  if (role.kind === 'transposed') return shape.map((dim, axis) => (axis === 1 ? dim : 1));
  return shape.map((dim, axis) => (axis < role.leading ? dim : 1));
}

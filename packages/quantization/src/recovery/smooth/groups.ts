import { constantOf, type Graph, type ReportBuilder, type Value } from '@lithe/core';
import { isLinearOp, type LinearLayer, readLinearLayer } from '../layers/linear-layer.ts';
import { type FoldTarget, foldTarget } from './fold-target.ts';

/** Products that read the same activations, and so share the scales of smoothing: queries, keys and values. */
export interface SmoothGroup {
  /** The activations, `[…, channels]`. */
  readonly value: Value;
  /** Length of the last axis. */
  readonly channels: number;
  /** The products. */
  readonly layers: readonly LinearLayer[];
  /** Where the division goes without a new node. */
  readonly fold: FoldTarget | undefined;
}

/** Finds the products with constant weights of a graph, by what they read. */
export function smoothGroups(graph: Graph, report: ReportBuilder): readonly SmoothGroup[] {
  const byInput = new Map<Value, LinearLayer[]>();
  for (const node of graph.nodes()) {
    if (!isLinearOp(node) || node.is('Conv') || node.is('ConvTranspose')) continue;
    if (constantOf(node.input(1)) === undefined || constantOf(node.input(0)) !== undefined) continue;
    const layer = readLinearLayer(node);
    if (layer === undefined)
      report.skip(node.name, 'no-layer', 'its weight or bias is not a plain float32 constant');
    else if (layer.weight.useCount > 1)
      report.skip(node.name, 'shared-weight', 'its weight is shared with another node');
    else byInput.set(layer.input, [...(byInput.get(layer.input) ?? []), layer]);
  }
  return [...byInput].map(([value, layers]) => {
    const channels = (layers[0] as LinearLayer).layout.inputs;
    const own = value.outputOf.length === 0 && value.useCount === layers.length;
    return { value, channels, layers, fold: own ? foldTarget(value, channels) : undefined };
  });
}

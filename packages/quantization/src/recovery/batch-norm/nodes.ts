import { constantOf, type Model, type Node, type ReportBuilder, type Value } from '@lithe/core';
import { intOf } from '../layers/attributes.ts';

/** A `BatchNormalization` of inference whose statistics are constants. */
export interface StoredStatistics {
  /** The node. */
  readonly node: Node;
  /** What it normalizes, `[batch, channels, …]`. */
  readonly input: Value;
  /** Number of channels. */
  readonly channels: number;
  /** Rank of its input. */
  readonly rank: number;
}

function problem(node: Node): readonly [string, string] | undefined {
  if (intOf(node, 'training_mode', 0) !== 0) return ['training', 'it takes its statistics from the batch'];
  for (const index of [3, 4]) {
    const source = constantOf(node.input(index));
    if (source?.dtype !== 'float32') return ['not-constant', 'its statistics are not float32 constants'];
  }
  return node.input(0)?.shape === undefined ? ['rank', 'the rank of its input is not known'] : undefined;
}

/** Finds the normalizations of a model whose statistics can be measured anew. */
export function storedStatistics(model: Model, report: ReportBuilder): readonly StoredStatistics[] {
  const found: StoredStatistics[] = [];
  for (const node of model.graph.nodesDeep()) {
    if (!node.is('BatchNormalization')) continue;
    if (node.graph !== model.graph) {
      report.skip(node.name, 'subgraph', 'it is inside a subgraph, whose activations are not measured');
      continue;
    }
    const why = problem(node);
    const input = node.input(0);
    const channels = constantOf(node.input(3))?.shape[0];
    if (why !== undefined) report.skip(node.name, ...why);
    else if (input !== null && channels !== undefined)
      found.push({ node, input, channels, rank: input.shape?.length ?? 0 });
  }
  return found;
}

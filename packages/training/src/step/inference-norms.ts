import { attribute, attributesOf, type Graph, type Node, standardOpDefs } from '@lithe/core';

/** What {@link inferenceNorms} found. */
export interface InferenceNorms {
  /** Names of the normalizations that were brought into inference form. */
  readonly changed: readonly string[];
  /** Those that stay in training form, because the statistics that they hand out are used. */
  readonly kept: readonly Node[];
}

/**
 * Brings batch normalizations whose file says `training_mode = 1`, as a model that was exported while it trained, into
 * inference form, in place: they go by their running statistics. Values keep their names.
 */
export function inferenceNorms(graph: Graph): InferenceNorms {
  const changed: string[] = [];
  const kept: Node[] = [];
  for (const node of [...graph.nodes()]) {
    if (!node.is('BatchNormalization')) continue;
    if (!attributesOf(node, standardOpDefs.BatchNormalization).training_mode) continue;
    if (node.outputs.slice(1).some((output) => !output.isUnused)) {
      kept.push(node);
      continue;
    }
    // In this form there is no second output, so that the node is made anew.
    const { name } = node.output();
    const made = graph.addNode(
      {
        opType: node.opType,
        name: node.name,
        inputs: node.inputs,
        attributes: new Map([...node.attributes, ['training_mode', attribute.int(0)]]),
      },
      [{ type: node.output().type }],
      { before: node },
    );
    graph.replaceAllUses(node.output(), made.output());
    graph.remove(node);
    if (made.output().name !== name) graph.rename(made.output(), name);
    changed.push(node.name);
  }
  return { changed, kept };
}

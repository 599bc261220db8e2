import type { Graph } from '../ir/graph.ts';
import type { Node } from '../ir/node.ts';
import type { Value } from '../ir/value.ts';
import { nodeLabel, type Scope, type VerifyRule, valueLabel, valueSubject } from './scope.ts';

const isAround = (outer: Graph, inner: Graph): boolean => {
  for (let graph: Graph | null = inner; graph !== null; graph = graph.parent)
    if (graph === outer) return true;
  return false;
};

/** Why a value that is not defined yet cannot be read from `graph`, as the end of a sentence. */
function whyNotVisible(value: Value, graph: Graph): string {
  const { producer } = value;
  if (!isAround(value.graph, graph)) {
    return `belongs to graph "${value.graph.name}", which is neither its own graph nor one around it`;
  }
  if (producer === null) return 'is neither an input nor an initializer, and no node makes it';
  if (!producer.isAttached) return `is made by node "${producer.name}", which was removed from the graph`;
  return `is made by node "${producer.name}", which comes later`;
}

/** Every node output belongs to exactly that node, slot and graph. */
const singleProducer: VerifyRule = {
  name: 'single-producer',
  node(node, { defined, report }) {
    node.outputs.forEach((output, index) => {
      if (output.producer !== node || output.outputIndex !== index) {
        report(
          `${nodeLabel(node)} lists ${valueLabel(output)} as its output ${index}, but the value says that output ${output.outputIndex} of ${output.producer === null ? 'no node' : `node "${output.producer.name}"`} makes it.`,
        );
      }
      if (output.graph !== node.graph)
        report(`${nodeLabel(node)} makes ${valueLabel(output)}, which belongs to another graph.`);
      if (defined.has(output))
        report(`${valueSubject(output)} is made twice; the second time by node "${node.name}".`);
    });
  },
};

/** Nodes come after what they read, and read only what is visible to them. */
const topologicalOrder: VerifyRule = {
  name: 'topological-order',
  node(node, { defined, report }) {
    node.inputs.forEach((input, index) => {
      if (input === null) return;
      if (!defined.has(input) || !isAround(input.graph, node.graph)) {
        report(
          `${nodeLabel(node)} reads ${valueLabel(input)} as input ${index}, which ${whyNotVisible(input, node.graph)}.`,
        );
      }
    });
  },
  leave(graph, { defined, report }) {
    for (const output of graph.outputs) {
      if (!defined.has(output) || !isAround(output.graph, graph)) {
        report(`Output "${output.name}" of graph "${graph.name}" ${whyNotVisible(output, graph)}.`);
      }
    }
  },
};

/** Both ends of every edge agree. Counted rather than searched, so that the cost stays linear. */
const mirroredUses: VerifyRule = {
  name: 'mirrored-uses',
  node(node, { slots }) {
    for (const input of node.inputs) if (input !== null) slots.set(input, (slots.get(input) ?? 0) + 1);
  },
  leave(graph, { handedOut }) {
    for (const output of new Set(graph.outputs)) {
      const graphs = handedOut.get(output);
      if (graphs === undefined) handedOut.set(output, new Set([graph]));
      else graphs.add(graph);
    }
  },
  value(value, { slots, seen, handedOut, report }) {
    let mirrored = 0;
    for (const { node, index } of value.uses) {
      if (!seen.has(node)) {
        report(`${valueSubject(value)} lists a use by node "${node.name}", which is not in the model.`);
      } else if (node.inputs[index] !== value) {
        report(
          `${valueSubject(value)} lists a use as input ${index} of node "${node.name}", which reads something else there.`,
        );
      } else mirrored++;
    }
    const read = slots.get(value) ?? 0;
    if (read !== mirrored) {
      report(`${valueSubject(value)} is read by ${read} input slots, but knows of ${mirrored} of them.`);
    }
    const listed = handedOut.get(value) ?? new Set<Graph>();
    const claimed = new Set(value.outputOf);
    for (const graph of claimed) {
      if (!listed.has(graph)) {
        report(
          `${valueSubject(value)} says it is an output of graph "${graph.name}", which does not list it.`,
        );
      }
    }
    for (const graph of listed) {
      if (!claimed.has(graph)) {
        report(
          `Graph "${graph.name}" gives ${valueLabel(value)} as an output, but the value does not know it.`,
        );
      }
    }
  },
};

/** Names lead back to their values; a captured name is not hidden; values without a name are not used. */
const uniqueNames: VerifyRule = {
  name: 'unique-names',
  enter(graph, { report }) {
    for (const value of graph.inputs) checkName(value, graph, report);
    for (const value of graph.initializers) if (!graph.isInput(value)) checkName(value, graph, report);
  },
  node(node, { report }) {
    for (const output of node.outputs) {
      if (output.name !== '') checkName(output, node.graph, report);
      else if (!output.isUnused)
        report(`Output ${output.outputIndex} of node "${node.name}" has no name, but is used.`);
    }
    for (const input of node.inputs) {
      if (input !== null && input.graph !== node.graph) checkCapture(input, node, report);
    }
  },
};

function checkName(value: Value, graph: Graph, report: Scope['report']): void {
  if (value.name === '') report(`Graph "${graph.name}" has an input or initializer without a name.`);
  else if (graph.value(value.name) !== value) {
    report(
      `The name "${value.name}" of graph "${graph.name}" does not lead to the value that bears it; names must be unique.`,
    );
  }
}

/** Files connect by name: a value of a graph around is out of reach where a nearer graph has the same name. */
function checkCapture(value: Value, node: Node, report: Scope['report']): void {
  for (let graph: Graph | null = node.graph; graph !== null && graph !== value.graph; graph = graph.parent) {
    if (graph.value(value.name) !== undefined) {
      report(
        `${nodeLabel(node)} reads value "${value.name}" of graph "${value.graph.name}", but graph "${graph.name}" in between has a value of the same name.`,
      );
    }
  }
}

/** A subgraph knows the graph of the node that holds it, and shares its edit counter. */
const subgraphParents: VerifyRule = {
  name: 'subgraph-parents',
  node(node, { report }) {
    for (const [name, graph] of node.subgraphs) {
      if (graph.parent !== node.graph) {
        report(
          `Subgraph "${name}" of node "${node.name}" has another graph as its parent than the one that holds the node.`,
        );
      } else if (graph.revision !== node.graph.revision) {
        report(`Subgraph "${name}" of node "${node.name}" counts its edits apart from the graph around it.`);
      }
    }
  },
};

/** The interface of a graph is named without doubt. */
const interfaces: VerifyRule = {
  name: 'interfaces',
  enter(graph, { report }) {
    const inputs = new Set<Value>();
    for (const input of graph.inputs) {
      if (input.graph !== graph)
        report(`Input "${input.name}" of graph "${graph.name}" belongs to another graph.`);
      if (inputs.has(input)) report(`Graph "${graph.name}" lists its input "${input.name}" twice.`);
      inputs.add(input);
      if (input.producer !== null) {
        report(
          `Input "${input.name}" of graph "${graph.name}" is also made by node "${input.producer.name}".`,
        );
      }
    }
    for (const output of graph.outputs) {
      if (output.name === '') report(`Graph "${graph.name}" has an output without a name.`);
    }
  },
};

/** Rules on edges, order, names and scopes. They hold for every model, whatever its operators. */
export const structureRules: readonly VerifyRule[] = [
  singleProducer,
  topologicalOrder,
  mirroredUses,
  uniqueNames,
  subgraphParents,
  interfaces,
];

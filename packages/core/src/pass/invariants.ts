import type { Graph } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import { isStaticShape } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import { standardOps } from '../ops/standard-ops.ts';
import { verify } from '../verify/verify.ts';
import type { Invariant } from './pass.ts';

const graphsOf = (model: Model): readonly Graph[] => [
  model.graph,
  ...model.functions.map((item) => item.graph),
];

function* nodesOf(model: Model): IterableIterator<Node> {
  for (const graph of graphsOf(model)) yield* graph.nodesDeep();
}

/** The model is sound: {@link verify} finds nothing, schemas of the standard operators included. */
export const validModel: Invariant = {
  name: 'valid model',
  check: (model) => verify(model, { opset: standardOps }),
};

/** In every graph, nodes come after what they read. */
export const topologicallySorted: Invariant = {
  name: 'topologically sorted',
  check: (model) => {
    const problems: string[] = [];
    const visit = (graph: Graph, passed: Set<Node>): void => {
      for (const node of graph.nodes()) {
        for (const input of node.inputs) {
          if (input === null || input.producer === null || passed.has(input.producer)) continue;
          problems.push(
            `Node "${node.name}" reads "${input.name}" before node "${input.producer.name}" makes it.`,
          );
        }
        for (const [, inner] of node.subgraphs) visit(inner, passed);
        passed.add(node);
      }
    };
    for (const graph of graphsOf(model)) visit(graph, new Set());
    return problems;
  },
};

/** No node holds a subgraph. */
export const noSubgraphs: Invariant = {
  name: 'no subgraphs',
  check: (model) => {
    const problems: string[] = [];
    for (const graph of graphsOf(model)) {
      for (const node of graph.nodes()) {
        if (node.subgraphs.length > 0) problems.push(`Node "${node.name}" (${node.op}) holds a subgraph.`);
      }
    }
    return problems;
  },
};

/** The model has no local functions. */
export const noFunctions: Invariant = {
  name: 'no local functions',
  check: (model) =>
    model.functions.map((item) => `The model defines the function "${item.domain}.${item.name}".`),
};

const isTyped = (value: Value): boolean =>
  value.type !== undefined && (value.type.kind !== 'tensor' || value.type.dtype !== undefined);

/**
 * Shape inference has run: in the main graph, every output of a standard operator whose inputs have known types has
 * one too. What an unknown operator makes, and what is computed from it, may be unknown.
 */
export const shapesInferred: Invariant = {
  name: 'shapes inferred',
  check: (model) => {
    const problems: string[] = [];
    for (const node of model.graph.nodes()) {
      if (standardOps.of(node) === undefined) continue;
      if (!node.inputs.every((input) => input === null || isTyped(input))) continue;
      for (const output of node.outputs) {
        if (output.name !== '' && !isTyped(output)) {
          problems.push(
            `The type of "${output.name}", made by node "${node.name}" (${node.op}), is not known; infer shapes first.`,
          );
        }
      }
    }
    return problems;
  },
};

/** Every value of the main graph that is a tensor has numbers for dims. */
export const staticShapes: Invariant = {
  name: 'static shapes',
  check: (model) => {
    const problems: string[] = [];
    for (const value of model.graph.values()) {
      if (value.type?.kind === 'tensor' && !isStaticShape(value.shape))
        problems.push(`The shape of "${value.name}" is not fixed.`);
    }
    return problems;
  },
};

/** The model's opset of `ai.onnx` is at least `version`. */
export function opsetAtLeast(version: number): Invariant {
  return {
    name: `opset at least ${version}`,
    check: (model) =>
      model.opset >= version
        ? []
        : [`The model has opset ${model.opset} of ai.onnx; at least ${version} is needed.`],
  };
}

/**
 * No node has this operator.
 *
 * @param domain operator set; `ai.onnx` by default
 */
export function noOperator(opType: string, domain = ''): Invariant {
  return {
    name: `no ${domain === '' ? opType : `${domain}.${opType}`}`,
    check: (model) => {
      const problems: string[] = [];
      for (const node of nodesOf(model)) {
        if (node.opType === opType && node.domain === domain)
          problems.push(`Node "${node.name}" is a ${node.op}.`);
      }
      return problems;
    },
  };
}

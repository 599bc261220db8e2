import { dtypes, type Graph, type Node, type Value } from '@lithe/core';

/** What a symbolic size counts as: only sizes beside each other matter, and activations outweigh weights. */
const OPEN_SIZE = 32;

/** Operators whose results differ from run to run, or that draw from a state of their own. */
const random = new Set([
  'Bernoulli',
  'Dropout',
  'Multinomial',
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
]);

/** A value that the forward part makes. */
export interface Activation {
  /** The value. */
  readonly value: Value;
  /** Position in the forward part of the node that makes it. */
  readonly made: number;
  /** Last position in the forward part that reads it; `made` when none does. */
  readonly lastRead: number;
  /** Whether the backward part reads it. */
  readonly wanted: boolean;
  /** Whether it is kept in any case: it is an output, a subgraph reads it, or it must not be computed twice. */
  readonly fixed: boolean;
  /** Bytes, symbolic sizes taken as 32. */
  readonly bytes: number;
}

/** A training graph seen from its loss. */
export interface ForwardPart {
  /** Nodes that the loss depends on, in graph order. */
  readonly nodes: readonly Node[];
  /** What they make. */
  readonly activations: readonly Activation[];
  /** Nodes behind the loss in graph order: the gradients, and what follows from them. */
  readonly backward: readonly Node[];
}

/** Splits a training graph at its loss. */
export function forwardPart(graph: Graph, loss: Value): ForwardPart {
  const needed = nodesBefore(loss);
  const nodes: Node[] = [];
  const backward: Node[] = [];
  const later = new Set<Node>();
  let passed = false;
  for (const node of graph.nodes()) {
    if (needed.has(node)) nodes.push(node);
    else if (passed) {
      backward.push(node);
      later.add(node);
    }
    passed ||= node === loss.producer;
  }
  const positions = new Map(nodes.map((node, index) => [node, index]));
  const activations = nodes.flatMap((node, made) =>
    node.outputs.map((value): Activation => {
      let lastRead = made;
      let wanted = false;
      let fixed = value.isGraphOutput || !canRepeat(node);
      for (const { node: reader } of value.uses) {
        lastRead = Math.max(lastRead, positions.get(reader) ?? -1);
        wanted ||= later.has(reader);
        fixed ||= reader.graph !== graph;
      }
      return { value, made, lastRead, wanted, fixed, bytes: bytesOf(value) };
    }),
  );
  return { nodes, activations, backward };
}

/** Whether a node gives the same when it is computed again: what is not known is not repeated. */
function canRepeat(node: Node): boolean {
  return node.domain === '' && !random.has(node.opType) && node.subgraphs.length === 0;
}

function nodesBefore(value: Value): ReadonlySet<Node> {
  const seen = new Set<Node>();
  const stack = value.producer === null ? [] : [value.producer];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) if (input?.producer != null) stack.push(input.producer);
    for (const [, inner] of node.subgraphs) {
      for (const item of inner.nodesDeep()) {
        for (const input of item.inputs) {
          if (input?.producer != null && input.graph === value.graph) stack.push(input.producer);
        }
      }
    }
  }
  return seen;
}

/** Bytes of a value, symbolic sizes taken as 32. */
export function bytesOf({ dtype, shape }: Value): number {
  if (dtype === undefined || dtype === 'string') return 0;
  let bits = dtypes[dtype].bits;
  for (const dim of shape ?? [null]) bits *= typeof dim === 'number' ? dim : OPEN_SIZE;
  return Math.ceil(bits / 8);
}

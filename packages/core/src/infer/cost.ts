import { evaluateDim } from '../ir/dims.ts';
import type { Graph } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import type { Dim } from '../ir/types.ts';
import { constantOf, type Value } from '../ir/value.ts';
import { attributesOf, type CostContext, type NodeCost } from '../op/op-def.ts';
import type { OpSet } from '../op/op-set.ts';
import { standardOps } from '../ops/standard-ops.ts';
import { byteLengthOf, elementsOf } from '../tensor/dtype.ts';
import type { TensorSource } from '../tensor/tensor.ts';

/** How {@link modelCost} counts. */
export interface CostOptions {
  /** Operators that are known; the standard ones by default. */
  readonly opset?: OpSet | undefined;
  /** Sizes that symbols stand for: `{ N: 1 }`. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
}

/** What one node costs. */
export interface NodeCostEntry extends NodeCost {
  /** Node name. */
  readonly node: string;
  /** Operator with its domain. */
  readonly op: string;
}

/** A node whose cost is not known. */
export interface UnknownCost {
  /** Node name. */
  readonly node: string;
  /** Operator with its domain. */
  readonly op: string;
  /** What is missing: the operator's definition, or a size. */
  readonly reason: string;
}

/** What a model costs to store and to run once. */
export interface ModelCost extends NodeCost {
  /** Cost per node, in order, subgraphs behind the node that holds them (of an `If` one branch). Shared constants count at each node that reads them. */
  readonly nodes: readonly NodeCostEntry[];
  /** Nodes whose cost is not known and not in the sums. */
  readonly unknown: readonly UnknownCost[];
}

/** The nodes of a graph, counted. */
interface Count {
  readonly nodes: NodeCostEntry[];
  readonly unknown: UnknownCost[];
}

/** Sizes and multiplications of one model. */
class Counter {
  readonly #opset: OpSet;
  readonly #dims: Readonly<Record<string, number>>;
  readonly constants = new Set<TensorSource>();

  constructor(options: CostOptions) {
    this.#opset = options.opset ?? standardOps;
    this.#dims = options.dims ?? {};
  }

  graph(graph: Graph): Count {
    const count: Count = { nodes: [], unknown: [] };
    for (const value of graph.initializers) {
      if (value.initializer !== undefined) this.constants.add(value.initializer);
    }
    for (const node of graph.nodes()) {
      const source = node.constantSource();
      if (source === undefined) this.#node(node, count);
      else this.constants.add(source);
      const inner = node.subgraphs.map(([, subgraph]) => this.graph(subgraph));
      for (const part of node.is('If') ? costliest(inner) : inner) {
        for (const entry of part.nodes) count.nodes.push(entry);
        for (const entry of part.unknown) count.unknown.push(entry);
      }
    }
    return count;
  }

  #shape(value: Value | null | undefined): readonly number[] | undefined {
    const source = constantOf(value);
    const shape: readonly Dim[] | undefined = source?.shape ?? value?.shape;
    const sizes = shape?.map((dim) => evaluateDim(dim, this.#dims));
    return sizes?.includes(undefined) === true ? undefined : (sizes as readonly number[] | undefined);
  }

  #node(node: Node, count: Count): void {
    const def = this.#opset.of(node);
    const reason = def === undefined ? 'the operator has no definition' : this.#missing(node);
    if (def === undefined || reason !== undefined) {
      count.unknown.push({ node: node.name, op: node.op, reason: reason ?? '' });
      return;
    }
    const context: CostContext<unknown> = {
      node,
      attributes: attributesOf(node, def),
      inputShape: (index) => this.#shape(node.inputs[index]),
      outputShape: (index) => this.#shape(node.outputs[index]),
    };
    const constants = new Set(node.inputs.flatMap((value) => constantOf(value) ?? []));
    count.nodes.push({
      node: node.name,
      op: node.op,
      macs: def.macs?.(context as CostContext<never>) ?? 0,
      ...sizeOf(constants),
      activationBytes: this.#activations(node),
    });
  }

  /** Why the sizes of a node are not all known. */
  #missing(node: Node): string | undefined {
    for (const value of [...node.inputs, ...node.outputs]) {
      const kind = value?.type?.kind ?? 'tensor';
      if (value === null || value.name === '' || kind !== 'tensor') continue;
      if (this.#shape(value) === undefined) return `the size of "${value.name}" is not known`;
    }
    return undefined;
  }

  #activations(node: Node): number {
    let bytes = 0;
    for (const value of new Set([...node.inputs, ...node.outputs])) {
      if (value === null || constantOf(value) !== undefined) continue;
      const shape = this.#shape(value);
      if (shape !== undefined && value.dtype !== undefined)
        bytes += byteLengthOf(value.dtype, elementsOf(shape));
    }
    return bytes;
  }
}

const totalMacs = (count: Count): number => count.nodes.reduce((sum, entry) => sum + entry.macs, 0);

/** The one of several branches that multiplies most. */
function costliest(branches: readonly Count[]): readonly Count[] {
  const macs = branches.map(totalMacs);
  const best = branches[macs.indexOf(Math.max(...macs))];
  return best === undefined ? [] : [best];
}

function sizeOf(constants: Iterable<TensorSource>): {
  readonly parameters: number;
  readonly parameterBytes: number;
} {
  let parameters = 0;
  let parameterBytes = 0;
  for (const source of constants) {
    parameters += elementsOf(source.shape);
    parameterBytes += source.byteLength;
  }
  return { parameters, parameterBytes };
}

/**
 * Counts multiply-accumulates, parameters and the bytes that activations move, per node and in all. Types must have
 * been inferred: see {@link inferShapes}. Loads no tensor. Every distinct constant counts once in the sums; of
 * an `If` the branch that multiplies most counts, the body of a loop as if it ran once; string tensors count no bytes.
 *
 * @returns the sums, with the nodes that could not be counted listed under `unknown`
 * @throws {LitheError} ATTRIBUTE_INVALID when a node contradicts its operator
 * @example
 * ```ts
 * import { Graph, inferShapes, Model, modelCost, Tensor, tensorType } from '@lithe/core';
 *
 * const graph = new Graph();
 * const input = graph.addInput('input', tensorType('float32', ['N', 4]));
 * const weight = graph.addInitializer('weight', Tensor.from('float32', [4, 8], new Float32Array(32)));
 * const product = graph.addNode({ opType: 'MatMul', inputs: [input, weight] });
 * graph.setOutputs([product.output()]);
 * const model = new Model({ graph });
 * await inferShapes(model);
 * const cost = modelCost(model, { dims: { N: 2 } });
 * cost.macs; // => 64
 * cost.parameters; // => 32
 * ```
 */
export function modelCost(model: Model, options: CostOptions = {}): ModelCost {
  const counter = new Counter(options);
  const count = counter.graph(model.graph);
  const activationBytes = count.nodes.reduce((sum, entry) => sum + entry.activationBytes, 0);
  return { macs: totalMacs(count), ...sizeOf(counter.constants), activationBytes, ...count };
}

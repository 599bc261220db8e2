import { type Graph, type Model, type Node, Tensor, type Value } from '@lithe/core';
import { type PairParameters, parametersOf, readScalars } from './pairs.ts';

/**
 * A copy of a model in which the rewrites of a runtime are played through. Nodes are known by the names they have in
 * the model; a node that the runtime makes of several stands for all of them.
 */
export class FusionDraft {
  /** The copy. */
  readonly model: Model;
  /** Numbers of scales, zero points and bounds. */
  readonly scalars: Map<Value, Float64Array>;
  /** Names in the model that a node of the copy stands for, where they differ from its own. */
  readonly standsFor: Map<Node, readonly string[]> = new Map();
  /** Names of nodes whose float weights the runtime quantizes on its own. */
  readonly selfQuantized: Set<string> = new Set();
  /** Activation functions that vanished, with the quantizer that clips as they do. */
  readonly absorbed: Map<string, string> = new Map();
  /** Types of quantized tensors that the runtime changes. */
  readonly #retyped = new Map<Node, PairParameters>();

  private constructor(model: Model, scalars: Map<Value, Float64Array>) {
    this.model = model;
    this.scalars = scalars;
  }

  /** Copies a model and reads its scales. */
  static async of(model: Model, signal?: AbortSignal): Promise<FusionDraft> {
    const copy = model.clone();
    return new FusionDraft(copy, await readScalars(copy.graph, signal));
  }

  /** Scale and zero point of a quantizing or dequantizing node. */
  parameters(node: Node): PairParameters {
    return this.#retyped.get(node) ?? parametersOf(node, this.scalars);
  }

  /** Gives a node other parameters than its inputs say. */
  setParameters(node: Node, parameters: PairParameters): void {
    this.#retyped.set(node, parameters);
  }

  /** Names in the model that a node stands for. */
  namesOf(node: Node): readonly string[] {
    return this.standsFor.get(node) ?? [node.name];
  }

  /** Adds a quantizing or dequantizing node with the parameters of `like`. */
  addPairNode(
    graph: Graph,
    opType: 'QuantizeLinear' | 'DequantizeLinear',
    input: Value,
    like: Node,
    before?: Node,
  ): Node {
    const type = opType === 'DequantizeLinear' ? like.output().type : undefined;
    const node = graph.addNode(
      { opType, inputs: [input, like.input(1), ...(like.input(2) === null ? [] : [like.input(2)])] },
      [{ type }],
      before === undefined ? {} : { before },
    );
    const known = this.#retyped.get(like);
    if (known !== undefined) this.#retyped.set(node, known);
    this.standsFor.set(node, []);
    return node;
  }

  /** Adds a scalar constant; NaN for one that only the runtime knows. */
  addScalar(graph: Graph, dtype: 'float32' | 'int8' | 'int32', value: number): Value {
    const data =
      dtype === 'float32'
        ? Tensor.from('float32', [], Float32Array.of(value))
        : dtype === 'int8'
          ? Tensor.from('int8', [], Int8Array.of(value))
          : Tensor.from('int32', [], Int32Array.of(value));
    const made = graph.addInitializer(graph.uniqueName('fusion'), data);
    this.scalars.set(made, Float64Array.of(value));
    return made;
  }
}

/** The graphs of a model, outermost first. */
export function graphsOf(graph: Graph): readonly Graph[] {
  const found = [graph];
  for (const node of graph.nodes()) for (const [, inner] of node.subgraphs) found.push(...graphsOf(inner));
  return found;
}

/** The one edge that leaves a value; `undefined` with several readers, none, or when it is a graph output. */
export function onlyReader(value: Value): { readonly node: Node; readonly index: number } | undefined {
  if (value.isGraphOutput || value.useCount !== 1) return undefined;
  return value.uses[0];
}

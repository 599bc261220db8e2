import type { DType } from '../tensor/dtype.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';
import { Meta } from './meta.ts';
import type { Node } from './node.ts';
import type { Dim, ValueType } from './types.ts';

/** One use of a value: input slot `index` of `node`. The node may lie in a subgraph of the value's graph. */
export interface Use {
  /** The node that reads the value. */
  readonly node: Node;
  /** Which of its inputs. */
  readonly index: number;
}

/** What only {@link Graph} may change about a value. Internal to the IR. */
export interface ValueLinks {
  /** Uses, by node. */
  readonly uses: Map<Node, Set<number>>;
  /** Graphs that list the value among their outputs: its own, or subgraphs that hand it on. */
  readonly outputOf: Set<Graph>;
  /** Name. */
  name: string;
  /** Constant contents. */
  initializer: TensorSource | undefined;
}

/** Access to {@link ValueLinks}, for the IR's own files. @internal */
export const links: WeakMap<Value, ValueLinks> = new WeakMap();

/**
 * A value of a graph: an input, the output of a node, or an initializer. Identity matters: connections are
 * references to values, names serve only messages and files. Made by {@link Graph} methods; edges, names and
 * initializers change only through them, so that both ends of every edge stay true.
 */
export class Value {
  /** The graph that owns the value. */
  readonly graph: Graph;
  /** The node that computes it, or `null` for inputs and initializers. */
  readonly producer: Node | null;
  /** Which output of {@link producer} it is; 0 without one. */
  readonly outputIndex: number;
  /** What is known of its type. Set by readers, builders and shape inference. */
  type: ValueType | undefined;
  /** A free text, saved to files. */
  docString: string | undefined;
  /** Metadata, saved to files. */
  readonly props: Map<string, string> = new Map();
  /** Notes in memory, not saved. */
  readonly meta: Meta = new Meta();

  /** @internal Use the methods of {@link Graph}. */
  constructor(
    graph: Graph,
    name: string,
    type: ValueType | undefined,
    producer: Node | null,
    outputIndex: number,
  ) {
    this.graph = graph;
    this.type = type;
    this.producer = producer;
    this.outputIndex = outputIndex;
    links.set(this, { uses: new Map(), outputOf: new Set(), name, initializer: undefined });
  }

  get #links(): ValueLinks {
    return links.get(this) as ValueLinks;
  }

  /** Name, unique in its graph. */
  get name(): string {
    return this.#links.name;
  }

  /** The constant it holds, when it is an initializer. For constants in general see {@link constantOf}. */
  get initializer(): TensorSource | undefined {
    return this.#links.initializer;
  }

  /** Element type, if it is a tensor of known type. */
  get dtype(): DType | undefined {
    return this.type?.kind === 'tensor' ? this.type.dtype : undefined;
  }

  /** Dims, if it is a tensor of known rank. */
  get shape(): readonly Dim[] | undefined {
    return this.type?.kind === 'tensor' ? this.type.shape : undefined;
  }

  /** A copy of the uses, in no particular order: the graph may be edited while it is walked. */
  get uses(): readonly Use[] {
    const uses: Use[] = [];
    for (const [node, indices] of this.#links.uses) for (const index of indices) uses.push({ node, index });
    return uses;
  }

  /** Number of input slots that read the value (graph outputs not counted). */
  get useCount(): number {
    let count = 0;
    for (const indices of this.#links.uses.values()) count += indices.size;
    return count;
  }

  /** Whether nothing reads it: no node, and no graph hands it out. */
  get isUnused(): boolean {
    return this.#links.uses.size === 0 && this.#links.outputOf.size === 0;
  }

  /** Whether it is an output of its graph. */
  get isGraphOutput(): boolean {
    return this.#links.outputOf.has(this.graph);
  }

  /** The graphs that list it among their outputs: its own, or subgraphs that hand on a value from around them. */
  get outputOf(): readonly Graph[] {
    return [...this.#links.outputOf];
  }

  /** Whether it is an input of its graph. */
  get isGraphInput(): boolean {
    return this.graph.isInput(this);
  }
}

/**
 * The constant that a value always holds: its initializer (unless a graph input can override it), or the value of
 * the `Constant` node that makes it. `undefined` when it is not constant. Does no input or output.
 */
export function constantOf(value: Value | null | undefined): TensorSource | undefined {
  if (value === null || value === undefined) return undefined;
  if (value.initializer !== undefined) return value.isGraphInput ? undefined : value.initializer;
  const { producer } = value;
  if (producer === null || producer.opType !== 'Constant' || producer.domain !== '') return undefined;
  return producer.constantSource();
}

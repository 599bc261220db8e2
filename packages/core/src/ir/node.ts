import type { DTypeArrays } from '../tensor/dtype.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';
import { type Attribute, subgraphsOf } from './attribute.ts';
import type { Graph } from './graph.ts';
import { Meta } from './meta.ts';
import type { Value } from './value.ts';

/** How a node is described when it is made. */
export interface NodeInit {
  /** Operator name, such as `Conv`. */
  readonly opType: string;
  /** Operator set; `''` (the default) is `ai.onnx`. */
  readonly domain?: string | undefined;
  /** Overload of a local function; `''` by default. */
  readonly overload?: string | undefined;
  /** What it reads; `null` leaves out an optional input. */
  readonly inputs: readonly (Value | null)[];
  /** Attributes by name. */
  readonly attributes?: Readonly<Record<string, Attribute>> | ReadonlyMap<string, Attribute> | undefined;
  /** Node name; need not be unique. Made from the operator and a number when left out. */
  readonly name?: string | undefined;
  /** A free text, saved to files. */
  readonly docString?: string | undefined;
}

/** What only {@link Graph} may change about a node. Internal to the IR. */
export interface NodeLinks {
  /** What it reads. */
  inputs: (Value | null)[];
  /** What it makes. */
  outputs: Value[];
  /** Attributes. */
  attributes: Map<string, Attribute>;
  /** Neighbours in the graph's order. */
  previous: Node | null;
  /** Neighbours in the graph's order. */
  next: Node | null;
  /** Whether it is in its graph. */
  attached: boolean;
  /** How often it was moved, for walks that are on it. */
  moves: number;
}

/** Access to {@link NodeLinks}, for the IR's own files. @internal */
export const nodeLinks: WeakMap<Node, NodeLinks> = new WeakMap();

/**
 * One operation of a graph. Inputs, outputs and attributes change only through {@link Graph} methods.
 */
export class Node {
  /** The graph that owns the node. */
  readonly graph: Graph;
  /** Node name, for messages and files; need not be unique. */
  name: string;
  /** Operator set; `''` is `ai.onnx`. */
  readonly domain: string;
  /** Operator name, such as `Conv`. */
  readonly opType: string;
  /** Overload of a local function; mostly `''`. */
  readonly overload: string;
  /** A free text, saved to files. */
  docString: string | undefined;
  /** Metadata, saved to files. */
  readonly props: Map<string, string> = new Map();
  /** Notes in memory, not saved. */
  readonly meta: Meta = new Meta();

  /** @internal Use {@link Graph.addNode}. */
  constructor(graph: Graph, init: NodeInit, name: string) {
    this.graph = graph;
    this.name = name;
    this.opType = init.opType;
    this.domain = init.domain === 'ai.onnx' ? '' : (init.domain ?? '');
    this.overload = init.overload ?? '';
    this.docString = init.docString;
  }

  get #links(): NodeLinks {
    return nodeLinks.get(this) as NodeLinks;
  }

  /** What it reads; `null` where an optional input is left out. */
  get inputs(): readonly (Value | null)[] {
    return this.#links.inputs;
  }

  /** What it makes. An optional output that is left out has an empty name and no uses. */
  get outputs(): readonly Value[] {
    return this.#links.outputs;
  }

  /** Attributes by name. */
  get attributes(): ReadonlyMap<string, Attribute> {
    return this.#links.attributes;
  }

  /** Whether it is still part of its graph. */
  get isAttached(): boolean {
    return this.#links.attached;
  }

  /** Input `index`, or `null` where it is left out or beyond the list. */
  input(index: number): Value | null {
    return this.#links.inputs[index] ?? null;
  }

  /**
   * Output `index`.
   *
   * @throws {LitheError} INTERNAL when there is none
   */
  output(index = 0): Value {
    return this.#links.outputs[index] as Value;
  }

  /** The operator with its domain where that is not `ai.onnx`: `Conv`, `com.microsoft.MatMulNBits`. */
  get op(): string {
    return this.domain === '' ? this.opType : `${this.domain}.${this.opType}`;
  }

  /** Whether it is the `ai.onnx` operator `opType`. */
  is(opType: string): boolean {
    return this.opType === opType && this.domain === '';
  }

  /** The subgraphs in its attributes, with the attribute names. */
  get subgraphs(): readonly (readonly [string, Graph])[] {
    const found: [string, Graph][] = [];
    for (const [name, value] of this.#links.attributes)
      for (const graph of subgraphsOf(value)) found.push([name, graph]);
    return found;
  }

  /** The tensor of a `Constant` node, whichever attribute holds it; `undefined` for any other node or a sparse one. */
  constantSource(): TensorSource | undefined {
    if (!this.is('Constant')) return undefined;
    for (const [name, item] of this.#links.attributes) {
      if (name === 'value' && item.kind === 'tensor') return item.value;
      if (name === 'value_float' && item.kind === 'float')
        return small('float32', [], new Float32Array([item.value]));
      if (name === 'value_floats' && item.kind === 'floats') {
        return small('float32', [item.value.length], new Float32Array(item.value));
      }
      if (name === 'value_int' && item.kind === 'int')
        return small('int64', [], new BigInt64Array([item.value]));
      if (name === 'value_ints' && item.kind === 'ints') {
        return small('int64', [item.value.length], new BigInt64Array(item.value as bigint[]));
      }
      if (name === 'value_string' && item.kind === 'string') return small('string', [], [item.value]);
      if (name === 'value_strings' && item.kind === 'strings')
        return small('string', [item.value.length], item.value);
    }
    return undefined;
  }
}

function small<D extends 'float32' | 'int64' | 'string'>(
  dtype: D,
  shape: readonly number[],
  data: DTypeArrays[D],
): Tensor<D> {
  return Tensor.from(dtype, shape, data);
}

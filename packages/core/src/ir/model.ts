import type { Attribute } from './attribute.ts';
import { cloneGraph } from './clone.ts';
import type { Graph } from './graph.ts';
import { Meta } from './meta.ts';

/** The opset of `ai.onnx` that every model is brought to on load, and that every rule table is written for. */
export const WORKING_OPSET = 21;

/** A local function of a model: a named graph with attribute parameters. */
export interface ModelFunction {
  /** Operator set the function belongs to. */
  readonly domain: string;
  /** Function name; nodes with this `opType` call it. */
  readonly name: string;
  /** Overload; mostly `''`. */
  readonly overload: string;
  /** Body; its inputs and outputs are the formal parameters. */
  readonly graph: Graph;
  /** Names of attribute parameters without default. */
  readonly attributes: readonly string[];
  /** Attribute parameters with their defaults. */
  readonly attributeDefaults: ReadonlyMap<string, Attribute>;
  /** Opsets the body is written for. */
  readonly opsetImports: ReadonlyMap<string, number>;
  /** A free text. */
  readonly docString: string | undefined;
  /** Metadata, saved to files. */
  readonly props: ReadonlyMap<string, string>;
}

/** Where a model came from, so that an unchanged one is written back byte for byte. */
export interface ModelOrigin {
  /** {@link Model.revision} when it was read. */
  readonly revision: number;
  /** Opset of `ai.onnx` in the file, before it was brought to the working opset. */
  readonly opset: number;
  /** IR version of the file. */
  readonly irVersion: number;
  /** The file's bytes, when they can be had again. */
  readonly bytes?: (() => Promise<Uint8Array>) | undefined;
  /** Path of the file, when it came from one. */
  readonly path?: string | undefined;
}

/** How a model is made. */
export interface ModelInit {
  /** The main graph. */
  readonly graph: Graph;
  /** Opset versions by domain; `''` is `ai.onnx`. The working opset by default. */
  readonly opsetImports?: ReadonlyMap<string, number> | undefined;
  /** Local functions. */
  readonly functions?: readonly ModelFunction[] | undefined;
  /** Where it came from. */
  readonly origin?: ModelOrigin | undefined;
}

/**
 * A model: a graph, the opsets it is written for, local functions and metadata. In memory its `ai.onnx` opset is
 * the working opset, unless a reader could not bring it there; such nodes are carried as they are.
 */
export class Model {
  /** The main graph. */
  readonly graph: Graph;
  /** Opset versions by domain; `''` is `ai.onnx`. */
  readonly opsetImports: Map<string, number>;
  /** Local functions. */
  functions: readonly ModelFunction[];
  /** Tool that made the model. */
  producerName = '';
  /** Version of that tool. */
  producerVersion = '';
  /** Namespace of the model. */
  domain = '';
  /** Version of the model. */
  modelVersion = 0n;
  /** A free text. */
  docString: string | undefined;
  /** Metadata, saved to files. */
  readonly props: Map<string, string> = new Map();
  /** Notes in memory, not saved. */
  readonly meta: Meta;
  /** Where it came from, if it was read from a file. */
  readonly origin: ModelOrigin | undefined;

  /** @param init graph, opsets, functions, origin */
  constructor(init: ModelInit, meta?: Meta) {
    this.graph = init.graph;
    this.opsetImports = new Map(init.opsetImports ?? [['', WORKING_OPSET]]);
    this.functions = init.functions ?? [];
    this.origin = init.origin;
    this.meta = new Meta(meta);
  }

  /** Opset of `ai.onnx`; 0 when the model imports none. */
  get opset(): number {
    return this.opsetImports.get('') ?? 0;
  }

  /** Grows with every edit of the graph, its subgraphs and the bodies of local functions. */
  get revision(): number {
    let count = this.graph.revision.count;
    for (const { graph } of this.functions) count += graph.revision.count;
    return count;
  }

  /** Whether nothing was edited since it was read. */
  get isUnchanged(): boolean {
    return this.origin !== undefined && this.origin.revision === this.revision;
  }

  /** A copy of the structure that shares the tensors. Cost is linear in nodes, not in weights. */
  clone(): Model {
    const graph = cloneGraph(this.graph, null);
    const model = new Model(
      {
        graph,
        opsetImports: this.opsetImports,
        functions: this.functions.map((item) => {
          const body = cloneGraph(item.graph, null);
          body.revision.count = item.graph.revision.count;
          return { ...item, graph: body };
        }),
        origin: this.origin,
      },
      this.meta,
    );
    graph.revision.count = this.graph.revision.count;
    model.producerName = this.producerName;
    model.producerVersion = this.producerVersion;
    model.domain = this.domain;
    model.modelVersion = this.modelVersion;
    model.docString = this.docString;
    for (const [key, value] of this.props) model.props.set(key, value);
    return model;
  }
}

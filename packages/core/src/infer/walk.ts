import { errors } from '../errors/catalogue.ts';
import { isLitheError } from '../errors/lithe-error.ts';
import type { Attribute } from '../ir/attribute.ts';
import { symbolsOf } from '../ir/dims.ts';
import type { Graph } from '../ir/graph.ts';
import { type Model, type ModelFunction, WORKING_OPSET } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import { type Dim, formatType, isStaticShape, tensorType, type ValueType } from '../ir/types.ts';
import { constantOf, type Value } from '../ir/value.ts';
import type { AnyOpDef } from '../op/op-def.ts';
import type { OpSet } from '../op/op-set.ts';
import type { Tensor, TensorSource } from '../tensor/tensor.ts';
import {
  Contradiction,
  contradictionError,
  type Inferred,
  type InferScope,
  inferDTypes,
  inferNode,
  type Known,
} from './infer-context.ts';
import type { InferConflict, InferOptions, InferReport } from './infer-report.ts';
import { elementOf } from './known-values.ts';
import { mergeTypes, withSymbols } from './merge-types.ts';

/** Nodes of functions and subgraphs that are walked in all, beyond a few times those of the model: more is taken for hostile. */
const MAX_REPEATED = 100_000;
/** How often each node of the model may be walked. */
const MAX_WALKS = 10;
/** Nesting of subgraphs and function calls. */
const MAX_DEPTH = 100;

type Resolve = ((name: string) => Attribute | undefined) | undefined;

/** One run of inference: what is known of every value, and what went wrong. */
export class Walk {
  readonly #opset: OpSet;
  readonly #constants: ReadonlyMap<TensorSource, Tensor>;
  readonly #known = new Map<Value, Known>();
  readonly #functions = new Map<string, ModelFunction>();
  readonly #calls: ModelFunction[] = [];
  readonly #imports: ReadonlyMap<string, number>;
  readonly #taken = new Set<string>();
  readonly #fresh = new Set<string>();
  readonly #numbers = new Map<string, number>();
  readonly #unknown = new Map<string, Set<string>>();
  readonly #problems = new Set<string>();
  readonly #conflicts = new Map<Value, InferConflict>();
  readonly #overwrite: boolean;
  readonly #strict: boolean;
  readonly #signal: AbortSignal | undefined;
  #repeated = 0;
  #size = 0;
  #contradictions = 0;
  #run: 'always' | 'maybe' | 'never' = 'always';

  constructor(
    model: Model,
    opset: OpSet,
    constants: ReadonlyMap<TensorSource, Tensor>,
    options: InferOptions,
  ) {
    this.#opset = opset;
    this.#imports = model.opsetImports;
    this.#constants = constants;
    this.#overwrite = options.overwrite ?? false;
    this.#strict = options.strict ?? true;
    this.#signal = options.signal;
    for (const item of model.functions)
      this.#functions.set(`${item.domain}:${item.name}:${item.overload}`, item);
    this.#collectSymbols(model.graph);
  }

  /** Symbols that made-up names must keep clear of. */
  #collectSymbols(graph: Graph): void {
    this.#size += graph.nodeCount;
    for (const value of graph.values()) {
      for (const dim of value.shape ?? []) {
        if (typeof dim !== 'string') continue;
        this.#taken.add(dim);
        for (const symbol of symbolsOf(dim)) this.#taken.add(symbol);
      }
    }
    for (const node of graph.nodes()) for (const [, inner] of node.subgraphs) this.#collectSymbols(inner);
  }

  #symbol(hint: string): string {
    const stem = hint.replace(/[^A-Za-z0-9_]/g, '_');
    let number = this.#numbers.get(stem) ?? 0;
    while (this.#taken.has(`${stem}_${number}`)) number++;
    this.#numbers.set(stem, number + 1);
    const symbol = `${stem}_${number}`;
    this.#fresh.add(symbol);
    return symbol;
  }

  /** Infers a graph whose inputs have these types; those beyond the list, or `undefined`, as declared. */
  graph(graph: Graph, inputs: readonly (Known | undefined)[], resolve: Resolve, depth: number): void {
    if (depth > MAX_DEPTH)
      throw errors.limitExceeded('depth of subgraphs', MAX_DEPTH, depth, `Graph "${graph.name}"`);
    graph.inputs.forEach((value, index) => {
      this.#known.set(value, inputs[index] ?? { type: withSymbols(value.type, () => this.#symbol('dim')) });
    });
    for (const value of graph.initializers) {
      if (graph.isInput(value)) continue;
      const source = value.initializer as TensorSource;
      this.#known.set(value, {
        type: tensorType(source.dtype, source.shape),
        constant: this.#constants.get(source),
      });
    }
    for (const node of graph.nodes()) {
      this.#signal?.throwIfAborted();
      this.#node(node, resolve, depth);
    }
  }

  knownOf(value: Value): Known {
    return this.#known.get(value) ?? { type: value.type };
  }

  #node(node: Node, resolve: Resolve, depth: number): void {
    const inputs = node.inputs.map((value) => (value === null ? null : this.knownOf(value)));
    const called = this.#functions.get(`${node.domain}:${node.opType}:${node.overload}`);
    const def = this.#opset.of(node);
    try {
      if (called !== undefined) this.#store(node, this.#call(node, called, inputs, resolve, depth), 'call');
      else if (def !== undefined) {
        const scope: InferScope = {
          inputs,
          resolve,
          loaded: (source) => (source === undefined ? undefined : this.#constants.get(source)),
          fresh: (hint) => this.#symbol(hint),
          subgraph: (inner, types, options) =>
            this.#guarded(inner, types, options?.run ?? 'always', resolve, depth),
        };
        this.#store(node, inferNode(node, def, scope), 'operator');
      } else this.#barrier(node);
    } catch (error) {
      const isProblem = error instanceof Contradiction || isLitheError(error, 'ATTRIBUTE_INVALID');
      if (!isProblem) throw error;
      if (this.#isOlder(def)) {
        this.#barrier(node);
        return;
      }
      const problem = error instanceof Contradiction ? contradictionError(node, error.message) : error;
      this.#contradictions++;
      if (this.#strict && this.#run === 'always') throw problem;
      if (this.#run !== 'never') this.#problems.add(problem.message);
      this.#store(node, def === undefined ? [] : inferDTypes(node, def, inputs), 'operator');
    }
  }

  /** Whether a graph is written for an opset that has an older form of the operator than the defined one. */
  #isOlder(def: AnyOpDef | undefined): boolean {
    if (def === undefined || def.domain !== '') return false;
    const imports = this.#calls.at(-1)?.opsetImports ?? this.#imports;
    return def.since > (imports.get('') ?? WORKING_OPSET);
  }

  #barrier(node: Node): void {
    const nodes = this.#unknown.get(node.op) ?? new Set<string>();
    this.#unknown.set(node.op, nodes.add(node.name));
    this.#store(node, [], 'unknown');
  }

  /** Merges what was inferred with what the file declares. */
  #store(node: Node, inferred: readonly Inferred[], from: 'operator' | 'call' | 'unknown'): void {
    node.outputs.forEach((value, index) => {
      const found = inferred[index];
      const declared =
        this.#overwrite && from !== 'unknown' && found?.type !== undefined ? undefined : value.type;
      const merged = mergeTypes(found?.type, declared, (symbol) => this.#fresh.has(symbol));
      if (merged.conflict) this.#conflict(node, value, found?.type);
      else this.#conflicts.delete(value);
      const type = withSymbols(merged.type, () => this.#symbol('dim'));
      const constant = constantOf(value);
      this.#known.set(value, {
        type,
        sizes: this.#elements(type, found?.sizes),
        constant: constant === undefined ? undefined : this.#constants.get(constant),
      });
    });
  }

  #elements(type: ValueType | undefined, sizes: readonly Dim[] | undefined): readonly Dim[] | undefined {
    if (sizes === undefined || type?.kind !== 'tensor' || type.dtype === undefined) return undefined;
    const { dtype } = type;
    const elements = sizes.map((size) => elementOf(dtype, size));
    return elements.every((size) => size === null) ? undefined : elements;
  }

  #conflict(node: Node, value: Value, inferred: ValueType | undefined): void {
    this.#conflicts.set(value, {
      value: value.name,
      node: node.name,
      declared: formatType(value.type),
      inferred: formatType(inferred),
    });
  }

  #count(graph: Graph): void {
    this.#repeated += graph.nodeCount;
    const limit = MAX_REPEATED + MAX_WALKS * this.#size;
    if (this.#repeated > limit) {
      throw errors.limitExceeded(
        'nodes of functions and loop bodies',
        limit,
        this.#repeated,
        `Graph "${graph.name}"`,
      );
    }
  }

  #subgraph(
    graph: Graph,
    types: readonly (ValueType | undefined)[],
    resolve: Resolve,
    depth: number,
  ): readonly (ValueType | undefined)[] {
    this.#count(graph);
    const inputs = graph.inputs.map((value, index): Known | undefined => {
      const { type } = mergeTypes(types[index], value.type, () => false);
      return type === undefined ? undefined : { type: withSymbols(type, () => this.#symbol('dim')) };
    });
    this.graph(graph, inputs, resolve, depth + 1);
    return graph.outputs.map((value) => this.knownOf(value).type);
  }

  /** Infers a subgraph that may not be run at all. */
  #guarded(
    graph: Graph,
    types: readonly (ValueType | undefined)[],
    run: 'always' | 'maybe' | 'never',
    resolve: Resolve,
    depth: number,
  ): readonly (ValueType | undefined)[] {
    const around = this.#run;
    const before = this.#contradictions;
    if (run === 'never' || (run === 'maybe' && around === 'always')) this.#run = run;
    const outputs = this.#subgraph(graph, types, resolve, depth);
    this.#run = around;
    return run !== 'always' && this.#contradictions > before ? [] : outputs;
  }

  /** Walks the body of a local function with the types and attributes of one call. */
  #call(
    node: Node,
    called: ModelFunction,
    inputs: readonly (Known | null)[],
    resolve: Resolve,
    depth: number,
  ): readonly Inferred[] {
    if (this.#calls.includes(called)) {
      throw errors.modelInvalid([`Function "${called.name}" calls itself, by way of node "${node.name}".`]);
    }
    const { graph } = called;
    this.#count(graph);
    const own = (name: string): Attribute | undefined => {
      const given = node.attributes.get(name) ?? called.attributeDefaults.get(name);
      return given?.kind === 'reference' ? resolve?.(given.name) : given;
    };
    this.#calls.push(called);
    this.graph(
      graph,
      graph.inputs.map((_, index) => inputs[index] ?? { type: undefined }),
      own,
      depth + 1,
    );
    this.#calls.pop();
    return graph.outputs.map((value) => {
      const { type, sizes, constant } = this.knownOf(value);
      return { type, sizes: sizes ?? (constant === undefined ? undefined : [...constant.toFloat64Array()]) };
    });
  }

  /** Writes the types to the values of the graph and its subgraphs, and gives the report. */
  finish(graph: Graph): InferReport {
    const counts = { values: 0, typed: 0, fixed: 0 };
    this.#write(graph, counts);
    const sizes = new Map<Value, readonly Dim[]>();
    for (const node of graph.nodes()) {
      for (const value of node.outputs) {
        const known = this.knownOf(value).sizes;
        if (known !== undefined) sizes.set(value, known);
      }
    }
    return {
      ...counts,
      sizes,
      unknown: [...this.#unknown].map(([op, nodes]) => ({ op, nodes: [...nodes] })),
      problems: [...this.#problems],
      conflicts: [...this.#conflicts.values()],
    };
  }

  #write(graph: Graph, counts: { values: number; typed: number; fixed: number }): void {
    for (const node of graph.nodes()) {
      for (const [, inner] of node.subgraphs) {
        for (const value of inner.inputs) value.type ??= this.knownOf(value).type;
        this.#write(inner, counts);
      }
      for (const value of node.outputs) {
        const { type } = this.knownOf(value);
        value.type = type;
        if (value.name === '') continue;
        counts.values++;
        const tensor = type?.kind === 'tensor' ? type : undefined;
        const typed =
          tensor === undefined
            ? type !== undefined
            : tensor.dtype !== undefined && tensor.shape !== undefined;
        if (typed) counts.typed++;
        if (tensor !== undefined && isStaticShape(tensor.shape)) counts.fixed++;
      }
    }
  }
}

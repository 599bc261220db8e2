import { createRng, type Rng } from '../context/rng.ts';
import { errors, invariant } from '../errors/catalogue.ts';
import type { Attribute } from '../ir/attribute.ts';
import { cloneGraph } from '../ir/clone.ts';
import type { Graph } from '../ir/graph.ts';
import type { Model, ModelFunction } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import type { Value } from '../ir/value.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';
import { MAX_OUTPUT_BYTES, makeContext, type Surroundings } from './context.ts';
import type { KernelTable, ReferenceKernel, ReferenceValue } from './kernel.ts';
import { referenceKernels } from './kernels/table.ts';

/** How a model is evaluated. */
export interface ReferenceOptions {
  /** Kernels beside (or in place of) {@link referenceKernels}. */
  readonly kernels?: KernelTable | undefined;
  /** Seed for operators that draw numbers; 0 by default. Every run starts from it. */
  readonly seed?: number | undefined;
  /** Bytes that one output may take; 2^31 by default. */
  readonly maxOutputBytes?: number | undefined;
  /** Depth of nested subgraphs and function calls; 64 by default. */
  readonly maxDepth?: number | undefined;
  /** How often one run may run subgraphs and functions: an end for loops that have none. 10^6 by default. */
  readonly maxSubgraphRuns?: number | undefined;
}

/** How a program is run once. */
export interface ProgramRun {
  /** Values of the inputs. */
  readonly feeds: ReadonlyMap<Value, ReferenceValue>;
  /** The values wanted. */
  readonly outputs: readonly Value[];
  /** Cancellation, checked at every node. */
  readonly signal?: AbortSignal | undefined;
  /** Clock in milliseconds: after 25 of them the event loop gets a turn. */
  readonly now: () => number;
}

type Slot = ReferenceValue | null;

/** Values of a graph while it runs; those of graphs around it are found through `outer`. */
interface Frame {
  readonly values: Map<Value, Slot>;
  readonly outer: Frame | undefined;
}

/** What all graphs of one run share. */
interface Shared {
  readonly rng: Rng;
  /** Subgraphs and functions run so far. */
  subgraphRuns: number;
}

/** A model with its functions bound, ready to run. */
export class Program {
  readonly #model: Model;
  readonly #kernels: KernelTable;
  readonly #options: ReferenceOptions;
  readonly #functions: ReadonlyMap<string, ModelFunction>;
  readonly #bodies = new Map<Node, Graph>();
  readonly #loaded = new Map<TensorSource, Tensor>();

  /**
   * @param model not to be edited while the program is in use
   * @throws {LitheError} OP_UNSUPPORTED naming a node without kernel
   */
  constructor(model: Model, options: ReferenceOptions = {}) {
    this.#model = model;
    this.#options = options;
    this.#kernels =
      options.kernels === undefined ? referenceKernels : { ...referenceKernels, ...options.kernels };
    this.#functions = new Map(
      model.functions.map((item) => [functionKey(item.domain, item.name, item.overload), item]),
    );
    this.#check(model.graph, 0);
  }

  /** Tensors that {@link loadAll} keeps. */
  get loaded(): readonly Tensor[] {
    return [...this.#loaded.values()];
  }

  /** Loads every weight and keeps it, for many runs. */
  async loadAll(signal?: AbortSignal): Promise<void> {
    for (const source of this.#sourcesOf(this.#model.graph)) await this.#load(source, signal);
  }

  /** Runs once. Values are let go after their last use; weights too, unless {@link loadAll} keeps them. */
  async run(request: ProgramRun): Promise<Slot[]> {
    const { graph } = this.#model;
    const frame: Frame = { values: new Map<Value, Slot>(request.feeds), outer: undefined };
    const schedule = makeSchedule(graph, request.outputs);
    const shared: Shared = { rng: createRng(this.#options.seed ?? 0), subgraphRuns: 0 };
    const around = this.#surroundings(shared, frame, 0);
    let turn = request.now();
    for (const step of schedule) {
      request.signal?.throwIfAborted();
      if (request.now() - turn > 25) {
        await new Promise<void>((resolve) => {
          setTimeout(resolve, 0);
        });
        request.signal?.throwIfAborted();
        turn = request.now();
      }
      const borrowed = await this.#loadFor(step.node, frame, request.signal);
      this.#step(step.node, frame, around);
      for (const value of step.dead) frame.values.delete(value);
      for (const source of borrowed) this.#loaded.delete(source);
    }
    const results: Slot[] = [];
    for (const value of request.outputs) {
      const known = frame.values.get(value);
      results.push(
        known === undefined && value.initializer !== undefined
          ? await value.initializer.load(request.signal)
          : (known ?? null),
      );
    }
    return results;
  }

  /** Loads what a node reads, directly or in its subgraphs. Gives the attribute tensors that nobody keeps. */
  async #loadFor(node: Node, frame: Frame, signal: AbortSignal | undefined): Promise<TensorSource[]> {
    for (const value of readsOf(node)) {
      const source = value.initializer;
      if (source === undefined || frame.values.has(value)) continue;
      frame.values.set(value, this.#loaded.get(source) ?? (await source.load(signal)));
    }
    const borrowed: TensorSource[] = [];
    for (const source of this.#innerSources(node)) {
      if (source instanceof Tensor || this.#loaded.has(source)) continue;
      borrowed.push(source);
      await this.#load(source, signal);
    }
    return borrowed;
  }

  async #load(source: TensorSource, signal: AbortSignal | undefined): Promise<void> {
    if (source instanceof Tensor || this.#loaded.has(source)) return;
    this.#loaded.set(source, await source.load(signal));
  }

  /** Every tensor source of a graph, its subgraphs and the functions it calls. */
  *#sourcesOf(graph: Graph): IterableIterator<TensorSource> {
    for (const value of graph.initializers) if (value.initializer !== undefined) yield value.initializer;
    for (const node of graph.nodes()) yield* this.#innerSources(node);
  }

  /** Tensor sources in the attributes of a node, its subgraphs and its function body. */
  *#innerSources(node: Node): IterableIterator<TensorSource> {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === 'tensor') yield attribute.value;
    }
    for (const [, graph] of node.subgraphs) yield* this.#sourcesOf(graph);
    const body = this.#bodies.get(node);
    if (body !== undefined) yield* this.#sourcesOf(body);
  }

  #step(node: Node, frame: Frame, around: Surroundings): void {
    const inputs = node.inputs.map((value) => (value === null ? null : this.#read(value, frame)));
    const body = this.#bodies.get(node);
    const outputs = body === undefined ? this.#call(node, inputs, around) : around.run(body, inputs, node);
    for (let index = 0; index < node.outputs.length; index++) {
      const output = node.outputs[index]!;
      if (output.name === '' && outputs[index] === undefined) continue;
      frame.values.set(output, outputs[index] ?? null);
    }
  }

  #call(node: Node, inputs: readonly Slot[], around: Surroundings): readonly Slot[] {
    const kernel: ReferenceKernel | undefined = this.#kernels[node.op];
    invariant(kernel !== undefined, `node "${node.name}" (${node.op}) has no kernel`);
    return kernel(makeContext(node, inputs, around));
  }

  #read(value: Value, frame: Frame): Slot {
    for (let at: Frame | undefined = frame; at !== undefined; at = at.outer) {
      const found = at.values.get(value);
      if (found !== undefined) return found;
    }
    const source = value.initializer;
    const tensor =
      source instanceof Tensor ? source : source === undefined ? undefined : this.#loaded.get(source);
    invariant(tensor !== undefined, `value "${value.name}" is read before it is computed`);
    return tensor;
  }

  #surroundings(shared: Shared, frame: Frame, depth: number): Surroundings {
    return {
      opset: this.#model.opset,
      rng: shared.rng,
      maxOutputBytes: this.#options.maxOutputBytes ?? MAX_OUTPUT_BYTES,
      attributeTensor: (source) => this.#loaded.get(source),
      run: (graph, inputs, node) => {
        const limit = this.#options.maxDepth ?? 64;
        if (depth >= limit)
          throw errors.limitExceeded('maxDepth', limit, depth + 1, `The nesting at node "${node.name}"`);
        const most = this.#options.maxSubgraphRuns ?? 1e6;
        shared.subgraphRuns++;
        if (shared.subgraphRuns > most)
          throw errors.limitExceeded('maxSubgraphRuns', most, shared.subgraphRuns, `Node "${node.name}"`);
        // A function body sees nothing of its caller; a subgraph sees the graphs around it.
        const outer = graph.parent === null ? undefined : frame;
        return this.#runInner(graph, inputs, { shared, outer, depth: depth + 1, node });
      },
    };
  }

  #runInner(
    graph: Graph,
    inputs: readonly Slot[],
    caller: {
      readonly shared: Shared;
      readonly outer: Frame | undefined;
      readonly depth: number;
      readonly node: Node;
    },
  ): Slot[] {
    const frame: Frame = { values: new Map(), outer: caller.outer };
    if (inputs.length > graph.inputs.length) {
      throw errors.shapeMismatch(
        caller.node.name,
        `its graph "${graph.name}" takes ${graph.inputs.length} inputs, not ${inputs.length}`,
      );
    }
    for (let index = 0; index < graph.inputs.length; index++) {
      const input = graph.inputs[index]!;
      if (inputs[index] !== undefined || input.initializer === undefined)
        frame.values.set(input, inputs[index] ?? null);
    }
    const around = this.#surroundings(caller.shared, frame, caller.depth);
    for (const node of graph.nodes()) this.#step(node, frame, around);
    return graph.outputs.map((value) => this.#read(value, frame));
  }

  /** Finds nodes without kernel, and binds the functions that nodes call. */
  #check(graph: Graph, depth: number): void {
    const limit = this.#options.maxDepth ?? 64;
    if (depth > limit)
      throw errors.limitExceeded('maxDepth', limit, depth, `The nesting of graph "${graph.name}"`);
    for (const node of graph.nodes()) {
      const called = this.#functions.get(functionKey(node.domain, node.opType, node.overload));
      if (called !== undefined) {
        const body = bindFunction(called, node);
        this.#bodies.set(node, body);
        this.#check(body, depth + 1);
      } else if (this.#kernels[node.op] === undefined) {
        throw errors.opUnsupported(
          node.name,
          node.op,
          'The reference interpreter',
          'it has no kernel for this operator',
          KERNEL_HINT,
        );
      }
      for (const [, inner] of node.subgraphs) this.#check(inner, depth + 1);
    }
  }
}

/** What to do about an operator without kernel. */
export const KERNEL_HINT = 'Pass a kernel for it in the `kernels` option.';

function functionKey(domain: string, name: string, overload: string): string {
  return `${domain === 'ai.onnx' ? '' : domain}:${name}:${overload}`;
}

/** A copy of a function's body with the attributes of a call put in. */
function bindFunction(called: ModelFunction, call: Node): Graph {
  const body = cloneGraph(called.graph, null);
  for (const node of body.nodesDeep()) {
    for (const [name, value] of [...node.attributes]) {
      if (value.kind !== 'reference') continue;
      const bound: Attribute | undefined =
        call.attributes.get(value.name) ?? called.attributeDefaults.get(value.name);
      node.graph.setAttribute(node, name, bound);
    }
  }
  return body;
}

interface Step {
  readonly node: Node;
  /** Values that nothing reads behind this node. */
  readonly dead: readonly Value[];
}

/** The nodes that the outputs depend on, in order, each with the values that end their life at it. */
function makeSchedule(graph: Graph, outputs: readonly Value[]): Step[] {
  const wanted = new Set<Value>(outputs);
  const kept = new Set<Value>(outputs);
  const steps: Step[] = [];
  for (const node of graph.nodesReversed()) {
    if (!node.outputs.some((value) => wanted.has(value))) continue;
    const dead: Value[] = [];
    for (const value of readsOf(node)) {
      if (!wanted.has(value)) dead.push(value);
      wanted.add(value);
    }
    for (const value of node.outputs) if (!wanted.has(value) && !kept.has(value)) dead.push(value);
    steps.push({ node, dead });
  }
  return steps.reverse();
}

/** Values that a node reads, its subgraphs' reads of this and outer graphs included. */
function readsOf(node: Node): Set<Value> {
  const reads = new Set<Value>();
  for (const value of node.inputs) if (value !== null) reads.add(value);
  for (const [, graph] of node.subgraphs) {
    const inner = [...graph.nodesDeep()].flatMap((item) => [
      ...item.inputs,
      ...item.subgraphs.flatMap(([, sub]) => sub.outputs),
    ]);
    for (const value of [...inner, ...graph.outputs])
      if (value !== null && value.graph === node.graph) reads.add(value);
  }
  return reads;
}

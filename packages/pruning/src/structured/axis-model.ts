import {
  type AttributeSpecs,
  type AttributesOf,
  attributesOf,
  constantOf,
  type Dim,
  elementsOf,
  type Graph,
  type InferReport,
  inferShapes,
  isInteger,
  type Model,
  type Node,
  type OpDef,
  type OpSet,
  standardOps,
  type TraitTable,
  type Value,
} from '@lithe/core';
import { type AxisContext, type AxisFlow, type AxisRule, barrier } from './axis-rule.ts';
import { windowCoordinates, windowIn } from './axis-view.ts';
import { standardAxisRules } from './standard-axis-rules.ts';

/** Most elements of a constant that is read for sizes, axes and indices. */
const MAX_INTEGERS = 4096;
/** Longest axis that is followed, far beyond any layer: a file that claims more must not take memory for it. */
const MAX_LENGTH = 2 ** 22;

/** What a model is looked at with. */
export interface AxisOptions {
  /** How axes flow through operators; {@link standardAxisRules} by default. */
  readonly rules?: TraitTable<AxisRule> | undefined;
  /** Operators that are known; the standard ones by default. */
  readonly opset?: OpSet | undefined;
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
}

/** One axis of one value. Equal axes are the same object. */
export interface Slot {
  /** The value. */
  readonly value: Value;
  /** The axis, counted from the front. */
  readonly axis: number;
  /** Its length. */
  readonly length: number;
}

/** One end of a tie in a model. */
export interface BoundEnd {
  /** The axis. */
  readonly slot: Slot;
  /** Where it stands at the node. */
  readonly key: string;
  /** First index that takes part. */
  readonly from: number;
  /** Coordinate of each index from there on; -1 where one takes no part. */
  readonly coordinates: Int32Array;
  /** Whether each index is its own coordinate, counted from `from`. */
  readonly isPlain: boolean;
}

/** A tie in a model. */
export interface BoundTie {
  /** The axes; those of length 1 are left out. */
  readonly ends: readonly BoundEnd[];
  /** Number of coordinates. */
  readonly size: number;
  /** Why it is not exact. */
  readonly inexact: string | undefined;
  /** Coordinates that cannot go, because an axis of length 1 stands for them. */
  readonly last: readonly number[];
}

/** The flow of a node in a model. */
export interface BoundFlow {
  /** The node. */
  readonly node: Node;
  /** What the rule says. */
  readonly flow: AxisFlow;
  /** Ties by the ends they have. */
  readonly ties: ReadonlyMap<string, readonly BoundTie[]>;
  /** Choices. */
  readonly choices: readonly (readonly BoundTie[])[];
  /** Ends that are named, with a reason where they cannot be cut after all. */
  readonly named: ReadonlyMap<string, string | undefined>;
}

/** Sizes that are all numbers, whatever the model is fed: as good as a constant. */
function numbersOf(sizes: readonly Dim[] | undefined): readonly number[] | undefined {
  return sizes?.every((size) => typeof size === 'number') === true ? (sizes as readonly number[]) : undefined;
}

/** Where an axis stands at a node, as a key. */
export function endKey(side: 'input' | 'output', index: number, axis: number): string {
  return `${side === 'input' ? 'i' : 'o'}${index}:${axis}`;
}

const oldForm = barrier('it is in a form of an older opset');

/** A model with its shapes inferred and the flow of each node at hand. Made anew after every edit. */
export class AxisModel {
  /** The model. */
  readonly model: Model;
  /** Its main graph, the only one that is cut. */
  readonly graph: Graph;
  /** Operators that are known. */
  readonly opset: OpSet;
  /** Nodes that contradict their operators, as sentences. */
  readonly problems: readonly string[];
  /** Names of nodes without a definition, or in a form of an older opset. */
  readonly #unknown = new Set<string>();
  /** How axes flow through operators. */
  readonly rules: TraitTable<AxisRule>;
  readonly #sizes: ReadonlyMap<Value, readonly Dim[]>;
  readonly #integers = new Map<Value, readonly number[]>();
  readonly #flows = new Map<Node, BoundFlow>();
  readonly #static = new Map<Value, boolean>();
  readonly #slots = new Map<Value, (Slot | undefined)[]>();

  private constructor(model: Model, options: AxisOptions, report: InferReport) {
    const { sizes, problems, unknown } = report;
    this.model = model;
    this.problems = problems;
    for (const { nodes } of unknown) for (const name of nodes) this.#unknown.add(name);
    this.graph = model.graph;
    this.opset = options.opset ?? standardOps;
    this.rules = options.rules ?? standardAxisRules;
    this.#sizes = sizes;
  }

  /** Infers shapes, in place, and reads the constants that carry sizes. */
  static async of(model: Model, options: AxisOptions = {}): Promise<AxisModel> {
    const opset = options.opset ?? standardOps;
    const report = await inferShapes(model, { opset, signal: options.signal, strict: false });
    const axes = new AxisModel(model, options, report);
    await axes.#load(options.signal);
    return axes;
  }

  async #load(signal: AbortSignal | undefined): Promise<void> {
    const values = [...this.graph.initializers];
    for (const node of this.graph.nodes()) if (node.is('Constant')) values.push(node.output());
    for (const value of values) {
      const source = constantOf(value);
      if (source === undefined || !isInteger(source.dtype) || elementsOf(source.shape) > MAX_INTEGERS)
        continue;
      this.#integers.set(value, [...(await source.load(signal)).toFloat64Array()]);
    }
  }

  /** The axis of a value; `undefined` when its length is not a number, or absurd. */
  slot(value: Value, axis: number): Slot | undefined {
    let slots = this.#slots.get(value);
    if (slots === undefined) {
      const shape = constantOf(value)?.shape ?? value.shape ?? [];
      slots = shape.map((length, index) =>
        typeof length === 'number' && length <= MAX_LENGTH ? { value, axis: index, length } : undefined,
      );
      this.#slots.set(value, slots);
    }
    return slots[axis];
  }

  /** Whether a value depends on constants alone. */
  isStatic(value: Value): boolean {
    const known = this.#static.get(value);
    if (known !== undefined) return known;
    // An explicit stack: chains of constants may be long.
    const stack: Value[] = [value];
    for (let item = stack.at(-1); item !== undefined; item = stack.at(-1)) {
      const open = this.#openInputs(item);
      if (open.length > 0) stack.push(...open);
      else {
        this.#static.set(item, this.#decideStatic(item));
        stack.pop();
      }
    }
    return this.#static.get(value) === true;
  }

  #openInputs(value: Value): readonly Value[] {
    if (constantOf(value) !== undefined || value.producer === null) return [];
    return value.producer.inputs.filter(
      (input): input is Value => input !== null && !this.#static.has(input),
    );
  }

  #decideStatic(value: Value): boolean {
    if (constantOf(value) !== undefined) return true;
    const { producer } = value;
    if (producer === null || producer.subgraphs.length > 0 || producer.inputs.length === 0) return false;
    return producer.inputs.every((input) => input === null || this.#static.get(input) === true);
  }

  /** The rule of a node; a barrier where none is known. */
  ruleOf(node: Node): AxisRule {
    if (node.domain === '' && this.#unknown.has(node.name)) return oldForm;
    const rule = this.rules.get(node);
    if (rule !== undefined && rule !== 'none') return rule;
    return barrier(
      rule === 'none'
        ? 'nothing can be cut through the operator'
        : 'how axes flow through the operator is not known',
    );
  }

  /** What a rule sees of a node. */
  context(node: Node): AxisContext {
    const shapeOf = (value: Value | null | undefined): readonly Dim[] | undefined =>
      value === null || value === undefined ? undefined : (constantOf(value)?.shape ?? value.shape);
    return {
      node,
      attributes: <S extends AttributeSpecs>(op: OpDef<string, S>): AttributesOf<S> => attributesOf(node, op),
      inputCount: node.inputs.length,
      outputCount: node.outputs.length,
      has: (index) => node.input(index) !== null,
      gives: (index) => (node.outputs[index]?.name ?? '') !== '',
      shape: (index) => shapeOf(node.input(index)),
      outputShape: (index) => shapeOf(node.outputs[index]),
      sizes: (index) => {
        const value = node.input(index);
        return value === null ? undefined : (this.#integers.get(value) ?? this.#sizes.get(value));
      },
      integers: (index) => {
        const value = node.input(index);
        return value === null ? undefined : (this.#integers.get(value) ?? numbersOf(this.#sizes.get(value)));
      },
      isStatic: (index) => {
        const value = node.input(index);
        return value !== null && this.isStatic(value);
      },
    };
  }

  /** The flow of a node. */
  flow(node: Node): BoundFlow {
    let bound = this.#flows.get(node);
    if (bound === undefined) {
      bound = this.#bind(node);
      this.#flows.set(node, bound);
    }
    return bound;
  }

  #bind(node: Node): BoundFlow {
    const flow = this.ruleOf(node).flow(this.context(node));
    const ties = new Map<string, BoundTie[]>();
    const named = new Map<string, string | undefined>();
    const bind = (tie: AxisFlow['ties'][number]): BoundTie | undefined => {
      const ends: BoundEnd[] = [];
      const last: number[] = [];
      let problem: string | undefined;
      for (const end of tie.ends) {
        const value = end.side === 'input' ? node.input(end.index) : (node.outputs[end.index] ?? null);
        if (value === null || value.name === '') continue;
        const slot = this.slot(value, end.axis);
        const key = endKey(end.side, end.index, end.axis);
        if (slot === undefined) {
          problem = 'a length that belongs to it is not a number';
          if (!named.has(key)) named.set(key, problem);
          continue;
        }
        const [from] = windowIn(end.view, slot.length);
        const coordinates = windowCoordinates(end.view, slot.length);
        const isPlain = coordinates.every((coordinate, place) => coordinate === place);
        if (slot.length > 1) ends.push({ slot, key, from, coordinates, isPlain });
        else if ((coordinates[0] ?? -1) >= 0) last.push(coordinates[0] as number);
      }
      let size = 0;
      for (const { coordinates } of ends)
        for (const coordinate of coordinates) if (coordinate >= size) size = coordinate + 1;
      for (const { key } of ends) if (!named.has(key) || problem !== undefined) named.set(key, problem);
      return problem === undefined && ends.length > 0
        ? { ends, size, inexact: tie.inexact, last }
        : undefined;
    };
    for (const tie of flow.ties) {
      const bound = bind(tie);
      for (const key of new Set(bound?.ends.map((end) => end.key))) {
        const list = ties.get(key);
        if (list === undefined) ties.set(key, [bound as BoundTie]);
        else list.push(bound as BoundTie);
      }
    }
    const choices = (flow.choices ?? []).map((options) =>
      options.flatMap((tie) => {
        const bound = bind(tie);
        return bound === undefined ? [] : [bound];
      }),
    );
    return { node, flow, ties, choices, named };
  }
}

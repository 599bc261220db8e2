import { errors } from '../errors/catalogue.ts';
import type { Node } from '../ir/node.ts';
import { constantOf, type Value } from '../ir/value.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { AnyPatternOf, OpPattern, Pattern, ScalarPattern } from './pattern.ts';

/** Gives the contents of a small constant, or `undefined` when the value is none, is large or was not loaded. */
export type SmallTensors = (value: Value) => Tensor | undefined;

const inMemory: SmallTensors = (value) => {
  const source = constantOf(value);
  return source instanceof Tensor ? source : undefined;
};

/** What a pattern found. */
export interface Match<ValueName extends string = string, NodeName extends string = string> {
  /** The node that matched the root of the pattern. */
  readonly root: Node;
  /** Every node that matched, root included. */
  readonly nodes: ReadonlySet<Node>;
  /** A captured value. @throws {LitheError} INTERNAL when the alternative that matched does not capture it */
  value(name: ValueName): Value;
  /** A captured value, or `undefined` when it was left out or the alternative that matched does not capture it. */
  maybe(name: ValueName): Value | undefined;
  /** A captured node. @throws {LitheError} INTERNAL when the alternative that matched does not capture it */
  node(name: NodeName): Node;
}

/**
 * Matches a pattern at a node: its root against `node`, the rest against what computes the node's inputs. The
 * nodes of a match lie in one graph; values may come from the graphs around it.
 *
 * @param small gives the contents of small constants; by default of those in memory
 */
export function matchAt<V extends string, N extends string>(
  pattern: Pattern<V, N>,
  node: Node,
  small: SmallTensors = inMemory,
): Match<V, N> | undefined {
  const state = new MatchState(node, small);
  return state.run(pattern) ? state.result<V, N>() : undefined;
}

/** One attempt to match. Captures are undone when an alternative fails. */
class MatchState {
  readonly root: Node;
  readonly small: SmallTensors;
  readonly values: Map<string, Value> = new Map();
  readonly named: Map<string, Node> = new Map();
  /** Matched nodes, with how often each was reached, and the strictest demand on its uses. */
  readonly matched: Map<Node, OpPattern> = new Map();

  constructor(root: Node, small: SmallTensors) {
    this.root = root;
    this.small = small;
  }

  run(pattern: AnyPatternOf): boolean {
    if (pattern.kind === 'choice') return pattern.of.some((item) => this.run(item));
    return pattern.kind === 'op' && this.matchNode(pattern, this.root, () => this.usesHold());
  }

  result<V extends string, N extends string>(): Match<V, N> {
    const { values, named } = this;
    return {
      root: this.root,
      nodes: new Set(this.matched.keys()),
      value: (name) => found(values.get(name), name),
      maybe: (name) => values.get(name),
      node: (name) => found(named.get(name), name),
    };
  }

  matchValue(pattern: AnyPatternOf, item: Value | null, next: () => boolean): boolean {
    switch (pattern.kind) {
      case 'choice':
        return pattern.of.some((alternative) => this.matchValue(alternative, item, next));
      case 'any':
        if (item === null) return pattern.optional && next();
        return (pattern.where === undefined || pattern.where(item)) && this.capture(pattern.name, item, next);
      case 'constant': {
        const source = constantOf(item);
        if (item === null || source === undefined) return false;
        return (
          (pattern.where === undefined || pattern.where(source)) && this.capture(pattern.name, item, next)
        );
      }
      case 'scalar':
        return item !== null && this.scalarHolds(pattern, item) && this.capture(pattern.name, item, next);
      case 'op': {
        const producer = item?.producer ?? null;
        if (producer === null || item?.outputIndex !== 0 || producer.graph !== this.root.graph) return false;
        return this.matchNode(pattern, producer, next);
      }
    }
  }

  matchNode(pattern: OpPattern, node: Node, next: () => boolean): boolean {
    if (!pattern.ops.includes(node.op)) return false;
    const count = node.inputs.length;
    if (!pattern.moreInputs) {
      for (let index = pattern.inputs.length; index < count; index++)
        if (node.input(index) !== null) return false;
    }
    if (pattern.where !== undefined && !pattern.where(node)) return false;
    const { name } = pattern;
    const held = name === undefined ? undefined : this.named.get(name);
    if (held !== undefined && held !== node) return false;
    const before = this.matched.get(node);
    if (name !== undefined) this.named.set(name, node);
    if (before === undefined || before.uses === 'any') this.matched.set(node, pattern);
    const inOrder = (first: number, second: number): boolean =>
      this.matchInputs(pattern, node, 0, [first, second], next);
    if (inOrder(0, 1) || (pattern.commutative && pattern.inputs.length > 1 && inOrder(1, 0))) return true;
    if (name !== undefined && held === undefined) this.named.delete(name);
    if (before === undefined) this.matched.delete(node);
    else this.matched.set(node, before);
    return false;
  }

  matchInputs(
    pattern: OpPattern,
    node: Node,
    index: number,
    order: readonly [number, number],
    next: () => boolean,
  ): boolean {
    if (index === pattern.inputs.length) return next();
    const slot = index < 2 ? (order[index] as number) : index;
    const wanted = pattern.inputs[index] as AnyPatternOf;
    return this.matchValue(wanted, node.input(slot), () =>
      this.matchInputs(pattern, node, index + 1, order, next),
    );
  }

  capture(name: string | undefined, item: Value, next: () => boolean): boolean {
    if (name === undefined) return next();
    const held = this.values.get(name);
    if (held !== undefined) return held === item && next();
    this.values.set(name, item);
    if (next()) return true;
    this.values.delete(name);
    return false;
  }

  scalarHolds(pattern: ScalarPattern, item: Value): boolean {
    const source = constantOf(item);
    if (source === undefined || source.shape.some((dim) => dim !== 1) || source.dtype === 'string')
      return false;
    const tensor = this.small(item);
    if (tensor === undefined) return false;
    if (pattern.value === undefined) return true;
    const number = tensor.toFloat64Array()[0] as number;
    return Math.abs(number - pattern.value) <= pattern.tolerance * Math.max(1, Math.abs(pattern.value));
  }

  /** Whether nothing outside the match reads the nodes that the rule is going to take apart. */
  usesHold(): boolean {
    for (const [node, pattern] of this.matched) {
      if (node === this.root || pattern.uses === 'any') continue;
      for (const output of node.outputs) {
        if (output.outputOf.length > 0) return false;
        for (const use of output.uses) if (!this.matched.has(use.node)) return false;
      }
    }
    return true;
  }
}

function found<T>(item: T | undefined, name: string): T {
  if (item === undefined) throw errors.internal(`the pattern that matched captures no "${name}"`);
  return item;
}

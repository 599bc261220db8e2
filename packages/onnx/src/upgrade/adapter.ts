import type { Attribute } from '@lithe/core';
import { Blocked, type Rewrite } from './rewrite.ts';

/**
 * Brings a node from the form that held before an opset to the form that holds from it on.
 *
 * @throws {Blocked} when that cannot be done without changing what the node computes; nothing is edited then
 */
export type Adapter = (rewrite: Rewrite) => void;

/** The adapters of an operator by the opset that they lead to. */
export type Adapters = Readonly<Record<number, Adapter>>;

/** Adapters by operator. */
export type AdapterTable = Readonly<Record<string, Adapters>>;

/** Turns a list attribute into the input that took its place. */
export function listToInput(name: string, index: number): Adapter {
  return (rewrite) => {
    const values = rewrite.ints(name);
    if (values === undefined) return;
    if (rewrite.node.input(index) !== null) throw new Blocked(`it has "${name}" twice`);
    const value = rewrite.int64s(name, values);
    rewrite.set(name, undefined);
    rewrite.graph.setInput(rewrite.node, index, value);
  };
}

/** Removes attributes that had become meaningless. */
export function drop(...names: readonly string[]): Adapter {
  return (rewrite) => {
    for (const name of names) rewrite.set(name, undefined);
  };
}

/** Writes out a default that changed, where the node relied on it. */
export function keepDefault(name: string, value: Attribute): Adapter {
  return (rewrite) => {
    if (!rewrite.node.attributes.has(name)) rewrite.set(name, value);
  };
}

/** Refuses the step. */
export function blocked(reason: string): Adapter {
  return () => {
    throw new Blocked(reason);
  };
}

import { errors } from '../errors/catalogue.ts';
import type { Node } from '../ir/node.ts';
import type { AttributeSpecs } from './attributes.ts';
import type { AnyOpDef, OpDef } from './op-def.ts';

const keyOf = (domain: string, type: string): string => `${domain}:${type}`;

/**
 * An immutable set of operator definitions, one per (domain, type), passed in wherever operators are looked up.
 * There is no global registry: `opset.with(myOp)` gives a larger set.
 */
export class OpSet {
  readonly #defs: ReadonlyMap<string, AnyOpDef>;

  /**
   * @param definitions the operators
   * @throws {LitheError} OP_CONFLICT when two claim the same domain and type
   */
  constructor(definitions: Iterable<AnyOpDef>) {
    const defs = new Map<string, AnyOpDef>();
    for (const def of definitions) {
      const key = keyOf(def.domain, def.type);
      if (defs.has(key))
        throw errors.opConflict(`Operator "${def.type}" of domain "${def.domain || 'ai.onnx'}"`);
      defs.set(key, def);
    }
    this.#defs = defs;
  }

  /** The definition of an operator, or `undefined`: then it is unknown, a barrier. */
  get(domain: string, type: string): AnyOpDef | undefined {
    return this.#defs.get(keyOf(domain, type));
  }

  /** The definition of a node's operator, or `undefined`. */
  of(node: Node): AnyOpDef | undefined {
    return this.#defs.get(keyOf(node.domain, node.opType));
  }

  /** A new set with more operators. */
  with<S extends AttributeSpecs>(...definitions: readonly OpDef<string, S>[]): OpSet {
    return new OpSet([...this.#defs.values(), ...definitions]);
  }

  /** All definitions. */
  [Symbol.iterator](): IterableIterator<AnyOpDef> {
    return this.#defs.values();
  }

  /** Number of definitions. */
  get size(): number {
    return this.#defs.size;
  }
}

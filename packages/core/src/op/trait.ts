import { errors } from '../errors/catalogue.ts';
import type { Node } from '../ir/node.ts';
import type { AnyOpDef } from './op-def.ts';

/**
 * A kind of knowledge about operators that a plugin owns (its gradient, how axes flow through it, whether it can
 * be quantized). Rules are values in an immutable {@link TraitTable}; third parties add theirs.
 */
export interface Trait<Rule> {
  /** Name, for messages: `training/gradient`. */
  readonly id: string;
  /** Makes an entry for one operator. */
  of(op: Pick<AnyOpDef, 'domain' | 'type'>, rule: Rule): TraitEntry<Rule>;
  /** Makes a table from a total record of `ai.onnx` operators (`'none'` is an explicit no) and further entries. */
  table(
    standard: Readonly<Record<string, Rule | 'none'>>,
    ...more: readonly TraitEntry<Rule>[]
  ): TraitTable<Rule>;
}

/** A rule for one operator. */
export interface TraitEntry<Rule> {
  /** The trait it belongs to. */
  readonly trait: Trait<Rule>;
  /** Operator set; `''` is `ai.onnx`. */
  readonly domain: string;
  /** Operator name. */
  readonly type: string;
  /** The rule. */
  readonly rule: Rule;
}

/** An immutable table of rules. */
export interface TraitTable<Rule> {
  /** The trait. */
  readonly trait: Trait<Rule>;
  /** The rule for a node; `'none'` where the operator's answer is an explicit no; `undefined` where nothing is known. */
  get(node: Pick<Node, 'domain' | 'opType'>): Rule | 'none' | undefined;
  /** A new table with more entries; one that is there already is a conflict. */
  with(...entries: readonly TraitEntry<Rule>[]): TraitTable<Rule>;
}

function makeTable<Rule>(trait: Trait<Rule>, rules: ReadonlyMap<string, Rule | 'none'>): TraitTable<Rule> {
  return {
    trait,
    get: (node) => rules.get(`${node.domain}:${node.opType}`),
    with: (...entries) => {
      const more = new Map(rules);
      for (const entry of entries) {
        const key = `${entry.domain}:${entry.type}`;
        if (more.has(key) && more.get(key) !== 'none')
          throw errors.opConflict(`Trait "${trait.id}" of operator "${key}"`);
        more.set(key, entry.rule);
      }
      return makeTable(trait, more);
    },
  };
}

/**
 * Defines a kind of knowledge about operators.
 *
 * @param id `package/name`, for messages
 */
export function defineTrait<Rule>(id: string): Trait<Rule> {
  const trait: Trait<Rule> = {
    id,
    of: (op, rule) => ({ trait, domain: op.domain, type: op.type, rule }),
    table: (standard, ...more) =>
      makeTable<Rule>(
        trait,
        new Map(Object.entries(standard).map(([type, rule]) => [`:${type}`, rule])),
      ).with(...more),
  };
  return trait;
}

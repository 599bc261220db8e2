import type { Node } from '../ir/node.ts';
import type { Value } from '../ir/value.ts';
import type { DType } from '../tensor/dtype.ts';
import type { TensorSource } from '../tensor/tensor.ts';

/** Matches any value, or with `optional` also an input that is left out. */
export interface AnyPattern {
  /** Tag. */
  readonly kind: 'any';
  /** Name it is captured under. The same name twice in one pattern must be the same value. */
  readonly name: string | undefined;
  /** Whether a left-out input matches too. */
  readonly optional: boolean;
  /** Further condition. */
  readonly where: ((value: Value) => boolean) | undefined;
}

/** Matches a value that is always the same: an initializer no input overrides, or a `Constant`. */
export interface ConstantPattern {
  /** Tag. */
  readonly kind: 'constant';
  /** Name it is captured under. */
  readonly name: string | undefined;
  /** Further condition on dtype and shape; contents are not loaded for it. */
  readonly where: ((source: TensorSource) => boolean) | undefined;
}

/** Matches a constant of one element that is `value` within `tolerance`. */
export interface ScalarPattern {
  /** Tag. */
  readonly kind: 'scalar';
  /** Name it is captured under. */
  readonly name: string | undefined;
  /** The number it must be; `undefined` for any. */
  readonly value: number | undefined;
  /** Largest difference allowed, relative to the larger of `|value|` and 1. */
  readonly tolerance: number;
}

/** Matches the first output of a node, and its inputs by patterns. */
export interface OpPattern {
  /** Tag. */
  readonly kind: 'op';
  /** Operators it may be, as {@link Node.op} prints them: `Add`, `com.microsoft.FusedConv`. */
  readonly ops: readonly string[];
  /** One pattern per input; further inputs of the node must be left out unless `moreInputs`. */
  readonly inputs: readonly AnyPatternOf[];
  /** Name the node is captured under. The same name twice in one pattern must be the same node. */
  readonly name: string | undefined;
  /** Whether the first two inputs may come in either order. */
  readonly commutative: boolean;
  /** `inside`: nothing but matched nodes reads the node, and it is no output. `any`: others may. Not asked of the root. */
  readonly uses: 'inside' | 'any';
  /** Whether the node may have inputs beyond the list. */
  readonly moreInputs: boolean;
  /** Further condition: attributes, output shape. */
  readonly where: ((node: Node) => boolean) | undefined;
}

/** Matches what the first fitting alternative matches; what makes a node optional. */
export interface ChoicePattern {
  /** Tag. */
  readonly kind: 'choice';
  /** The alternatives, tried in order. */
  readonly of: readonly AnyPatternOf[];
}

/** A pattern without its types. */
export type AnyPatternOf = AnyPattern | ConstantPattern | ScalarPattern | OpPattern | ChoicePattern;

/**
 * A pattern over the nodes that compute a value. `ValueName` and `NodeName` are the names it captures, so that a
 * rule can only ask for what its pattern has.
 */
export type Pattern<ValueName extends string = string, NodeName extends string = string> = AnyPatternOf & {
  /** Never present; carries the names. */
  readonly '~names'?: { readonly value: ValueName; readonly node: NodeName };
};

type ValueNames<P> = P extends { readonly '~names'?: { readonly value: infer N } | undefined }
  ? N & string
  : never;
type NodeNames<P> = P extends { readonly '~names'?: { readonly node: infer N } | undefined }
  ? N & string
  : never;

/** Options of {@link op}. */
export interface OpPatternOptions<Name extends string> {
  /** Name the node is captured under. */
  readonly as?: Name | undefined;
  /** Whether the first two inputs may come in either order; by default so for `Add`, `Mul`, `Max`, `Min`, `Sum`. */
  readonly commutative?: boolean | undefined;
  /** Whether others may read the node: `inside` (the default) says no. The root is always free. */
  readonly uses?: 'inside' | 'any' | undefined;
  /** Whether the node may have inputs beyond the list; `false` by default. */
  readonly moreInputs?: boolean | undefined;
  /** Further condition. */
  readonly where?: ((node: Node) => boolean) | undefined;
}

const commutativeOps: ReadonlySet<string> = new Set([
  'Add',
  'Mul',
  'Max',
  'Min',
  'Sum',
  'And',
  'Or',
  'Xor',
  'Equal',
]);

/**
 * Matches a node.
 *
 * @param ops operator or operators, as {@link Node.op} prints them
 * @param inputs one pattern per input
 *
 * @example
 * ```ts
 * import { op, scalar, value } from '@lithe/core';
 *
 * // Clip(x + 3, 0, 6), the middle of a written-out hard-swish
 * const shifted = op('Clip', [op('Add', [value('x'), scalar(3)]), scalar(0), scalar(6)]);
 * shifted.kind; // => 'op'
 * ```
 */
export function op<const Inputs extends readonly AnyPatternOf[], const Name extends string = never>(
  ops: string | readonly string[],
  inputs: Inputs,
  options: OpPatternOptions<Name> = {},
): Pattern<ValueNames<Inputs[number]>, NodeNames<Inputs[number]> | Name> & OpPattern {
  const list = typeof ops === 'string' ? [ops] : ops;
  return {
    kind: 'op',
    ops: list,
    inputs,
    name: options.as,
    commutative: options.commutative ?? list.every((name) => commutativeOps.has(name)),
    uses: options.uses ?? 'inside',
    moreInputs: options.moreInputs ?? false,
    where: options.where,
  };
}

/** Conditions of {@link value}. */
export interface ValuePatternOptions {
  /** Dtypes it may have; a value of unknown dtype does not match. */
  readonly dtypes?: readonly DType[] | undefined;
  /** Further condition. */
  readonly where?: ((value: Value) => boolean) | undefined;
}

/** Matches any value and captures it. */
export function value<const Name extends string>(
  name: Name,
  options: ValuePatternOptions = {},
): Pattern<Name, never> & AnyPattern {
  const { dtypes, where } = options;
  const check = dtypes === undefined ? where : withDTypes(dtypes, where);
  return { kind: 'any', name, optional: false, where: check };
}

function withDTypes(
  dtypes: readonly DType[],
  where: ((value: Value) => boolean) | undefined,
): (value: Value) => boolean {
  return (item) =>
    item.dtype !== undefined && dtypes.includes(item.dtype) && (where === undefined || where(item));
}

/** Matches an input that may be left out; captured where it is there. */
export function optional<const Name extends string>(name: Name): Pattern<Name, never> & AnyPattern {
  return { kind: 'any', name, optional: true, where: undefined };
}

/**
 * Matches a constant and captures it.
 *
 * @param where condition on dtype and shape; contents are not loaded
 */
export function constant<const Name extends string>(
  name: Name,
  where?: (source: TensorSource) => boolean,
): Pattern<Name, never> & ConstantPattern {
  return { kind: 'constant', name, where };
}

/**
 * Matches a constant of one element near `value`.
 *
 * @param value the number; `undefined` for any
 * @param options `tolerance`: largest difference relative to max(|value|, 1), 1e-6 by default; `as`: capture name
 */
export function scalar<const Name extends string = never>(
  value?: number,
  options: { readonly as?: Name | undefined; readonly tolerance?: number | undefined } = {},
): Pattern<Name, never> & ScalarPattern {
  return { kind: 'scalar', name: options.as, value, tolerance: options.tolerance ?? 1e-6 };
}

/** Matches what the first fitting alternative matches. */
export function choice<const Of extends readonly AnyPatternOf[]>(
  ...of: Of
): Pattern<ValueNames<Of[number]>, NodeNames<Of[number]>> & ChoicePattern {
  return { kind: 'choice', of };
}

/** The operators that the root of a pattern can be. */
export function anchorsOf(pattern: AnyPatternOf): readonly string[] {
  if (pattern.kind === 'op') return pattern.ops;
  if (pattern.kind === 'choice') return [...new Set(pattern.of.flatMap(anchorsOf))];
  return [];
}

/** How many nodes above its root a pattern looks. */
export function depthOf(pattern: AnyPatternOf): number {
  if (pattern.kind === 'op')
    return pattern.inputs.reduce((most, input) => Math.max(most, heightOf(input)), 0);
  if (pattern.kind === 'choice') return pattern.of.reduce((most, item) => Math.max(most, depthOf(item)), 0);
  return 0;
}

function heightOf(pattern: AnyPatternOf): number {
  if (pattern.kind === 'op') return 1 + depthOf(pattern);
  if (pattern.kind === 'choice') return pattern.of.reduce((most, item) => Math.max(most, heightOf(item)), 0);
  return 0;
}

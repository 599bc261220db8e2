import { errors } from '../errors/catalogue.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';
import type { ValueType } from './types.ts';

/**
 * An attribute of a node, as ONNX knows them. Integers are `bigint`, because `INT64_MAX` is a legal value. A string
 * that is not valid UTF-8 is carried as `bytes`. `reference` names an attribute of the enclosing function. `opaque`
 * carries what Lithe does not look into (sparse tensors, future kinds) as a serialized `AttributeProto`.
 */
export type Attribute =
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'tensor'; readonly value: TensorSource }
  | { readonly kind: 'graph'; readonly value: Graph }
  | { readonly kind: 'type'; readonly value: ValueType }
  | { readonly kind: 'ints'; readonly value: readonly bigint[] }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensors'; readonly value: readonly TensorSource[] }
  | { readonly kind: 'graphs'; readonly value: readonly Graph[] }
  | { readonly kind: 'types'; readonly value: readonly ValueType[] }
  | { readonly kind: 'reference'; readonly name: string; readonly of: AttributeKind }
  | { readonly kind: 'opaque'; readonly proto: Uint8Array };

/** The kinds of attribute that hold a value of their own. */
export type AttributeKind = Exclude<Attribute['kind'], 'reference' | 'opaque'>;

/** Makes attributes from plain JavaScript values. */
export const attribute = {
  /** A whole number. */
  int: (value: number | bigint): Attribute => ({ kind: 'int', value: BigInt(value) }),
  /** A float32 number. */
  float: (value: number): Attribute => ({ kind: 'float', value: Math.fround(value) }),
  /** A text. */
  string: (value: string): Attribute => ({ kind: 'string', value }),
  /** A tensor. */
  tensor: (value: TensorSource): Attribute => ({ kind: 'tensor', value }),
  /** A subgraph. Its `parent` must be the graph of the node. */
  graph: (value: Graph): Attribute => ({ kind: 'graph', value }),
  /** A list of whole numbers. */
  ints: (value: readonly (number | bigint)[]): Attribute => ({
    kind: 'ints',
    value: value.map((item) => BigInt(item)),
  }),
  /** A list of float32 numbers. */
  floats: (value: readonly number[]): Attribute => ({
    kind: 'floats',
    value: value.map((item) => Math.fround(item)),
  }),
  /** A list of texts. */
  strings: (value: readonly string[]): Attribute => ({ kind: 'strings', value }),
} as const;

/**
 * Converts an integer of a file to a number.
 *
 * @param what what the integer is, for the message
 * @throws {LitheError} VALUE_OUT_OF_RANGE when it does not fit a safe integer
 */
export function toSafeNumber(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number))
    throw errors.valueOutOfRange(what, value, 'the safe integers of JavaScript');
  return number;
}

/** The subgraphs that an attribute holds. */
export function subgraphsOf(value: Attribute): readonly Graph[] {
  if (value.kind === 'graph') return [value.value];
  if (value.kind === 'graphs') return value.value;
  return [];
}

import { errors } from '../errors/catalogue.ts';
import { type Attribute, type AttributeKind, toSafeNumber } from '../ir/attribute.ts';
import type { Graph } from '../ir/graph.ts';
import type { Node } from '../ir/node.ts';
import type { ValueType } from '../ir/types.ts';
import type { TensorSource } from '../tensor/tensor.ts';

/** How one attribute of an operator is read: its kind in files, its JavaScript type, its default. */
export interface AttributeSpec<T> {
  /** Kind in files. */
  readonly kind: AttributeKind;
  /** Whether a node without it is invalid. */
  readonly required: boolean;
  /** What a node without it means; `undefined` where the operator gives no fixed default. */
  readonly default: T;
  /** Reads it. Throws when the kind or value is wrong. */
  read(attribute: Attribute, node: Node, name: string): T;
}

/** Attribute specs of an operator, by name. */
export type AttributeSpecs = Readonly<Record<string, AttributeSpec<unknown>>>;

/** The JavaScript types of an operator's attributes. */
export type AttributesOf<S extends AttributeSpecs> = {
  readonly [K in keyof S]: S[K] extends AttributeSpec<infer T> ? T : never;
};

function wrongKind(node: Node, name: string, wanted: string, got: string): Error {
  return errors.attributeInvalid(node.name, name, `is of kind "${got}", not "${wanted}"`);
}

function spec<T>(
  kind: AttributeKind,
  required: boolean,
  fallback: T,
  read: (attribute: Attribute, node: Node, name: string) => T,
): AttributeSpec<T> {
  return { kind, required, default: fallback, read };
}

const readInt = (value: Attribute, node: Node, name: string): number => {
  if (value.kind !== 'int') throw wrongKind(node, name, 'int', value.kind);
  return toSafeNumber(value.value, `Attribute "${name}" of node "${node.name}"`);
};
const readFloat = (value: Attribute, node: Node, name: string): number => {
  if (value.kind !== 'float') throw wrongKind(node, name, 'float', value.kind);
  return value.value;
};
const readString = (value: Attribute, node: Node, name: string): string => {
  if (value.kind !== 'string') throw wrongKind(node, name, 'string', value.kind);
  return value.value;
};
const readInts = (value: Attribute, node: Node, name: string): readonly number[] => {
  if (value.kind !== 'ints') throw wrongKind(node, name, 'ints', value.kind);
  return value.value.map((item) => toSafeNumber(item, `Attribute "${name}" of node "${node.name}"`));
};
const readFloats = (value: Attribute, node: Node, name: string): readonly number[] => {
  if (value.kind !== 'floats') throw wrongKind(node, name, 'floats', value.kind);
  return value.value;
};
const readStrings = (value: Attribute, node: Node, name: string): readonly string[] => {
  if (value.kind !== 'strings') throw wrongKind(node, name, 'strings', value.kind);
  return value.value;
};

/**
 * Specs for the attribute tables of operators. Whole numbers are read as `number` and must be safe integers; an
 * operator with 64-bit values reads `node.attributes` itself.
 */
export const attr = {
  /** A whole number with a default. */
  int: (fallback: number): AttributeSpec<number> => spec('int', false, fallback, readInt),
  /** A whole number that must be there. */
  requiredInt: (): AttributeSpec<number> => spec('int', true, 0, readInt),
  /** A whole number that may be left out. */
  optionalInt: (): AttributeSpec<number | undefined> =>
    spec<number | undefined>('int', false, undefined, readInt),
  /** A 0/1 number read as a boolean. */
  flag: (fallback: boolean): AttributeSpec<boolean> =>
    spec('int', false, fallback, (value, node, name) => readInt(value, node, name) !== 0),
  /** A number with a default. */
  float: (fallback: number): AttributeSpec<number> => spec('float', false, fallback, readFloat),
  /** A number that must be there. */
  requiredFloat: (): AttributeSpec<number> => spec('float', true, 0, readFloat),
  /** A number that may be left out. */
  optionalFloat: (): AttributeSpec<number | undefined> =>
    spec<number | undefined>('float', false, undefined, readFloat),
  /** A text with a default. */
  string: (fallback: string): AttributeSpec<string> => spec('string', false, fallback, readString),
  /** A text that must be there. */
  requiredString: (): AttributeSpec<string> => spec('string', true, '', readString),
  /** One of a fixed set of texts, with a default. */
  oneOf: <const T extends string>(values: readonly T[], fallback: NoInfer<T>): AttributeSpec<T> =>
    spec('string', false, fallback, (value, node, name) => {
      const text = readString(value, node, name);
      const found = values.find((item) => item === text);
      if (found === undefined)
        throw errors.attributeInvalid(node.name, name, `is "${text}", not one of ${values.join(', ')}`);
      return found;
    }),
  /** One of a fixed set of texts that must be there. */
  requiredOneOf: <const T extends string>(values: readonly T[]): AttributeSpec<T> => ({
    ...attr.oneOf(values, values[0] as NoInfer<T>),
    required: true,
  }),
  /** A text that may be left out. */
  optionalString: (): AttributeSpec<string | undefined> =>
    spec<string | undefined>('string', false, undefined, readString),
  /** A list of whole numbers that may be left out. */
  optionalInts: (): AttributeSpec<readonly number[] | undefined> =>
    spec<readonly number[] | undefined>('ints', false, undefined, readInts),
  /** A list of whole numbers that must be there. */
  requiredInts: (): AttributeSpec<readonly number[]> => spec<readonly number[]>('ints', true, [], readInts),
  /** A list of numbers that may be left out. */
  optionalFloats: (): AttributeSpec<readonly number[] | undefined> =>
    spec<readonly number[] | undefined>('floats', false, undefined, readFloats),
  /** A list of texts that may be left out. */
  optionalStrings: (): AttributeSpec<readonly string[] | undefined> =>
    spec<readonly string[] | undefined>('strings', false, undefined, readStrings),
  /** A tensor that may be left out. */
  optionalTensor: (): AttributeSpec<TensorSource | undefined> =>
    spec<TensorSource | undefined>('tensor', false, undefined, (value, node, name) => {
      if (value.kind !== 'tensor') throw wrongKind(node, name, 'tensor', value.kind);
      return value.value;
    }),
  /** A type that may be left out. */
  optionalType: (): AttributeSpec<ValueType | undefined> =>
    spec<ValueType | undefined>('type', false, undefined, (value, node, name) => {
      if (value.kind !== 'type') throw wrongKind(node, name, 'type', value.kind);
      return value.value;
    }),
  /** An attribute that is allowed but not looked into (sparse tensors). */
  ignored: (): AttributeSpec<undefined> => spec('tensor', false, undefined, () => undefined),
  /** A subgraph that must be there. */
  graph: (): AttributeSpec<Graph | undefined> =>
    spec<Graph | undefined>('graph', true, undefined, (value, node, name) => {
      if (value.kind !== 'graph') throw wrongKind(node, name, 'graph', value.kind);
      return value.value;
    }),
} as const;

/**
 * Reads the attributes of a node by its operator's specs, with defaults applied.
 *
 * @param resolve gives what an attribute of the enclosing function stands for in a call; `undefined` when the call
 *   leaves it out. Without it a reference is an error
 * @throws {LitheError} ATTRIBUTE_INVALID when one is missing, of the wrong kind or has a value that is not allowed
 */
export function readAttributes<S extends AttributeSpecs>(
  node: Node,
  specs: S,
  resolve?: (name: string) => Attribute | undefined,
): AttributesOf<S> {
  const read: Record<string, unknown> = {};
  for (const name of Object.keys(specs)) {
    const wanted = specs[name] as AttributeSpec<unknown>;
    const own = node.attributes.get(name);
    const found = own?.kind === 'reference' && resolve !== undefined ? resolve(own.name) : own;
    if (found === undefined) {
      if (wanted.required)
        throw errors.attributeInvalid(node.name, name, `is missing; operator ${node.op} requires it`);
      read[name] = wanted.default;
    } else if (found.kind === 'reference') {
      throw errors.attributeInvalid(
        node.name,
        name,
        `refers to function attribute "${found.name}" and has no value here`,
      );
    } else read[name] = wanted.read(found, node, name);
  }
  return read as AttributesOf<S>;
}

import type { Attribute, Node, Value } from '@lithe/core';
import { type SchemaRow, schemaTable, typeSets } from './schema-table.ts';

/** An input or output of an operator. */
export interface Parameter {
  /** Parameters of one label have one type; `''` for a type of its own. */
  readonly label: string;
  /** Types it may have: dtypes, `seq`, `optional`, … */
  readonly types: ReadonlySet<string>;
  /** Whether it may be left out, or stands for any number. */
  readonly arity: 'one' | 'optional' | 'many' | 'mixed';
}

/** One version of an operator of `ai.onnx`. */
export interface Schema {
  /** Opset that it came with. */
  readonly since: number;
  /** Inputs. */
  readonly inputs: readonly Parameter[];
  /** Outputs. */
  readonly outputs: readonly Parameter[];
  /** Kinds of the attributes by name. */
  readonly attributes: ReadonlyMap<string, string>;
  /** Attributes that must be given. */
  readonly required: readonly string[];
}

/**
 * The definition of an operator that holds at an opset.
 *
 * @returns `undefined` when the operator is unknown, did not exist yet, or was dropped
 */
export function schemaAt(opType: string, opset: number): Schema | undefined {
  const rows = Object.hasOwn(schemaTable, opType) ? schemaTable[opType] : undefined;
  let found: SchemaRow | undefined;
  for (const row of rows ?? []) if (row[0] <= opset) found = row;
  return found === undefined || found.length === 1 ? undefined : parse(found);
}

/** Opsets at which an operator got a new definition (or was dropped), oldest first; empty for an unknown one. */
export function versionsOf(opType: string): readonly number[] {
  return Object.hasOwn(schemaTable, opType) ? (schemaTable[opType] ?? []).map((row) => row[0]) : [];
}

const parsed: WeakMap<SchemaRow, Schema> = new WeakMap();
const arities = { '': 'one', '?': 'optional', '*': 'many', '+': 'mixed' } as const;
const parsedSets: ReadonlySet<string>[] = [];

function parse(row: Exclude<SchemaRow, readonly [number]>): Schema {
  const known = parsed.get(row);
  if (known !== undefined) return known;
  const attributes = new Map<string, string>();
  const required: string[] = [];
  for (const item of row[3] === '' ? [] : row[3].split(' ')) {
    const [name, kind] = item.split(':') as [string, string];
    attributes.set(name, kind.charAt(0));
    if (kind.endsWith('!')) required.push(name);
  }
  const schema = {
    since: row[0],
    inputs: parameters(row[1]),
    outputs: parameters(row[2]),
    attributes,
    required,
  };
  parsed.set(row, schema);
  return schema;
}

function parameters(text: string): readonly Parameter[] {
  if (text === '') return [];
  return text.split(' ').map((item) => {
    const [, label = '', set = '', arity = ''] = /^(.*):(\d+)([?*+]?)$/.exec(item) ?? [];
    return { label, types: typeSet(Number(set)), arity: arities[arity as keyof typeof arities] };
  });
}

function typeSet(index: number): ReadonlySet<string> {
  parsedSets[index] ??= new Set((typeSets[index] ?? '').split(' '));
  return parsedSets[index] as ReadonlySet<string>;
}

/** The parameter that a position stands for; the last one repeats when it may. */
export function parameterAt(list: readonly Parameter[], index: number): Parameter | undefined {
  const last = list.at(-1);
  if (index < list.length) return list[index];
  return last?.arity === 'many' || last?.arity === 'mixed' ? last : undefined;
}

/** The letter that the table uses for an attribute's kind; `undefined` for one carried as bytes. */
export function kindLetter(attribute: Attribute): string | undefined {
  const kind = attribute.kind === 'reference' ? attribute.of : attribute.kind;
  if (kind === 'opaque') return undefined;
  if (kind === 'bytes') return 's';
  const letters = { int: 'i', float: 'f', string: 's', tensor: 't', graph: 'g', type: 'y' } as const;
  if (kind in letters) return letters[kind as keyof typeof letters];
  return kind === 'types' ? 'Y' : kind.charAt(0).toUpperCase();
}

/** What the definitions say something about: a node, or how one is going to be written. */
export type NodeForm = Pick<Node, 'inputs' | 'outputs' | 'attributes'>;

/** What the table calls the type of a value; `undefined` when it is not known. */
export type TypeNamer = (value: Value) => string | undefined;

/** The type that a value is declared to have. */
export function declaredType(value: Value): string | undefined {
  const { type } = value;
  if (type === undefined || type.kind === 'opaque') return undefined;
  if (type.kind === 'tensor') return type.dtype;
  return type.kind === 'sequence' ? 'seq' : 'optional';
}

/**
 * Compares a node with a definition.
 *
 * @returns what does not fit, or `undefined`. Unknown types are taken to fit.
 */
export function schemaProblem(node: NodeForm, schema: Schema, typeOf: TypeNamer): string | undefined {
  for (const [name, value] of node.attributes) {
    const kind = schema.attributes.get(name);
    if (kind === undefined) return `it has no attribute "${name}"`;
    const letter = kindLetter(value);
    if (letter !== undefined && letter !== kind) return `its attribute "${name}" is of another kind`;
  }
  for (const name of schema.required)
    if (!node.attributes.has(name)) return `it needs the attribute "${name}"`;
  const bound = new Map<string, string>();
  return (
    listProblem('input', node.inputs, schema.inputs, bound, typeOf) ??
    listProblem(
      'output',
      node.outputs.map((value) => (value.name === '' ? null : value)),
      schema.outputs,
      bound,
      typeOf,
    )
  );
}

function listProblem(
  what: 'input' | 'output',
  values: readonly (Value | null)[],
  list: readonly Parameter[],
  bound: Map<string, string>,
  typeOf: TypeNamer,
): string | undefined {
  for (let index = 0; index < Math.max(values.length, list.length); index++) {
    const value = values[index] ?? null;
    const parameter = parameterAt(list, index);
    if (parameter === undefined) {
      if (value === null) continue;
      return `it has no ${what} ${index}`;
    }
    if (value === null) {
      if (what === 'input' && parameter.arity === 'one') return `it needs input ${index}`;
      continue;
    }
    const type = typeOf(value);
    if (type === undefined) continue;
    if (!parameter.types.has(type)) return `its ${what} ${index} cannot be ${type}`;
    if (parameter.label === '' || parameter.arity === 'mixed') continue;
    const first = bound.get(parameter.label);
    if (first === undefined) bound.set(parameter.label, type);
    else if (first !== type) return `its ${what} ${index} is ${type} where another is ${first}`;
  }
  return undefined;
}

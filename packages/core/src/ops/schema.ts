import { invariant } from '../errors/catalogue.ts';
import type { Graph } from '../ir/graph.ts';
import type { ValueType } from '../ir/types.ts';
import { type AttributeSpec, type AttributeSpecs, type AttributesOf, attr } from '../op/attributes.ts';
import type { AnyOpDef, CostContext, InferContext, OpDef, ParameterSpec } from '../op/op-def.ts';
import { type DType, dtypes } from '../tensor/dtype.ts';
import type { TensorSource } from '../tensor/tensor.ts';

/** Groups of dtypes by the words that the operator tables use. */
const dtypeGroups: Readonly<Record<string, readonly DType[]>> = {
  float: ['float32', 'float64', 'float16'],
  int: ['int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'],
  number: [
    ...['float32', 'float64', 'float16', 'bfloat16', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16'],
    ...['uint32', 'uint64'],
  ] as DType[],
  complex: ['complex64', 'complex128'],
  float8: ['float8e4m3fn', 'float8e4m3fnuz', 'float8e5m2', 'float8e5m2fnuz'],
  fourbit: ['int4', 'uint4'],
  any: [
    ...['float32', 'float64', 'float16', 'bfloat16', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16'],
    ...['uint32', 'uint64', 'bool', 'complex64', 'complex128', 'string'],
  ] as DType[],
  all: [],
};

/**
 * How a table notes an attribute: kind with `?` (may be left out) or `!` (must be there), or kind and default.
 * `flag` is a 0/1 number, `one` one of the texts that follow, the first being the default; `one!` has no default.
 */
export type AttributeNotation =
  | 'int?'
  | 'int!'
  | 'float?'
  | 'float!'
  | 'string?'
  | 'string!'
  | 'ints?'
  | 'ints!'
  | 'floats?'
  | 'strings?'
  | 'tensor?'
  | 'sparse?'
  | 'type?'
  | 'graph!'
  | readonly ['int', number]
  | readonly ['flag', boolean]
  | readonly ['float', number]
  | readonly ['string', string]
  | readonly ['one' | 'one!', string, ...string[]]
  | readonly ['ints', ...number[]]
  | readonly ['strings', ...string[]];

interface NotedTypes {
  'int?': number | undefined;
  'int!': number;
  'float?': number | undefined;
  'float!': number;
  'string?': string | undefined;
  'string!': string;
  'ints?': readonly number[] | undefined;
  'ints!': readonly number[];
  'floats?': readonly number[] | undefined;
  'strings?': readonly string[] | undefined;
  'tensor?': TensorSource | undefined;
  'sparse?': undefined;
  'type?': ValueType | undefined;
  'graph!': Graph | undefined;
}

/** The JavaScript type that an {@link AttributeNotation} stands for. */
export type TypeOfNotation<N> = N extends keyof NotedTypes
  ? NotedTypes[N]
  : N extends readonly ['int' | 'float', number]
    ? number
    : N extends readonly ['flag', boolean]
      ? boolean
      : N extends readonly ['string', string]
        ? string
        : N extends readonly ['one' | 'one!', ...infer Texts extends readonly string[]]
          ? Texts[number]
          : N extends readonly ['ints', ...unknown[]]
            ? readonly number[]
            : N extends readonly ['strings', ...unknown[]]
              ? readonly string[]
              : never;

/** Names of the attributes without which a node is invalid. */
export type RequiredAttributes<A> = {
  [K in keyof A]: A[K] extends `${string}!` | readonly ['one!', ...unknown[]] ? K : never;
}[keyof A];

/**
 * One operator in a table. `inputs` and `outputs` list parameters as `name:type`, where the type is a variable of
 * `types`, a dtype or a group of dtypes; a `?` behind it makes it optional, `*` stands for any number of one dtype,
 * `**` for any number of any types.
 */
export interface OpSchema {
  /** Opset of its domain in which this form came in. */
  readonly since: number;
  /** Formal inputs. */
  readonly inputs: string;
  /** Formal outputs. */
  readonly outputs: string;
  /** Dtypes, or groups of them, by type variable. */
  readonly types?: Readonly<Record<string, string>>;
  /** Attributes. */
  readonly attributes?: Readonly<Record<string, AttributeNotation>>;
  /** Whether equal inputs always give equal outputs; yes by default. */
  readonly deterministic?: boolean;
}

/** A table of operators, by name. */
export type OpSchemas = Readonly<Record<string, OpSchema>>;

/** The attribute specs of one entry of a table. */
export type SpecsOf<S extends OpSchema> = S extends { readonly attributes: infer A }
  ? { readonly [K in keyof A & string]: AttributeSpec<TypeOfNotation<A[K]>> }
  : Record<never, never>;

/** The rules of one operator: its shape rule alone, or with its cost rule. */
export type OpRules<A> =
  | ((context: InferContext<A>) => void)
  | {
      /** Sets the output types. */
      infer(context: InferContext<A>): void;
      /** Multiply-accumulates of a node. */
      macs?(context: CostContext<A>): number;
    };

/** The definitions that a table and its rules make. */
export type OpFamily<S extends OpSchemas> = { readonly [K in keyof S & string]: OpDef<K, SpecsOf<S[K]>> };

/** Rules for every operator of a table. */
export type FamilyRules<S extends OpSchemas> = {
  readonly [K in keyof S & string]: OpRules<AttributesOf<SpecsOf<S[K]>>>;
};

function dtypesOf(words: string): readonly DType[] {
  return words.split(' ').flatMap((word) => dtypeGroups[word] ?? (word in dtypes ? [word as DType] : []));
}

function parametersOf(text: string, types: Readonly<Record<string, string>>): readonly ParameterSpec[] {
  if (text === '') return [];
  return text.split(' ').map((item) => {
    const [, name, type, mark] = /^(\w+):(\w+)(\?|\*\*|\*)?$/.exec(item) ?? [];
    invariant(name !== undefined && type !== undefined, `"${item}" is no parameter`);
    const words = types[type];
    return {
      name,
      dtypes: dtypesOf(words ?? type),
      ...(words === undefined ? {} : { variable: type }),
      ...(mark === '?' ? { optional: true } : {}),
      ...(mark === '*' ? { variadic: 'same' as const } : mark === '**' ? { variadic: 'any' as const } : {}),
    };
  });
}

function specOf(notation: AttributeNotation): AttributeSpec<unknown> {
  if (typeof notation === 'string') return plainSpecs[notation]();
  const [kind, ...rest] = notation;
  switch (kind) {
    case 'int':
      return attr.int(rest[0] as number);
    case 'flag':
      return attr.flag(rest[0] as boolean);
    case 'float':
      return attr.float(rest[0] as number);
    case 'string':
      return attr.string(rest[0] as string);
    case 'one':
      return attr.oneOf(rest as string[], rest[0] as string);
    case 'one!':
      return attr.requiredOneOf(rest as string[]);
    case 'ints':
      return { ...attr.optionalInts(), default: rest };
    case 'strings':
      return { ...attr.optionalStrings(), default: rest };
  }
}

const plainSpecs: Readonly<Record<Extract<AttributeNotation, string>, () => AttributeSpec<unknown>>> = {
  'int?': attr.optionalInt,
  'int!': attr.requiredInt,
  'float?': attr.optionalFloat,
  'float!': attr.requiredFloat,
  'string?': attr.optionalString,
  'string!': attr.requiredString,
  'ints?': attr.optionalInts,
  'ints!': attr.requiredInts,
  'floats?': attr.optionalFloats,
  'strings?': attr.optionalStrings,
  'tensor?': attr.optionalTensor,
  'sparse?': attr.ignored,
  'type?': attr.optionalType,
  'graph!': attr.graph,
};

/** Makes operator definitions from a table and the rules for each of its operators. */
export function opFamily<S extends OpSchemas>(schemas: S, rules: FamilyRules<S>, domain = ''): OpFamily<S> {
  const family: Record<string, AnyOpDef> = {};
  for (const [type, schema] of Object.entries(schemas)) {
    const rule = rules[type] as OpRules<never>;
    const attributes: Record<string, AttributeSpec<unknown>> = {};
    for (const [name, notation] of Object.entries(schema.attributes ?? {}))
      attributes[name] = specOf(notation);
    family[type] = {
      domain,
      type,
      since: schema.since,
      inputs: parametersOf(schema.inputs, schema.types ?? {}),
      outputs: parametersOf(schema.outputs, schema.types ?? {}),
      attributes: attributes as AttributeSpecs,
      deterministic: schema.deterministic ?? true,
      ...((typeof rule === 'function' ? { infer: rule } : rule) as Pick<AnyOpDef, 'infer' | 'macs'>),
    };
  }
  return family as OpFamily<S>;
}

import { formsOf, type JsonSchema } from './issues.ts';

/** An option of a pass, for people. */
export interface OptionType {
  /** Its name. */
  readonly name: string;
  /** What it takes: `integer ≥ 1`, `qdq | qoperator`, `list of string`. */
  readonly type: string;
  /** What holds without it: a value as JSON, `must be given`, or nothing when the pass decides. */
  readonly standard: string;
}

/** The options that a JSON Schema allows, in its order. */
export function optionTypes(schema: JsonSchema): readonly OptionType[] {
  const required = Array.isArray(schema['required']) ? schema['required'] : [];
  const properties = (schema['properties'] ?? {}) as Readonly<Record<string, JsonSchema>>;
  return Object.entries(properties).map(([name, property]) => ({
    name,
    type: typeText(property, schema) || 'anything',
    standard:
      property['default'] !== undefined
        ? JSON.stringify(property['default'])
        : required.includes(name)
          ? 'must be given'
          : '',
  }));
}

/** Levels of objects and lists that are written out. */
const MAX_DEPTH = 3;

/** What a schema takes, in a few words; nothing for what data cannot be, such as a function. */
function typeText(schema: JsonSchema, root: JsonSchema, depth = 0): string {
  const { type, enum: choices, properties, items, additionalProperties: rest } = schema;
  if ('const' in schema) return wordOf(schema['const']);
  if (Array.isArray(choices)) return choices.map(wordOf).join(' | ');
  if (type === undefined) {
    // Forms of forms are among them already.
    const forms = formsOf(schema, root).filter((form) => 'type' in form || 'enum' in form || 'const' in form);
    return [...new Set(forms.map((form) => typeText(form, root, depth)).filter((text) => text !== ''))].join(
      ' | ',
    );
  }
  if (type === 'integer' || type === 'number') return `${type}${rangeText(schema)}`;
  if (type === 'array') {
    const inner = isSchema(items) && depth < MAX_DEPTH ? typeText(items, root, depth + 1) : '';
    return inner === '' ? 'list' : `list of ${inner.includes(' | ') ? `(${inner})` : inner}`;
  }
  if (type !== 'object') return String(type);
  const keys = Object.entries((properties ?? {}) as Readonly<Record<string, JsonSchema>>);
  if (keys.length > 0) {
    const named = keys.map(([key, one]) => ('const' in one ? `${key}: ${wordOf(one['const'])}` : key));
    return `{ ${named.join(', ')} }`;
  }
  const inner = isSchema(rest) && depth < MAX_DEPTH ? typeText(rest, root, depth + 1) : '';
  return inner === '' ? 'map' : `map of ${inner.includes(' | ') ? `(${inner})` : inner}`;
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null;
}

function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Bounds, without those that every integer has. */
function rangeText(schema: JsonSchema): string {
  const bounds = [
    ['≥', schema['minimum']],
    ['>', schema['exclusiveMinimum']],
    ['≤', schema['maximum']],
    ['<', schema['exclusiveMaximum']],
  ] as const;
  const texts = bounds.flatMap(([sign, bound]) =>
    typeof bound === 'number' && Math.abs(bound) < Number.MAX_SAFE_INTEGER ? [`${sign} ${bound}`] : [],
  );
  return texts.length === 0 ? '' : ` ${texts.join(', ')}`;
}

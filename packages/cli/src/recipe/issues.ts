import type { StandardOptions } from '@lithe/core';
import type { DocumentPath, RecipeDocument, RecipeProblem } from './document.ts';

/** An issue of any Standard Schema; zod's have more to tell. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
  readonly code?: string;
  readonly keys?: readonly string[];
  readonly errors?: readonly (readonly SchemaIssue[])[];
  readonly issues?: readonly SchemaIssue[];
}

/** What is known about a schema: for messages that list what is allowed. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** The JSON Schema of what a Standard Schema takes, where its library can tell. */
export function jsonSchemaOf(schema: StandardOptions<unknown, unknown>): JsonSchema | undefined {
  const standard: object = schema['~standard'];
  if (!('jsonSchema' in standard)) return undefined;
  try {
    const { input } = standard.jsonSchema as { input: (options: object) => JsonSchema };
    return input({ target: 'draft-2020-12', libraryOptions: { unrepresentable: 'any' } });
  } catch {
    // Not every schema can be written as one; then messages say less.
    return undefined;
  }
}

/**
 * What a schema found wrong, each with its place in the document.
 *
 * @param base where in the document the checked value stands
 * @param schema what is allowed, for hints
 */
export function problemsOf(
  issues: readonly SchemaIssue[],
  document: RecipeDocument,
  base: DocumentPath,
  schema: JsonSchema | undefined,
): RecipeProblem[] {
  return issues
    .flatMap((issue) => flatten(issue, []))
    .flatMap(({ issue, path }) => {
      const full = [...base, ...path];
      if (issue.code === 'unrecognized_keys' && issue.keys !== undefined) {
        const allowed = schema === undefined ? [] : keysAt(schema, path);
        return issue.keys.map((key) => ({
          ...document.keyPlaceOf([...full, key]),
          message: unknownText('key', key, allowed),
        }));
      }
      const name = path.length === 0 ? '' : `"${path.join('.')}": `;
      const message = /[.!?]$/.test(issue.message) ? issue.message : `${issue.message}.`;
      const place = issue.code === 'invalid_key' ? document.keyPlaceOf(full) : document.placeOf(full);
      return [{ ...place, message: `${name}${message}` }];
    });
}

/** "Unknown key "epoch"; did you mean "epochs"? Known are …." */
export function unknownText(what: string, name: string, known: readonly string[]): string {
  const close = closest(name, known);
  const guess = close === undefined ? '' : ` Did you mean "${close}"?`;
  const list = known.length === 0 ? '' : ` Known are ${known.map((one) => `"${one}"`).join(', ')}.`;
  return `There is no ${what} "${name}" here.${guess}${list}`;
}

/** The name that was probably meant: at most two letters differ, and fewer than half of them. */
export function closest(name: string, known: readonly string[]): string | undefined {
  const short = name.slice(0, 64).toLowerCase();
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const candidate of known) {
    const distance = letterDistance(short, candidate.slice(0, 64).toLowerCase());
    if (
      distance <= Math.max(1, Math.min(2, Math.floor(short.length / 2.5))) &&
      distance < (best?.distance ?? 3)
    )
      best = { name: candidate, distance };
  }
  return best?.name;
}

function letterDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 0; i < left.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < right.length; j++) {
      const same = left[i] === right[j] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + same, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}

interface Flat {
  readonly issue: SchemaIssue;
  readonly path: DocumentPath;
}

/**
 * Of a choice between forms, the issues of the form that was probably meant: the one whose kind of value fits. Where
 * several fit, keys that none of them has.
 */
function flatten(issue: SchemaIssue, outer: DocumentPath): Flat[] {
  const path = [
    ...outer,
    ...(issue.path ?? []).map((part) => {
      const key = typeof part === 'object' ? part.key : part;
      return typeof key === 'number' ? key : String(key);
    }),
  ];
  if (issue.code === 'invalid_key')
    return (issue.issues ?? []).map(({ message }) => ({ issue: { code: 'invalid_key', message }, path }));
  const forms = issue.errors ?? [];
  if (issue.code !== 'invalid_union' || forms.length === 0) return [{ issue, path }];
  const fitting = forms.filter(
    (form) => !form.some((inner) => inner.code === 'invalid_type' && (inner.path ?? []).length === 0),
  );
  const [meant, another] = fitting;
  if (meant !== undefined && another === undefined) return meant.flatMap((inner) => flatten(inner, path));
  const keysOf = (form: readonly SchemaIssue[]): readonly string[] =>
    form.flatMap((inner) => (inner.path?.length === 0 ? (inner.keys ?? []) : []));
  const strange =
    meant === undefined
      ? []
      : keysOf(meant).filter((key) => fitting.every((form) => keysOf(form).includes(key)));
  if (strange.length > 0) return [{ issue: { code: 'unrecognized_keys', message: '', keys: strange }, path }];
  const texts = [...new Set(forms.flat().map((inner) => inner.message))];
  return [{ issue: { message: texts.length === 0 ? issue.message : texts.join('; or ') }, path }];
}

/** Keys that a JSON Schema allows in the object at a path. */
function keysAt(schema: JsonSchema, path: DocumentPath): readonly string[] {
  let places: readonly JsonSchema[] = formsOf(schema, schema);
  for (const part of path) {
    places = places.flatMap((place) => {
      const next =
        typeof part === 'number'
          ? place['items']
          : ((place['properties'] as Record<string, unknown> | undefined)?.[part] ??
            place['additionalProperties']);
      return typeof next === 'object' && next !== null ? formsOf(next as JsonSchema, schema) : [];
    });
  }
  return [
    ...new Set(places.flatMap((place) => Object.keys((place['properties'] as object | undefined) ?? {}))),
  ];
}

/** A schema and what it refers to or chooses between. */
export function formsOf(schema: JsonSchema, root: JsonSchema, depth = 0): readonly JsonSchema[] {
  if (depth > 8) return [];
  const { $ref: reference, anyOf, oneOf, allOf } = schema;
  if (typeof reference === 'string') {
    const [, name] = /^#\/\$defs\/(.+)$/.exec(reference) ?? [];
    const target =
      name === undefined ? undefined : (root['$defs'] as Record<string, JsonSchema> | undefined)?.[name];
    return target === undefined ? [] : formsOf(target, root, depth + 1);
  }
  const inner = [anyOf, oneOf, allOf].flatMap((list) => (Array.isArray(list) ? (list as JsonSchema[]) : []));
  return [schema, ...inner.flatMap((one) => formsOf(one, root, depth + 1))];
}

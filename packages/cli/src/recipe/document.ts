import { errors } from '@lithe/core';
import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  type ParsedNode,
  Parser,
  type Scalar,
} from 'yaml';

/** A place in a text; lines and columns count from 1. */
export interface Place {
  /** Line. */
  readonly line: number;
  /** Column. */
  readonly column: number;
}

/** Something wrong with a recipe, and where. */
export interface RecipeProblem extends Place {
  /** What is wrong and what is allowed, as sentences. */
  readonly message: string;
}

/** Keys and indices that lead to a part of a document. */
export type DocumentPath = readonly (string | number)[];

/** A YAML or JSON document as plain data that knows where in the text each part stands. */
export interface RecipeDocument {
  /** The data: maps as objects, lists as arrays. */
  readonly value: unknown;
  /** Where the part at `path` stands; that of the nearest part around it where there is none. */
  placeOf(path: DocumentPath): Place;
  /** Where the key of the part at `path` stands. */
  keyPlaceOf(path: DocumentPath): Place;
}

/** Largest text that is read. Recipes are written by hand; megabytes would keep the parser busy for minutes. */
const MAX_BYTES = 256 * 1024;

/** Deepest nesting. The parser's composer is recursive, and thousands of levels would end the process. */
const MAX_DEPTH = 64;

/** Most values, those behind aliases counted each time: a few lines of aliases of aliases stand for billions. */
const MAX_VALUES = 20_000;

/**
 * Reads a YAML 1.2 document, of which JSON is a part, in bounded time and memory.
 *
 * @param name what the text is called in messages
 * @throws {LitheError} RECIPE_INVALID when it is not well-formed, holds keys twice or tags, or is too large
 */
export function parseDocument(text: string, name: string): RecipeDocument {
  const size = Buffer.byteLength(text);
  if (size > MAX_BYTES)
    throw errors.recipeInvalid(name, [
      { line: 1, column: 1, message: `The text has ${size} bytes; at most ${MAX_BYTES} are read.` },
    ]);
  const lines = new LineCounter();
  const fail = (offset: number, message: string): Error =>
    errors.recipeInvalid(name, [{ ...placeAt(lines, offset), message }]);
  const document = compose(text, lines, fail);
  const { contents } = document;
  if (contents === null) throw fail(0, 'The text is empty.');
  const places = new Map<string, Place>();
  const keyPlaces = new Map<string, Place>();
  const walk = new Walk(
    (path, offset) => places.set(JSON.stringify(path), placeAt(lines, offset)),
    (path, offset) => keyPlaces.set(JSON.stringify(path), placeAt(lines, offset)),
    fail,
  );
  const value = walk.value(contents, []);
  const nearest = (known: ReadonlyMap<string, Place>, path: DocumentPath): Place | undefined => {
    for (let length = path.length; length >= 0; length--) {
      const key = JSON.stringify(path.slice(0, length));
      const place = (length === path.length ? known.get(key) : undefined) ?? places.get(key);
      if (place !== undefined) return place;
    }
    return undefined;
  };
  const start = { line: 1, column: 1 };
  return {
    value,
    placeOf: (path) => nearest(places, path) ?? start,
    keyPlaceOf: (path) => nearest(keyPlaces, path) ?? start,
  };
}

function placeAt(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** Tokens are taken one by one, so that nesting is known before anything recursive sees it. */
function compose(
  text: string,
  lines: LineCounter,
  fail: (offset: number, message: string) => Error,
): Document<ParsedNode> {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tokens = [];
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    if (parser.stack.length > MAX_DEPTH)
      throw fail(parser.offset, `It is nested more than ${MAX_DEPTH} levels deep.`);
  }
  tokens.push(...parser.end());
  // Keys that are there twice are found by the walk, in linear time.
  const composer = new Composer({ lineCounter: lines, uniqueKeys: false, logLevel: 'silent' });
  const [document, another] = [...composer.compose(tokens, true, text.length)] as Document<ParsedNode>[];
  if (document === undefined) throw fail(0, 'The text is empty.');
  for (const { message, pos } of [...document.errors, ...document.warnings])
    throw fail(pos[0], sentence(message));
  if (another !== undefined)
    throw fail(another.contents?.range[0] ?? 0, 'A recipe is one document; a second one begins here.');
  if (document.directives?.yaml.version !== '1.2')
    throw fail(0, 'A recipe is YAML 1.2; leave out the directive.');
  return document;
}

const sentence = (message: string): string => (/[.!?]$/.test(message) ? message : `${message}.`);

/** Turns nodes into plain data, and notes where each stands. */
class Walk {
  readonly #note: (path: DocumentPath, offset: number) => void;
  readonly #noteKey: (path: DocumentPath, offset: number) => void;
  readonly #fail: (offset: number, message: string) => Error;
  readonly #anchors = new Map<string, Node>();
  readonly #open = new Set<Node>();
  #count = 0;

  constructor(
    note: (path: DocumentPath, offset: number) => void,
    noteKey: (path: DocumentPath, offset: number) => void,
    fail: (offset: number, message: string) => Error,
  ) {
    this.#note = note;
    this.#noteKey = noteKey;
    this.#fail = fail;
  }

  value(node: Node | null, path: DocumentPath): unknown {
    const offset = node?.range?.[0] ?? 0;
    if (++this.#count > MAX_VALUES)
      throw this.#fail(offset, `It holds more than ${MAX_VALUES} values, those behind aliases counted.`);
    if (node === null) return null;
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target === undefined) throw this.#fail(offset, `There is no anchor "&${node.source}" before this.`);
      if (this.#open.has(target)) throw this.#fail(offset, `"*${node.source}" holds itself.`);
      return this.value(target, path);
    }
    this.#note(path, offset);
    if (isScalar(node)) return this.#scalar(node);
    this.#open.add(node);
    const anchor = isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, node);
    const value = isMap(node)
      ? this.#map(node.items as Pair<Node, Node | null>[], path)
      : isSeq(node)
        ? node.items.map((item, index) => this.value(item as Node | null, [...path, index]))
        : undefined;
    this.#open.delete(node);
    return value;
  }

  #scalar(node: Scalar): unknown {
    const { value, range, source } = node;
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    const exact =
      typeof value !== 'number' ||
      (Number.isInteger(value) ? Number.isSafeInteger(value) : Number.isFinite(value));
    if (!exact)
      throw this.#fail(
        range?.[0] ?? 0,
        `"${source ?? String(value)}" is no number that can be held exactly.`,
      );
    return value;
  }

  #map(pairs: readonly Pair<Node, Node | null>[], path: DocumentPath): Record<string, unknown> {
    const entries = new Map<string, unknown>();
    for (const { key, value } of pairs) {
      const offset = key.range?.[0] ?? 0;
      if (!isScalar(key) || key.value === null || typeof key.value === 'object')
        throw this.#fail(offset, 'A key must be a plain name.');
      const name = String(key.value);
      // As a key of an object it would be left aside without a word.
      if (name === '__proto__') throw this.#fail(offset, 'A key cannot be "__proto__".');
      if (entries.has(name)) throw this.#fail(offset, `The key "${name}" is there twice.`);
      const own = [...path, name];
      this.#noteKey(own, offset);
      if (value === null) this.#note(own, offset);
      entries.set(name, this.value(value, own));
    }
    return Object.fromEntries(entries);
  }
}

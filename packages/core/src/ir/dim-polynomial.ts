import type { Dim } from './types.ts';

/** Longest expression that is kept; beyond it a size counts as unknown. */
const MAX_TEXT = 200;
/** Most terms of a polynomial that is kept. */
const MAX_TERMS = 24;
/** Separates the atoms of a monomial; no dim text contains it. */
export const JOIN = '\u0000';

/** Integer polynomial: coefficient by monomial, a monomial being its sorted atoms; `''` is the constant term. */
export type Polynomial = ReadonlyMap<string, number>;

export const constant = (value: number): Polynomial => new Map(value === 0 ? [] : [['', value]]);
const atom = (text: string): Polynomial => new Map([[text, 1]]);

export function combine(left: Polynomial, right: Polynomial, factor: number): Polynomial | null {
  const sum = new Map(left);
  for (const [monomial, coefficient] of right) {
    const value = (sum.get(monomial) ?? 0) + factor * coefficient;
    if (!Number.isSafeInteger(value)) return null;
    if (value === 0) sum.delete(monomial);
    else sum.set(monomial, value);
  }
  return sum.size > MAX_TERMS ? null : sum;
}

export function product(left: Polynomial, right: Polynomial): Polynomial | null {
  if (left.size * right.size > MAX_TERMS * 4) return null;
  let sum: Polynomial = new Map();
  for (const [first, factor] of left) {
    const scaled = new Map<string, number>();
    for (const [second, coefficient] of right) {
      const value = factor * coefficient;
      if (!Number.isSafeInteger(value)) return null;
      const atoms =
        first === ''
          ? second
          : second === ''
            ? first
            : [...first.split(JOIN), ...second.split(JOIN)].sort().join(JOIN);
      scaled.set(atoms, value);
    }
    const next = combine(sum, scaled, 1);
    if (next === null) return null;
    sum = next;
  }
  return sum;
}

/** The value of a polynomial that has none but a constant term. */
function constantOfPolynomial(value: Polynomial): number | undefined {
  if (value.size === 0) return 0;
  return value.size === 1 ? value.get('') : undefined;
}

const plainSymbol = /^(?!-?\d+$)[^\s()+*/,`]+$/;
export const isCall = (text: string): boolean => /^(floor|min|max)\(/.test(text);

/** How an atom stands inside a larger expression: file symbols with odd characters are quoted. */
function embed(text: string): string {
  return plainSymbol.test(text) || isCall(text) ? text : `\`${text}\``;
}

function renderMonomial(monomial: string, coefficient: number): string {
  const atoms = monomial.split(JOIN).map(embed).join('*');
  return coefficient === 1 ? atoms : `${coefficient}*${atoms}`;
}

/** Canonical text of a polynomial, positive terms first, the constant last; `null` when it is too long. */
export function render(value: Polynomial): Dim {
  const fixed = constantOfPolynomial(value);
  if (fixed !== undefined) return fixed;
  if (value.size === 1) {
    const [[monomial, coefficient]] = [...value] as [[string, number]];
    if (coefficient === 1 && !monomial.includes(JOIN)) return monomial.length > MAX_TEXT ? null : monomial;
  }
  const terms = [...value]
    .filter(([monomial]) => monomial !== '')
    .sort(([left], [right]) => (left < right ? -1 : 1));
  const ordered = [...terms.filter(([, factor]) => factor > 0), ...terms.filter(([, factor]) => factor < 0)];
  let text = '';
  for (const [monomial, coefficient] of ordered) {
    if (text === '') text = renderMonomial(monomial, coefficient);
    else text += `${coefficient < 0 ? ' - ' : ' + '}${renderMonomial(monomial, Math.abs(coefficient))}`;
  }
  const last = value.get('') ?? 0;
  if (last !== 0) text += `${last < 0 ? ' - ' : ' + '}${Math.abs(last)}`;
  return text.length > MAX_TEXT || text.split('`').length > 9 ? null : text;
}

/**
 * Reader of canonical expressions. Anything else is a symbol of a file, taken as one atom. With `calls: 'kept'` calls
 * are atoms as they stand, for text that is known to be canonical: each is then read once, not once per level.
 */
class Reader {
  readonly #text: string;
  readonly #tokens: readonly string[];
  readonly #starts: readonly number[];
  readonly #calls: 'kept' | 'made';
  #at = 0;

  constructor(text: string, calls: 'kept' | 'made') {
    const found = [...text.matchAll(/`[^`]*`|[^\s()+*/,`]+|\S/g)];
    this.#text = text;
    this.#tokens = found.map((item) => item[0]);
    this.#starts = found.map((item) => item.index);
    this.#calls = calls;
  }

  read(): Polynomial | null {
    const value = this.#sum();
    return this.#at === this.#tokens.length ? value : null;
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  #sum(): Polynomial | null {
    let value = this.#term();
    while (value !== null) {
      if (this.#take('+')) value = this.#joined(value, 1);
      else if (this.#take('-')) value = this.#joined(value, -1);
      else break;
    }
    return value;
  }

  #joined(left: Polynomial, sign: number): Polynomial | null {
    const right = this.#term();
    return right === null ? null : combine(left, right, sign);
  }

  #term(): Polynomial | null {
    let value = this.#factor();
    while (value !== null && this.#take('*')) {
      const right = this.#factor();
      value = right === null ? null : product(value, right);
    }
    return value;
  }

  #factor(): Polynomial | null {
    const token = this.#tokens[this.#at++];
    if (token === undefined) return null;
    if (/^-?\d+$/.test(token)) return Number.isSafeInteger(Number(token)) ? constant(Number(token)) : null;
    if (token.startsWith('`')) return token.length > 2 ? atom(token.slice(1, -1)) : null;
    if (!plainSymbol.test(token) || token === '-') return null;
    if (this.#tokens[this.#at] !== '(') return atom(token);
    if (this.#calls === 'kept') return this.#call();
    if (token === 'floor') return this.#floor();
    return token === 'min' || token === 'max' ? this.#extreme(token) : null;
  }

  /** A call as it stands, up to its closing bracket. */
  #call(): Polynomial | null {
    const start = this.#starts[this.#at - 1];
    let depth = 0;
    for (; this.#at < this.#tokens.length; this.#at++) {
      if (this.#tokens[this.#at] === '(') depth++;
      if (this.#tokens[this.#at] === ')' && --depth === 0) {
        const end = this.#starts[this.#at++] as number;
        return atom(this.#text.slice(start, end + 1));
      }
    }
    return null;
  }

  #floor(): Polynomial | null {
    this.#at++;
    const inner = this.#take('(') ? this.#sum() : this.#term();
    if (this.#tokens[this.#at] === ')' && this.#tokens[this.#at + 1] === '/') this.#at++;
    if (inner === null || !this.#take('/')) return null;
    const divisor = Number(this.#tokens[this.#at++]);
    return this.#take(')') && Number.isSafeInteger(divisor) && divisor > 1 ? floored(inner, divisor) : null;
  }

  #extreme(which: 'min' | 'max'): Polynomial | null {
    this.#at++;
    const left = this.#sum();
    if (left === null || !this.#take(',')) return null;
    const right = this.#sum();
    return right !== null && this.#take(')') ? extreme(which, left, right) : null;
  }
}

export function parse(dim: number | string): Polynomial {
  if (typeof dim === 'number') return constant(dim);
  if (!/[ (*`]/.test(dim) || dim.length > MAX_TEXT) return atom(dim);
  const value = new Reader(dim, 'made').read();
  // Only text in our own canonical form is taken apart: "batch size" or "H/2" in a file is a name, not a formula.
  return value !== null && render(value) === dim ? value : atom(dim);
}

/** The largest number that divides both. */
export function greatestCommonDivisor(left: number, right: number): number {
  let [a, b] = [Math.abs(left), Math.abs(right)];
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** `floor(value / divisor)` with whole parts taken out, common factors cancelled and nested floors joined. */
export function floored(value: Polynomial, divisor: number): Polynomial | null {
  const whole = new Map<string, number>();
  const rest = new Map<string, number>();
  let common = divisor;
  for (const [monomial, coefficient] of value) {
    const quotient = Math.floor(coefficient / divisor);
    const remainder = coefficient - quotient * divisor;
    if (quotient !== 0) whole.set(monomial, quotient);
    if (remainder !== 0) rest.set(monomial, remainder);
    if (monomial !== '') common = greatestCommonDivisor(common, remainder);
  }
  const fixed = constantOfPolynomial(rest);
  if (fixed !== undefined) return whole;
  const reduced = new Map(
    [...rest].map(([monomial, coefficient]) => [monomial, Math.floor(coefficient / common)] as const),
  );
  if (reduced.get('') === 0) reduced.delete('');
  const by = divisor / common;
  if (by === 1) return combine(whole, reduced, 1);
  const joined = joinNested(reduced, by);
  if (joined !== undefined) return joined === null ? null : combine(whole, joined, 1);
  const text = render(reduced);
  if (text === null) return null;
  const inner = reduced.size > 1 ? `(${text})` : embedDim(text);
  return combine(whole, atom(`floor(${inner}/${by})`), 1);
}

function embedDim(text: Dim): string {
  const written = String(text);
  return plainSymbol.test(written) || isCall(written) || /\*/.test(written) ? written : `\`${written}\``;
}

/** floor((floor(p / a) + k) / b) = floor((p + k*a) / (a*b)). */
function joinNested(value: Polynomial, divisor: number): Polynomial | null | undefined {
  const terms = [...value].filter(([monomial]) => monomial !== '');
  const [first] = terms;
  if (first === undefined || terms.length !== 1 || first[1] !== 1 || first[0].includes(JOIN))
    return undefined;
  const [, body, text] = /^floor\((.*)\/(\d+)\)$/.exec(first[0]) ?? [];
  if (body === undefined || text === undefined) return undefined;
  const inner = new Reader(
    body.startsWith('(') && body.endsWith(')') ? body.slice(1, -1) : body,
    'kept',
  ).read();
  const by = Number(text);
  if (inner === null || !Number.isSafeInteger(by * divisor)) return undefined;
  const moved = combine(inner, constant((value.get('') ?? 0) * by), 1);
  return moved === null ? null : floored(moved, by * divisor);
}

/** A number that the value is never below: sizes are never negative. */
export function lowerBound(value: Polynomial): number {
  let bound = 0;
  for (const [monomial, coefficient] of value) {
    if (monomial === '') bound += coefficient;
    else if (coefficient < 0) return -Infinity;
    else {
      const bounds = monomial.split(JOIN).map(atomBound);
      // A product with a factor that may be negative has no simple bound.
      if (bounds.some((least) => least < 0)) return -Infinity;
      bound += coefficient * bounds.reduce((least, factor) => least * factor, 1);
    }
  }
  return bound;
}

function atomBound(text: string): number {
  const operands = isCall(text) ? operandsOf(text) : undefined;
  if (operands === undefined) return 0;
  const bounds = operands.map(lowerBound);
  if (text.startsWith('max')) return Math.max(...bounds);
  if (text.startsWith('min')) return Math.min(...bounds);
  return Math.floor((bounds[0] as number) / Number(/\/(\d+)\)$/.exec(text)?.[1]));
}

export function extreme(which: 'min' | 'max', left: Polynomial, right: Polynomial): Polynomial | null {
  const difference = combine(right, left, -1);
  if (difference === null) return null;
  if (lowerBound(difference) >= 0) return which === 'min' ? left : right;
  const reverse = combine(left, right, -1);
  if (reverse !== null && lowerBound(reverse) >= 0) return which === 'min' ? right : left;
  const texts = [render(left), render(right)];
  if (texts.includes(null)) return null;
  const [first, second] = (texts as (string | number)[])
    .map((text) =>
      typeof text === 'number' || new Reader(text, 'kept').read() !== null ? String(text) : embed(text),
    )
    .sort(
      (one, other) => Number(/^-?\d+$/.test(other)) - Number(/^-?\d+$/.test(one)) || (one < other ? -1 : 1),
    );
  return atom(`${which}(${first}, ${second})`);
}

export function operandsOf(text: string): readonly Polynomial[] | undefined {
  const floor = /^floor\((.*)\/\d+\)$/.exec(text);
  if (floor !== null) {
    const body = floor[1] as string;
    const inner = new Reader(
      body.startsWith('(') && body.endsWith(')') ? body.slice(1, -1) : body,
      'kept',
    ).read();
    return inner === null ? undefined : [inner];
  }
  if (!/^(min|max)\(.*\)$/.test(text)) return undefined;
  const body = text.slice(4, -1);
  let depth = 0;
  for (let index = 0; index < body.length; index++) {
    const char = body[index];
    if (char === '(') depth++;
    else if (char === ')') depth--;
    else if (char === ',' && depth === 0) {
      const [left, right] = [
        new Reader(body.slice(0, index), 'kept').read(),
        new Reader(body.slice(index + 1), 'kept').read(),
      ];
      return left === null || right === null ? undefined : [left, right];
    }
  }
  return undefined;
}

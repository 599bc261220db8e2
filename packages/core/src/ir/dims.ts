import {
  combine,
  extreme,
  floored,
  greatestCommonDivisor,
  isCall,
  JOIN,
  lowerBound,
  operandsOf,
  type Polynomial,
  parse,
  product,
  render,
} from './dim-polynomial.ts';
import type { Dim } from './types.ts';

function apply(
  left: Dim,
  right: Dim,
  numbers: (left: number, right: number) => number,
  polynomials: (left: Polynomial, right: Polynomial) => Polynomial | null,
): Dim {
  if (left === null || right === null) return null;
  if (typeof left === 'number' && typeof right === 'number') {
    const value = numbers(left, right);
    return Number.isSafeInteger(value) ? value + 0 : null;
  }
  const value = polynomials(parse(left), parse(right));
  return value === null ? null : render(value);
}

/** `left + right`. `null` when one is unknown or the result too large. */
export function addDims(left: Dim, right: Dim): Dim {
  return apply(
    left,
    right,
    (a, b) => a + b,
    (a, b) => combine(a, b, 1),
  );
}

/** `left - right`. `null` when one is unknown or the result too large. */
export function subtractDims(left: Dim, right: Dim): Dim {
  return apply(
    left,
    right,
    (a, b) => a - b,
    (a, b) => combine(a, b, -1),
  );
}

/** `left * right`. 0 times an unknown size is 0. */
export function multiplyDims(left: Dim, right: Dim): Dim {
  if (left === 0 || right === 0) return 0;
  return apply(left, right, (a, b) => a * b, product);
}

/** The product of sizes; 1 for none. */
export function productOfDims(dims: readonly Dim[]): Dim {
  let value: Dim = 1;
  if (dims.includes(0)) return 0;
  for (const dim of dims) value = multiplyDims(value, dim);
  return value;
}

/**
 * `floor(dim / divisor)`.
 *
 * @param divisor a positive whole number
 */
export function floorDivideDim(dim: Dim, divisor: number): Dim {
  if (dim === null || !Number.isSafeInteger(divisor) || divisor < 1) return null;
  if (typeof dim === 'number') return Math.floor(dim / divisor);
  const value = floored(parse(dim), divisor);
  return value === null ? null : render(value);
}

/**
 * `ceil(dim / divisor)`.
 *
 * @param divisor a positive whole number
 */
export function ceilDivideDim(dim: Dim, divisor: number): Dim {
  return floorDivideDim(addDims(dim, divisor - 1), divisor);
}

/**
 * `left / right` where the division is known to leave nothing over.
 *
 * @returns the quotient; `null` when that is not known; `undefined` when the division of two numbers does leave a rest
 */
export function divideDims(left: Dim, right: Dim): Dim | undefined {
  if (left === null || right === null || right === 0) return null;
  if (left === right) return 1;
  if (typeof left === 'number' && typeof right === 'number')
    return left % right === 0 ? left / right : undefined;
  const [numerator, denominator] = [parse(left), parse(right)];
  const lead = [...denominator].at(0) as [string, number];
  for (const [monomial, coefficient] of numerator) {
    const factor = monomialQuotient(monomial, lead[0]);
    if (factor === undefined || coefficient % lead[1] !== 0) continue;
    const quotient = new Map([[factor, coefficient / lead[1]]]);
    if (denominator.size === 1) return dividedBy(numerator, lead);
    const back = product(quotient, denominator);
    if (back !== null && combine(numerator, back, -1)?.size === 0) return render(quotient);
  }
  return null;
}

function dividedBy(value: Polynomial, [monomial, coefficient]: readonly [string, number]): Dim {
  const quotient = new Map<string, number>();
  for (const [term, factor] of value) {
    const rest = monomialQuotient(term, monomial);
    if (rest === undefined || factor % coefficient !== 0) return null;
    quotient.set(rest, factor / coefficient);
  }
  return render(quotient);
}

function monomialQuotient(whole: string, part: string): string | undefined {
  if (part === '') return whole;
  const atoms = whole.split(JOIN);
  for (const text of part.split(JOIN)) {
    const index = atoms.indexOf(text);
    if (index < 0) return undefined;
    atoms.splice(index, 1);
  }
  return atoms.join(JOIN);
}

/** The smaller of two sizes. */
export function minDims(left: Dim, right: Dim): Dim {
  return apply(left, right, Math.min, (a, b) => extreme('min', a, b));
}

/** The larger of two sizes. */
export function maxDims(left: Dim, right: Dim): Dim {
  return apply(left, right, Math.max, (a, b) => extreme('max', a, b));
}

/**
 * The size of an axis whose operands broadcast, by the rules of ONNX.
 *
 * @returns the size; `null` when it is not known; `undefined` when the two can not be broadcast
 */
export function broadcastDims(left: Dim, right: Dim): Dim | undefined {
  if (left === right) return left;
  if (left === 1) return right;
  if (right === 1) return left;
  if (typeof left === 'number' && typeof right === 'number') return undefined;
  if (typeof left === 'number') return left;
  if (typeof right === 'number') return right;
  // A size that is never 1 is what the other, if it differs, is stretched to.
  if (isNeverOne(left)) return left;
  return isNeverOne(right) ? right : null;
}

/** Whether a size is known not to be 1: at least 2, or a multiple of a number. */
function isNeverOne(dim: Dim): boolean {
  if (typeof dim !== 'string') return false;
  const value = parse(dim);
  if (lowerBound(value) >= 2) return true;
  const coefficients = [...value.values()];
  return coefficients.reduce(greatestCommonDivisor) > 1;
}

/**
 * What is known of one size from two sources. A number wins over a symbol, a symbol over nothing.
 *
 * @returns the size; `undefined` when the two contradict each other
 */
export function mergeDims(left: Dim, right: Dim): Dim | undefined {
  if (left === right || right === null) return left;
  if (left === null) return right;
  if (typeof left === 'number') return typeof right === 'number' ? undefined : left;
  if (typeof right === 'number') return right;
  return sameDim(left, right) === false ? undefined : left;
}

/** Whether two sizes are the same: `undefined` when that is not known. */
export function sameDim(left: Dim, right: Dim): boolean | undefined {
  if (left === null || right === null) return undefined;
  if (left === right) return true;
  const difference = subtractDims(left, right);
  return typeof difference === 'number' ? difference === 0 : undefined;
}

/** Whether a size is known to be at least `least`, given that symbols are sizes and so never negative. */
export function isAtLeast(dim: Dim, least: number): boolean {
  if (dim === null) return false;
  return typeof dim === 'number' ? dim >= least : lowerBound(parse(dim)) >= least;
}

/** The symbols that an expression is made of. */
export function symbolsOf(dim: Dim): readonly string[] {
  if (typeof dim !== 'string') return [];
  const found = new Set<string>();
  collect(parse(dim), found);
  return [...found];
}

function collect(value: Polynomial, found: Set<string>): void {
  for (const monomial of value.keys()) {
    if (monomial === '') continue;
    for (const text of monomial.split(JOIN)) {
      const operands = isCall(text) ? operandsOf(text) : undefined;
      if (operands === undefined) found.add(text);
      else for (const operand of operands) collect(operand, found);
    }
  }
}

/**
 * The number that a size stands for.
 *
 * @param symbols the value of each symbol
 * @returns `undefined` when a symbol has no value
 */
export function evaluateDim(dim: Dim, symbols: Readonly<Record<string, number>>): number | undefined {
  if (dim === null || typeof dim === 'number') return dim ?? undefined;
  const direct = Object.hasOwn(symbols, dim) ? symbols[dim] : undefined;
  return direct ?? evaluate(parse(dim), symbols);
}

function evaluate(value: Polynomial, symbols: Readonly<Record<string, number>>): number | undefined {
  let sum = 0;
  for (const [monomial, coefficient] of value) {
    let term = coefficient;
    for (const text of monomial === '' ? [] : monomial.split(JOIN)) {
      const factor = evaluateAtom(text, symbols);
      if (factor === undefined) return undefined;
      term *= factor;
    }
    sum += term;
  }
  return sum;
}

function evaluateAtom(text: string, symbols: Readonly<Record<string, number>>): number | undefined {
  if (Object.hasOwn(symbols, text)) return symbols[text];
  const operands = isCall(text) ? operandsOf(text) : undefined;
  if (operands === undefined) return undefined;
  const values = operands.map((operand) => evaluate(operand, symbols));
  if (values.includes(undefined)) return undefined;
  if (text.startsWith('floor'))
    return Math.floor((values[0] as number) / Number(/\/(\d+)\)$/.exec(text)?.[1]));
  return text.startsWith('min') ? Math.min(...(values as number[])) : Math.max(...(values as number[]));
}

import { dtypes, isFloat, Tensor } from '@lithe/core';
import type { ReferenceValue } from '@lithe/core/reference';

/** How far a result may be from the expected one: `|a - e| <= absolute + relative |e|`. */
export interface Tolerance {
  /** Absolute part. */
  readonly absolute: number;
  /** Relative part. */
  readonly relative: number;
}

/** What is wrong with a result, or `undefined` when it is as expected. */
export function differenceOf(
  actual: ReferenceValue | null,
  expected: ReferenceValue,
  tolerance: Tolerance,
): string | undefined {
  if (actual === null) return 'there is no result';
  if (expected instanceof Tensor) {
    if (!(actual instanceof Tensor)) return `a ${actual.kind} instead of a tensor`;
    return tensorDifference(actual, expected, tolerance);
  }
  if (actual instanceof Tensor) return `a tensor instead of a ${expected.kind}`;
  if (expected.kind === 'optional' || actual.kind === 'optional') {
    // A model may declare an optional output and give what it holds: the value files then hold it bare.
    const wanted = expected.kind === 'optional' ? expected.value : expected;
    const given = actual.kind === 'optional' ? actual.value : actual;
    if (wanted === null || given === null) return wanted === given ? undefined : 'one of the two is absent';
    return differenceOf(given, wanted, tolerance);
  }
  if (actual.items.length !== expected.items.length)
    return `${actual.items.length} items instead of ${expected.items.length}`;
  for (let index = 0; index < expected.items.length; index++) {
    const found = differenceOf(
      actual.items[index] ?? null,
      expected.items[index] as ReferenceValue,
      tolerance,
    );
    if (found !== undefined) return `item ${index}: ${found}`;
  }
  return undefined;
}

function tensorDifference(
  actual: Tensor,
  expected: Tensor,
  { absolute, relative }: Tolerance,
): string | undefined {
  if (actual.dtype !== expected.dtype || actual.shape.join() !== expected.shape.join()) {
    return `${actual.toString()} instead of ${expected.toString()}`;
  }
  if (actual.dtype === 'string') {
    const [texts, wanted] = [actual.data as readonly string[], expected.data as readonly string[]];
    const at = wanted.findIndex((text, index) => text !== texts[index]);
    return at < 0 ? undefined : `"${texts[at]}" instead of "${wanted[at]}" at ${at}`;
  }
  if (dtypes[actual.dtype].category === 'complex') return 'complex numbers are not compared';
  const [values, wanted] = [actual.toFloat64Array(), expected.toFloat64Array()];
  const slack = isFloat(actual.dtype) ? { absolute, relative } : { absolute: 0, relative: 0 };
  for (let index = 0; index < wanted.length; index++) {
    const [value, want] = [values[index] as number, wanted[index] as number];
    if (Object.is(value, want) || value === want) continue;
    if (Number.isNaN(value) && Number.isNaN(want)) continue;
    if (!(Math.abs(value - want) <= slack.absolute + slack.relative * Math.abs(want))) {
      return `${value} instead of ${want} at ${index} of ${wanted.length}`;
    }
  }
  return undefined;
}

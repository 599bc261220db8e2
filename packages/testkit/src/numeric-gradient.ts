/**
 * The gradient of a function of many numbers, by central differences in float64: the oracle of gradient rules.
 *
 * @param f gives a scalar; called twice per element of `at`
 * @param at where; not changed
 * @param step relative size of the difference; the cube root of the float64 epsilon by default, which balances the
 *   error of the method (square of the step) with rounding (epsilon over the step)
 *
 * @example
 * ```ts
 * import { numericGradient } from '@lithe/testkit';
 *
 * const gradient = await numericGradient((x) => x[0]! ** 2 + 3 * x[1]!, new Float64Array([2, 5]));
 * Math.round(gradient[0]!); // => 4
 * Math.round(gradient[1]!); // => 3
 * ```
 */
export async function numericGradient(
  f: (values: Float64Array) => number | Promise<number>,
  at: Float64Array,
  step: number = Math.cbrt(Number.EPSILON),
): Promise<Float64Array> {
  const gradient = new Float64Array(at.length);
  const moved = Float64Array.from(at);
  for (let index = 0; index < at.length; index++) {
    const value = at[index] as number;
    const size = step * Math.max(1, Math.abs(value));
    moved[index] = value + size;
    // What was really added: value + size is rounded.
    const up = (moved[index] as number) - value;
    const above = await f(moved);
    moved[index] = value - size;
    const down = value - (moved[index] as number);
    const below = await f(moved);
    moved[index] = value;
    gradient[index] = (above - below) / (up + down);
  }
  return gradient;
}

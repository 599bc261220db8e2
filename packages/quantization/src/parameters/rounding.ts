/**
 * Adding and subtracting this number rounds a float64 of magnitude below 2^51 to the nearest integer, ties to even:
 * above 2^52 the float64 grid is the integers, and addition itself rounds half to even. Hot loops write the two
 * operations out (`value + HALF_EVEN - HALF_EVEN`), which is several times as fast as `Math.round` with a correction.
 */
export const HALF_EVEN = 6755399441055744; // 1.5 * 2^52

/** Rounds to the nearest integer, ties to even, as IEEE 754 `roundToIntegralTiesToEven`. */
export function roundHalfEven(value: number): number {
  return Math.abs(value) < 2 ** 51 ? value + HALF_EVEN - HALF_EVEN : value;
}

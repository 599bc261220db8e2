/**
 * The mean of ratios: the root of their product, so that twice as fast and half as fast are 1 together, and that of A
 * beside B is that of A beside C over that of B beside C. Equal ratios give exactly that ratio; `undefined` of nothing.
 *
 * @param ratios above 0
 */
export function geometricMean(ratios: readonly number[]): number | undefined {
  const [first] = ratios;
  if (first === undefined) return undefined;
  const logarithms = ratios.reduce((sum, ratio) => sum + Math.log(ratio / first), 0);
  return first * Math.exp(logarithms / ratios.length);
}

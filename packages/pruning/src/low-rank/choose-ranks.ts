import type { Factorization } from './factorization.ts';
import type { SingularValues } from './singular-values.ts';

/** A layer that may be taken apart, with its decomposition. */
export interface Candidate {
  /** How. */
  readonly factorization: Factorization;
  /** Its singular values and vectors. */
  readonly svd: SingularValues;
  /** Share of its multiplications that it must save to be taken apart. */
  readonly smallestSaving: number;
}

/** How ranks are chosen. */
export type RankRule =
  | { readonly energy: number }
  | { readonly ratio: number }
  | { readonly macs?: number | undefined; readonly parameters?: number | undefined };

/** What is lost to rounding of weights in float32: energy below this is not told from none. */
const ROUNDING = 1e-12;

/** The smallest rank that keeps a share of the squared singular values. */
export function rankForEnergy(values: Float64Array, energy: number): number {
  let total = 0;
  for (const value of values) total += value * value;
  const allowed = Math.max(1 - energy, ROUNDING) * total;
  let [tail, rank] = [0, values.length];
  while (rank > 1) {
    tail += values[rank - 1]! ** 2;
    if (tail > allowed) break;
    rank--;
  }
  return rank;
}

/** The share of the squared singular values that a rank keeps; 1 for a matrix of zeros. */
export function energyOf(values: Float64Array, rank: number): number {
  let [kept, total] = [0, 0];
  for (let index = 0; index < values.length; index++) {
    const square = values[index]! ** 2;
    total += square;
    if (index < rank) kept += square;
  }
  return total === 0 ? 1 : kept / total;
}

/**
 * Whether two parts of a rank save multiplications of the layer: any, or at least its smallest share.
 */
export function saves({ factorization, smallestSaving }: Candidate, rank: number): boolean {
  const { macs, macsPerRank } = factorization;
  return rank * macsPerRank < macs && rank * macsPerRank <= (1 - smallestSaving) * macs;
}

/** The largest rank that {@link saves}; 0 when none does. */
export function largestSavingRank(candidate: Candidate): number {
  const { macs, macsPerRank } = candidate.factorization;
  let rank = Math.floor(macs / macsPerRank);
  while (rank > 0 && !saves(candidate, rank)) rank--;
  return rank;
}

/** Multiplications and elements that a choice of ranks saves. */
export function savingOf(
  candidates: readonly Candidate[],
  ranks: readonly number[],
): { readonly macs: number; readonly parameters: number } {
  let [macs, parameters] = [0, 0];
  for (const [index, candidate] of candidates.entries()) {
    const rank = ranks[index]!;
    if (!saves(candidate, rank)) continue;
    const { factorization } = candidate;
    macs += factorization.macs - rank * factorization.macsPerRank;
    parameters += factorization.parameters - rank * factorization.parametersPerRank;
  }
  return { macs, parameters };
}

/**
 * Chooses a rank for each candidate. A budget is met by the largest energy, the same for all, that saves enough.
 *
 * @param excess what has to be saved, for a budget
 * @returns the ranks, and whether they save enough
 */
export function chooseRanks(
  candidates: readonly Candidate[],
  rule: RankRule,
  excess: { readonly macs: number; readonly parameters: number },
): { readonly ranks: readonly number[]; readonly met: boolean } {
  const byEnergy = (energy: number): readonly number[] =>
    candidates.map(({ svd }) => rankForEnergy(svd.values, energy));
  if ('energy' in rule) return { ranks: byEnergy(rule.energy), met: true };
  if ('ratio' in rule) {
    const ranks = candidates.map(({ svd }) => Math.max(1, Math.round(rule.ratio * svd.values.length)));
    return { ranks, met: true };
  }
  const meets = (ranks: readonly number[]): boolean => {
    const saving = savingOf(candidates, ranks);
    return saving.macs >= excess.macs && saving.parameters >= excess.parameters;
  };
  let [low, high] = [0, 1];
  if (meets(byEnergy(high))) return { ranks: byEnergy(high), met: true };
  for (let round = 0; round < 50; round++) {
    const middle = (low + high) / 2;
    if (meets(byEnergy(middle))) low = middle;
    else high = middle;
  }
  const ranks = byEnergy(low);
  return { ranks, met: meets(ranks) };
}

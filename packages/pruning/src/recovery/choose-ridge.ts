import type { ResidualMoments, SplitMoments } from './residual-moments.ts';
import { aboutMean, change, groupMoments, type LayerSize, shift, solveGroup } from './ridge.ts';

/** From small to large: at 1 hardly a weight moves. */
const CANDIDATES = [1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1];

/** Candidates that are passed over where there are fewer positions than ten times the inputs, and a fit follows noise. */
const SMALLEST = 2;

interface Trial {
  readonly covariance: Float64Array;
  readonly cross: Float64Array;
  readonly heldCovariance: Float64Array;
  readonly heldCross: Float64Array;
}

/** The sums that are fitted, and those that tell how well: both from the means of the former, which are a part of the fit. */
function trialOf(
  layer: LayerSize,
  { all, held }: { readonly all: ResidualMoments; readonly held: ResidualMoments },
  options: { readonly group: number; readonly hasBias: boolean },
): Trial {
  const test = groupMoments(layer, held, options.group);
  const train = groupMoments(layer, all, options.group, test);
  if (options.hasBias) {
    const count = all.count - held.count;
    const [x, e] = [aboutMean(train.inputSum, count), aboutMean(train.residualSum, count)];
    shift(train.covariance, x, x, count);
    shift(train.cross, e, x, count);
    const heldX = { sum: test.inputSum, origin: x.origin };
    const heldE = { sum: test.residualSum, origin: e.origin };
    shift(test.covariance, heldX, heldX, held.count);
    shift(test.cross, heldE, heldX, held.count);
  }
  const { covariance, cross } = train;
  return { covariance, cross, heldCovariance: test.covariance, heldCross: test.cross };
}

/**
 * The ridge with which a fit to the positions that were not held out comes closest to those that were. The error falls and
 * rises with the ridge, so the search ends where it rises: well-determined layers are solved twice.
 *
 * @param hasBias whether there is a bias to correct as well
 * @returns a share of the mean square of an input; `undefined` where nothing was held out
 * @see Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition, sections 3.4.1 and 7.2
 */
export function chooseRidge(
  layer: LayerSize,
  { all, held }: SplitMoments,
  options: { readonly hasBias: boolean; readonly signal: AbortSignal },
): number | undefined {
  if (held === undefined) return undefined;
  const { inputs, groups } = layer;
  const trials = Array.from({ length: groups }, (_, group) =>
    trialOf(layer, { all, held }, { group, hasBias: options.hasBias }),
  );
  let best: number | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const ridge of all.count < 10 * inputs ? CANDIDATES.slice(SMALLEST) : CANDIDATES) {
    options.signal.throwIfAborted();
    let error = 0;
    for (const { covariance, cross, heldCovariance, heldCross } of trials) {
      const { weight } = solveGroup(covariance, cross, inputs, ridge);
      error += change(weight, heldCovariance, heldCross, inputs);
    }
    if (!(error < least)) break;
    best = ridge;
    least = error;
  }
  return best;
}

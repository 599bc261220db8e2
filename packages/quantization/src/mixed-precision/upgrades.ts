/** One way to treat a layer. */
export interface LayerChoice {
  /** Name of the layer. */
  readonly layer: string;
  /** Name of the format. */
  readonly format: string;
  /** Cost that it saves against float. */
  readonly saved: number;
  /** Drift that it causes by itself. */
  readonly drift: number;
}

/** A step from one format of a layer to a cheaper one. */
export interface Upgrade {
  /** Name of the layer. */
  readonly layer: string;
  /** Format before; `undefined` for float. */
  readonly from: string | undefined;
  /** Format after. */
  readonly to: string;
}

/**
 * The formats of one layer that are worth considering: the lower convex hull of drift over cost saved, from float on.
 * What saves less than another at more drift, or would be skipped on the way by a better exchange, falls out.
 */
function hullOf(choices: readonly LayerChoice[]): readonly LayerChoice[] {
  const cheaper = choices
    .filter((choice) => choice.saved > 0 && Number.isFinite(choice.drift))
    .sort((left, right) => left.saved - right.saved || left.drift - right.drift);
  const hull: LayerChoice[] = [];
  const rate = (from: LayerChoice | undefined, to: LayerChoice): number =>
    (to.drift - (from?.drift ?? 0)) / (to.saved - (from?.saved ?? 0));
  for (const choice of cheaper) {
    for (;;) {
      const last = hull.at(-1);
      if (last === undefined) break;
      const worse = choice.saved === last.saved || rate(last, choice) <= rate(hull.at(-2), last);
      if (!worse) break;
      if (choice.saved === last.saved && choice.drift >= last.drift) break;
      hull.pop();
    }
    const last = hull.at(-1);
    if (last === undefined || choice.saved > last.saved) hull.push(choice);
  }
  return hull;
}

/**
 * Steps from all float to the cheapest format everywhere, those first that save most for the drift they add. Every
 * prefix of them is an assignment, and where drifts add up, one that nothing cheaper beats within the same drift, but
 * for the last step: the greedy solution of the multiple-choice knapsack problem.
 *
 * @see Sinha and Zoltners, "The Multiple-Choice Knapsack Problem", 1979
 */
export function upgradesOf(choices: readonly LayerChoice[]): readonly Upgrade[] {
  const byLayer = new Map<string, LayerChoice[]>();
  for (const choice of choices) {
    const list = byLayer.get(choice.layer) ?? [];
    list.push(choice);
    byLayer.set(choice.layer, list);
  }
  const steps: (Upgrade & { readonly rate: number })[] = [];
  for (const [layer, list] of byLayer) {
    let before: LayerChoice | undefined;
    for (const choice of hullOf(list)) {
      const rate = (choice.drift - (before?.drift ?? 0)) / (choice.saved - (before?.saved ?? 0));
      steps.push({ layer, from: before?.format, to: choice.format, rate });
      before = choice;
    }
  }
  // Within a layer rates rise, and sorting is stable, so that no step comes before the one it builds on.
  return steps
    .sort((left, right) => left.rate - right.rate)
    .map(({ layer, from, to }) => ({ layer, from, to }));
}

import type { Criterion } from './criterion.ts';

/**
 * Random scores: the control that every other criterion has to beat. The same seed gives the same units, whatever other
 * groups there are.
 */
export function randomScore(): Criterion {
  return {
    name: 'random',
    needs: [],
    score: (groups, context) =>
      Promise.resolve(
        groups.map((group) => {
          const rng = context.rng.fork(`random:${group.name}`);
          return Float64Array.from({ length: group.units }, () => rng.next());
        }),
      ),
  };
}

import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { searchAssignment } from './search.ts';
import { type LayerChoice, upgradesOf } from './upgrades.ts';

const choice = (layer: string, format: string, saved: number, drift: number): LayerChoice => ({
  layer,
  format,
  saved,
  drift,
});

/** Layers whose drifts add up: what the search assumes. */
function additive(choices: readonly LayerChoice[], budget: number) {
  const sums = (assignment: ReadonlyMap<string, string>): { saved: number; drift: number } => {
    let saved = 0;
    let drift = 0;
    for (const [layer, format] of assignment) {
      const found = choices.find((item) => item.layer === layer && item.format === format) as LayerChoice;
      saved += found.saved;
      drift += found.drift;
    }
    return { saved, drift };
  };
  let runs = 0;
  return {
    sums,
    runs: () => runs,
    evaluate: (assignment: ReadonlyMap<string, string>) => {
      runs++;
      const { saved, drift } = sums(assignment);
      return Promise.resolve({ cost: -saved, within: drift <= budget });
    },
  };
}

describe('steps to cheaper formats', () => {
  it('go in order of what they save for the drift they add', () => {
    const steps = upgradesOf([
      choice('a', 'int8', 75, 1),
      choice('a', 'int4', 87, 10),
      choice('b', 'int8', 750, 2),
      choice('b', 'int4', 870, 3),
    ]);
    // Drift per byte: b int8 2/750, b int4 1/120, a int8 1/75, a int4 9/12.
    expect(steps).toEqual([
      { layer: 'b', from: undefined, to: 'int8' },
      { layer: 'b', from: 'int8', to: 'int4' },
      { layer: 'a', from: undefined, to: 'int8' },
      { layer: 'a', from: 'int8', to: 'int4' },
    ]);
  });

  it('leave out formats that another beats, that save nothing, and that ruin the model', () => {
    expect(
      upgradesOf([
        choice('a', 'worse', 50, 4),
        choice('a', 'better', 60, 3),
        choice('b', 'larger', -10, 0),
        choice('c', 'broken', 100, Number.POSITIVE_INFINITY),
        choice('d', 'on the way', 50, 5),
        choice('d', 'further', 100, 6),
        choice('e', 'one', 10, 1),
        choice('e', 'same', 10, 1),
      ]).map(({ layer, to }) => `${layer} ${to}`),
    ).toEqual(['a better', 'd further', 'e one']);
  });
});

describe('the search', () => {
  it('comes within a step of the best of all assignments, where drifts add up', async () => {
    const rng = createRng(8);
    const formats = ['int8', 'int4'];
    for (let round = 0; round < 40; round++) {
      const layers = Array.from({ length: 5 }, (_, index) => `layer ${index}`);
      const choices = layers.flatMap((layer) => {
        const size = 100 + rng.integer(1000);
        const fragile = rng.next() ** 3;
        return [
          choice(layer, 'int8', size * 3, fragile),
          choice(layer, 'int4', size * 3.5, fragile * (5 + 20 * rng.next())),
        ];
      });
      const budget = 0.5 + 2 * rng.next();
      const world = additive(choices, budget);
      const found = await searchAssignment({
        upgrades: upgradesOf(choices),
        evaluate: world.evaluate,
        trials: 30,
      });
      expect(world.sums(found).drift).toBeLessThanOrEqual(budget);
      let best = 0;
      for (let code = 0; code < 3 ** layers.length; code++) {
        const all = new Map<string, string>();
        layers.forEach((layer, index) => {
          const format = formats[(Math.floor(code / 3 ** index) % 3) - 1];
          if (format !== undefined) all.set(layer, format);
        });
        const { saved, drift } = world.sums(all);
        if (drift <= budget) best = Math.max(best, saved);
      }
      const largest = Math.max(...choices.map(({ saved }) => saved));
      expect(world.sums(found).saved).toBeGreaterThan(best - largest);
      expect(world.sums(found).saved).toBeGreaterThan(0.9 * best);
    }
  });

  it('takes one run where all fits, and none fits where the budget is nothing', async () => {
    const choices = Array.from({ length: 50 }, (_, index) => choice(`layer ${index}`, 'int8', 10, 1));
    const rich = additive(choices, 50);
    const upgrades = upgradesOf(choices);
    expect((await searchAssignment({ upgrades, evaluate: rich.evaluate, trials: 24 })).size).toBe(50);
    expect(rich.runs()).toBe(1);
    const poor = additive(choices, 0.5);
    expect((await searchAssignment({ upgrades, evaluate: poor.evaluate, trials: 24 })).size).toBe(0);
    expect(poor.runs()).toBeLessThanOrEqual(24);
    expect((await searchAssignment({ upgrades: [], evaluate: poor.evaluate, trials: 24 })).size).toBe(0);
  });

  it('steps over a layer that breaks the budget, to those behind it', async () => {
    const choices = [
      choice('a', 'int8', 100, 1),
      choice('b', 'int8', 1000, 20),
      choice('c', 'int8', 10, 1),
      choice('d', 'int8', 5, 1),
    ];
    const world = additive(choices, 3);
    const found = await searchAssignment({
      upgrades: upgradesOf(choices),
      evaluate: world.evaluate,
      trials: 24,
    });
    expect([...found.keys()]).toEqual(['a', 'c', 'd']);
  });
});

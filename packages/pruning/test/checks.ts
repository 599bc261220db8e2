import { assertValid, createRng, type Feeds, type Model, modelCost } from '@lithe/core';
import { expect } from 'vitest';
import { type GroupOptions, type PruningGroup, pruningGroups, removeAll, removeUnits } from '../src/index.ts';
import { drift, runModel, someUnits, zeroUnits } from './support.ts';

/** The groups of a model that can be pruned. */
export async function prunable(model: Model, options: GroupOptions = {}): Promise<readonly PruningGroup[]> {
  return (await pruningGroups(model, options)).filter((group) => group.prunable);
}

/** Zeroes some units of a group and removes them: what the model says must stay the same. */
export async function checkZeros(
  model: Model,
  group: PruningGroup,
  run: { readonly feeds: Feeds; readonly seed: number; readonly tolerance?: number },
): Promise<void> {
  const units = someUnits(group, createRng(run.seed));
  const zeroed = model.clone();
  await zeroUnits(zeroed, group, new Set(units));
  const expected = await runModel(zeroed, run.feeds);
  await removeUnits(zeroed, group, units);
  const found = drift(expected, await runModel(zeroed, run.feeds));
  expect(found, `${group.name} without ${units.join()}`).toBeLessThan(run.tolerance ?? 1e-4);
}

/** Removes some units of every group at once: the result must be sound, run, and be smaller. */
export async function checkShrinks(
  model: Model,
  run: { readonly feeds: Feeds; readonly seed: number },
  options: GroupOptions = {},
): Promise<void> {
  const rng = createRng(run.seed);
  const groups = await prunable(model, options);
  const smaller = model.clone();
  await removeAll(
    smaller,
    groups.map((group) => ({ group, units: someUnits(group, rng, 0.1 + 0.6 * rng.next()) })),
  );
  assertValid(smaller);
  expect(modelCost(smaller).parameters).toBeLessThan(modelCost(model).parameters);
  const [before, after] = [await runModel(model, run.feeds), await runModel(smaller, run.feeds)];
  for (const [name, tensor] of Object.entries(before)) {
    expect(after[name]?.shape).toEqual(tensor.shape);
    expect(after[name]?.toFloat64Array().every(Number.isFinite)).toBe(true);
  }
}

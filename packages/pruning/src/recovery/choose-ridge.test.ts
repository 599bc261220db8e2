import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { chooseRidge } from './choose-ridge.ts';
import type { ResidualMoments } from './residual-moments.ts';

const INPUTS = 12;
const signal = new AbortController().signal;

/** Inputs with a large mean, and a wish: a sum of the inputs and a constant, with noise. */
function samplesOf(count: number, noise: number): { readonly x: number[][]; readonly e: number[] } {
  const rng = createRng(7);
  const truth = Array.from({ length: INPUTS }, () => rng.normal());
  const x = Array.from({ length: count }, () => Array.from({ length: INPUTS }, () => 3 + rng.normal()));
  const e = x.map((row) => 5 + noise * rng.normal() + row.reduce((sum, v, i) => sum + v * truth[i]!, 0));
  return { x, e };
}

function momentsOf(x: readonly number[][], e: readonly number[]): ResidualMoments {
  const moments = {
    count: x.length,
    inputs: new Float64Array(INPUTS * INPUTS),
    cross: new Float64Array(INPUTS),
    inputSum: new Float64Array(INPUTS),
    residualSum: new Float64Array(1),
    residual: 0,
    target: 1,
  };
  for (const [at, row] of x.entries())
    for (let i = 0; i < INPUTS; i++) {
      moments.inputSum[i]! += row[i]!;
      moments.cross[i]! += e[at]! * row[i]!;
      for (let j = 0; j < INPUTS; j++) moments.inputs[i * INPUTS + j]! += row[i]! * row[j]!;
    }
  for (const value of e) moments.residualSum[0]! += value;
  return moments;
}

/** The squared error on the held samples of a fit to the others by gradient descent, from the samples themselves. */
function heldError(samples: ReturnType<typeof samplesOf>, from: number, ridge: number): number {
  const [train, wish] = [samples.x.slice(0, from), samples.e.slice(0, from)];
  const mean = Array.from({ length: INPUTS }, (_, i) => train.reduce((sum, row) => sum + row[i]!, 0) / from);
  const middle = wish.reduce((sum, value) => sum + value, 0) / from;
  let square = 0;
  for (const row of train) for (const [i, value] of row.entries()) square += (value - mean[i]!) ** 2 / INPUTS;
  const weights = new Float64Array(INPUTS);
  const predict = (row: readonly number[]): number =>
    row.reduce((sum, value, i) => sum + (value - mean[i]!) * weights[i]!, middle);
  for (let step = 0; step < 4000; step++) {
    const gradient = weights.map((weight) => ridge * square * weight);
    for (const [at, row] of train.entries()) {
      const error = predict(row) - wish[at]!;
      for (let i = 0; i < INPUTS; i++) gradient[i]! += error * (row[i]! - mean[i]!);
    }
    for (let i = 0; i < INPUTS; i++) weights[i]! -= (gradient[i]! * 0.2) / square;
  }
  let total = 0;
  for (let at = from; at < samples.x.length; at++) total += (predict(samples.x[at]!) - samples.e[at]!) ** 2;
  return total;
}

describe('the choice of a ridge', () => {
  it.each([
    ['hardly any noise', 160, 0.01],
    ['some noise and hardly more samples than inputs', 24, 3],
    ['much noise', 24, 12],
  ] as const)('is the one whose fit comes closest to what was held out: %s', (_, count, noise) => {
    const samples = samplesOf(count, noise);
    const from = (count * 3) / 4;
    const split = {
      all: momentsOf(samples.x, samples.e),
      held: momentsOf(samples.x.slice(from), samples.e.slice(from)),
    };
    const layer = { groups: 1, outputs: 1, inputs: INPUTS };
    const candidates =
      count < 10 * INPUTS ? [0.01, 0.03, 0.1, 0.3, 1] : [1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1];
    const errors = candidates.map((ridge) => heldError(samples, from, ridge));
    const best = candidates[errors.indexOf(Math.min(...errors))];
    expect(chooseRidge(layer, split, { hasBias: true, signal })).toBe(best);
  });

  it('is left open where nothing was held out', () => {
    const { x, e } = samplesOf(24, 1);
    const layer = { groups: 1, outputs: 1, inputs: INPUTS };
    const split = { all: momentsOf(x, e), held: undefined };
    expect(chooseRidge(layer, split, { hasBias: true, signal })).toBeUndefined();
  });
});

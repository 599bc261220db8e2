import { createRng } from '@lithe/core';
import type { TensorStatistics } from '@lithe/quantization';

/** Statistics of many values of a known distribution: exact counts from its cumulative distribution, no sampling. */
export function statisticsOfDistribution(
  below: (x: number) => number,
  range: readonly [number, number],
  elements = 1e8,
): TensorStatistics {
  const [minimum, maximum] = range;
  const exponent = Math.ceil(Math.log2((Math.max(0, maximum) - Math.min(0, minimum)) / 4000));
  const width = 2 ** exponent;
  const first = Math.floor(Math.min(0, minimum) / width);
  const bins = Math.floor(Math.max(0, maximum) / width) - first + 1;
  const counts = Array.from({ length: bins }, (_, bin) =>
    Math.round(elements * (below((first + bin + 1) * width) - below((first + bin) * width))),
  );
  const total = counts.reduce((left, right) => left + right, 0);
  return {
    minimum,
    maximum,
    finite: true,
    elements: total,
    zeros: 0,
    mean: 0,
    meanSquare: 0,
    histogram: { exponent, first, counts },
  };
}

/** Cumulative Laplace distribution of scale 1. */
export const laplace = (x: number): number => (x < 0 ? Math.exp(x) / 2 : 1 - Math.exp(-x) / 2);

/** Cumulative standard normal distribution, by integrating the density from 0 (Simpson). */
export function gaussian(x: number): number {
  const steps = 200;
  const density = (t: number): number => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  const h = x / steps;
  let sum = density(0) + density(x);
  for (let step = 1; step < steps; step++) sum += (step % 2 === 0 ? 2 : 4) * density(step * h);
  return 0.5 + (sum * h) / 3;
}

/** Laplace-distributed samples of scale 1. */
export function laplaceSamples(count: number, seed: number): Float32Array {
  const rng = createRng(seed);
  return Float32Array.from({ length: count }, () => {
    const u = rng.next() - 0.5;
    return -Math.sign(u) * Math.log(1 - 2 * Math.abs(u));
  });
}

import { awq } from './awq.ts';
import { gptq } from './gptq.ts';
import { hqq } from './hqq.ts';
import { roundToNearest } from './round-to-nearest.ts';
import type { WeightAlgorithm } from './weight-algorithm.ts';

/** Names of the built-in algorithms, for recipes: each with its default options. */
export type WeightAlgorithmName = 'rtn' | 'hqq' | 'gptq' | 'awq';

const made: Readonly<Record<WeightAlgorithmName, () => WeightAlgorithm>> = {
  rtn: () => roundToNearest(),
  hqq: () => hqq(),
  gptq: () => gptq(),
  awq: () => awq(),
};

/** The algorithm that a name stands for; a value is itself. */
export function weightAlgorithm(algorithm: WeightAlgorithmName | WeightAlgorithm): WeightAlgorithm {
  return typeof algorithm === 'string' ? made[algorithm]() : algorithm;
}

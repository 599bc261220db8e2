import { definePlugin, type Plugin } from '@lithe/core';
import { lowRank } from './low-rank/low-rank.ts';
import { batchNormReestimation } from './recovery/batch-norm-reestimation.ts';
import { leastSquaresRefit } from './recovery/refit.ts';
import { depthPruning } from './structured/depth-pruning.ts';
import { prune } from './structured/prune.ts';
import { sparsify } from './unstructured/sparsify.ts';

/** The passes of this package, for recipes. */
export const plugin: Plugin = definePlugin({
  name: '@lithe/pruning',
  passes: [prune, depthPruning, lowRank, sparsify, leastSquaresRefit, batchNormReestimation],
});

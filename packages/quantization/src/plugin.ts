import { definePlugin, type Plugin } from '@lithe/core';
import { quantizationAwareTraining } from './aware-training/pass.ts';
import { mixedPrecision } from './mixed-precision/mixed-precision.ts';
import { bfloat16Storage } from './passes/bfloat16-storage.ts';
import { dynamicInt8 } from './passes/dynamic-int8.ts';
import { float16Compute } from './passes/float16-compute.ts';
import { float16Storage } from './passes/float16-storage.ts';
import { foldableWeights } from './passes/foldable-weights.ts';
import { integerOperators } from './passes/integer-operators.ts';
import { normalFloat4 } from './passes/normal-float4.ts';
import { staticInt8 } from './passes/static-int8.ts';
import { tableRows } from './passes/table-rows.ts';
import { weightOnly } from './passes/weight-only.ts';
import { batchNormalizationReestimation } from './recovery/batch-norm/batch-normalization-reestimation.ts';
import { crossLayerEqualization } from './recovery/equalization/cross-layer-equalization.ts';
import { smoothQuant } from './recovery/smooth/smooth-quant.ts';

/** The passes of this package, for recipes. */
export const plugin: Plugin = definePlugin({
  name: '@lithe/quantization',
  passes: [
    batchNormalizationReestimation,
    bfloat16Storage,
    crossLayerEqualization,
    dynamicInt8,
    float16Compute,
    float16Storage,
    foldableWeights,
    integerOperators,
    mixedPrecision,
    normalFloat4,
    quantizationAwareTraining,
    smoothQuant,
    staticInt8,
    tableRows,
    weightOnly,
  ],
});

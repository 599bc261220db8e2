import type { StandardOp, TraitTable } from '@lithe/core';
import { type AxisRule, type AxisRules, axisFlow } from './axis-rule.ts';
import { barrierAxes } from './rules/barriers.ts';
import { convolutionAxes } from './rules/convolution.ts';
import { elementwiseAxes } from './rules/elementwise.ts';
import { microsoftAxes } from './rules/microsoft.ts';
import { normalizationAxes } from './rules/normalization.ts';
import { poolingAxes } from './rules/pooling.ts';
import { productAxes } from './rules/product.ts';
import { recurrentAxes } from './rules/recurrent.ts';
import { reductionAxes } from './rules/reduction.ts';
import { reshapeAxes } from './rules/reshape.ts';
import { slicingAxes } from './rules/slicing.ts';

/** An answer for every standard operator: an operator that core learns is missed here by the compiler. */
const rules: AxisRules<StandardOp> = {
  ...barrierAxes,
  ...convolutionAxes,
  ...elementwiseAxes,
  ...normalizationAxes,
  ...poolingAxes,
  ...productAxes,
  ...recurrentAxes,
  ...reductionAxes,
  ...reshapeAxes,
  ...slicingAxes,
};

/**
 * How axes flow through the standard operators, and through some that onnxruntime adds. `with(...)` gives a larger
 * table.
 */
export const standardAxisRules: TraitTable<AxisRule> = axisFlow.table(rules, ...microsoftAxes);

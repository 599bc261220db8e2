import type { StandardOp, TraitTable } from '@lithe/core';
import { type GradientRule, type GradientRules, gradient } from '../autodiff/gradient-rule.ts';
import { activationGradients } from './activation.ts';
import { convolutionGradients } from './convolution.ts';
import { elementwiseGradients } from './elementwise.ts';
import { indexingGradients } from './indexing.ts';
import { microsoftGradients } from './microsoft.ts';
import { normalizationGradients } from './normalization.ts';
import { poolingGradients } from './pooling.ts';
import { productGradients } from './product.ts';
import { quantizationGradients } from './quantization.ts';
import { recurrentGradients } from './recurrent.ts';
import { reductionGradients } from './reduction.ts';
import { resizeGradients } from './resize.ts';
import { shapeGradients } from './shape.ts';
import { discreteGradients, refusedGradients } from './without-gradient.ts';

/** An answer for every standard operator: an operator that core learns is missed here by the compiler. */
const rules: GradientRules<StandardOp> = {
  ...elementwiseGradients,
  ...activationGradients,
  ...reductionGradients,
  ...shapeGradients,
  ...indexingGradients,
  ...productGradients,
  ...convolutionGradients,
  ...poolingGradients,
  ...normalizationGradients,
  ...recurrentGradients,
  ...resizeGradients,
  ...quantizationGradients,
  ...discreteGradients,
  ...refusedGradients,
};

/**
 * The gradients of the standard operators, and of some that onnxruntime adds. `with(...)` gives a larger table.
 */
export const standardGradients: TraitTable<GradientRule> = gradient.table(rules, ...microsoftGradients);

import type { TraitTable } from '@lithe/core';
import { type GradientRule, gradient } from '../autodiff/gradient-rule.ts';
import { activationGradients } from './activation.ts';
import { convolutionGradients } from './convolution.ts';
import { elementwiseGradients } from './elementwise.ts';
import { normalizationGradients } from './normalization.ts';
import { poolingGradients } from './pooling.ts';
import { productGradients } from './product.ts';
import { quantizationGradients } from './quantization.ts';
import { reductionGradients } from './reduction.ts';
import { resizeGradients } from './resize.ts';
import { shapeGradients } from './shape.ts';

/** The gradients of the standard operators. `with(...)` gives a larger table. */
export const standardGradients: TraitTable<GradientRule> = gradient.table({
  ...elementwiseGradients,
  ...activationGradients,
  ...reductionGradients,
  ...shapeGradients,
  ...productGradients,
  ...convolutionGradients,
  ...poolingGradients,
  ...normalizationGradients,
  ...resizeGradients,
  ...quantizationGradients,
});

import type { KernelTable } from '../kernel.ts';
import { activationKernels } from './activation.ts';
import { arithmeticKernels } from './arithmetic.ts';
import { castKernels } from './cast.ts';
import { convolutionKernels } from './convolution.ts';
import { einsumKernels } from './einsum.ts';
import { gatherKernels } from './gather.ts';
import { logicKernels } from './logic.ts';
import { matMulKernels } from './matmul.ts';
import { movementKernels } from './movement.ts';
import { normalizationKernels } from './normalization.ts';
import { poolingKernels } from './pooling.ts';
import { reduceKernels } from './reduce.ts';
import { shapeKernels } from './shape.ts';
import { softmaxKernels } from './softmax.ts';
import { sortKernels } from './sort.ts';

/** The kernels of the reference interpreter, by operator. */
export const referenceKernels: KernelTable = {
  ...activationKernels,
  ...arithmeticKernels,
  ...castKernels,
  ...convolutionKernels,
  ...einsumKernels,
  ...gatherKernels,
  ...logicKernels,
  ...matMulKernels,
  ...movementKernels,
  ...normalizationKernels,
  ...poolingKernels,
  ...reduceKernels,
  ...shapeKernels,
  ...softmaxKernels,
  ...sortKernels,
};

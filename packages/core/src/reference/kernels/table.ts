import type { KernelTable } from '../kernel.ts';
import { activationKernels } from './activation.ts';
import { arithmeticKernels } from './arithmetic.ts';
import { castKernels } from './cast.ts';
import { gatherKernels } from './gather.ts';
import { logicKernels } from './logic.ts';
import { movementKernels } from './movement.ts';
import { shapeKernels } from './shape.ts';

/** The kernels of the reference interpreter, by operator. */
export const referenceKernels: KernelTable = {
  ...activationKernels,
  ...arithmeticKernels,
  ...castKernels,
  ...gatherKernels,
  ...logicKernels,
  ...movementKernels,
  ...shapeKernels,
};

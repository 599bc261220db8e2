import type { KernelTable } from '../kernel.ts';
import { activationKernels } from './activation.ts';
import { arithmeticKernels } from './arithmetic.ts';
import { castKernels } from './cast.ts';
import { controlFlowKernels } from './control-flow.ts';
import { convolutionKernels } from './convolution.ts';
import { detectionKernels } from './detection.ts';
import { einsumKernels } from './einsum.ts';
import { gatherKernels } from './gather.ts';
import { logicKernels } from './logic.ts';
import { lossKernels } from './loss.ts';
import { matMulKernels } from './matmul.ts';
import { microsoftAttentionKernels } from './microsoft-attention.ts';
import { microsoftFusedKernels } from './microsoft-fused.ts';
import { microsoftMatMulKernels } from './microsoft-matmul.ts';
import { microsoftQuantizedKernels } from './microsoft-quantized.ts';
import { movementKernels } from './movement.ts';
import { normalizationKernels } from './normalization.ts';
import { poolingKernels } from './pooling.ts';
import { quantizationKernels } from './quantization.ts';
import { randomKernels } from './random.ts';
import { recurrentKernels } from './recurrent.ts';
import { reduceKernels } from './reduce.ts';
import { resizeKernels } from './resize.ts';
import { samplingKernels } from './sampling.ts';
import { sequenceKernels } from './sequence.ts';
import { shapeKernels } from './shape.ts';
import { signalKernels } from './signal.ts';
import { softmaxKernels } from './softmax.ts';
import { sortKernels } from './sort.ts';
import { textKernels } from './text.ts';

/** The kernels of the reference interpreter, by operator. */
export const referenceKernels: KernelTable = {
  ...activationKernels,
  ...arithmeticKernels,
  ...castKernels,
  ...controlFlowKernels,
  ...convolutionKernels,
  ...detectionKernels,
  ...einsumKernels,
  ...gatherKernels,
  ...logicKernels,
  ...lossKernels,
  ...matMulKernels,
  ...microsoftAttentionKernels,
  ...microsoftFusedKernels,
  ...microsoftMatMulKernels,
  ...microsoftQuantizedKernels,
  ...movementKernels,
  ...normalizationKernels,
  ...poolingKernels,
  ...quantizationKernels,
  ...randomKernels,
  ...recurrentKernels,
  ...reduceKernels,
  ...resizeKernels,
  ...samplingKernels,
  ...sequenceKernels,
  ...shapeKernels,
  ...signalKernels,
  ...softmaxKernels,
  ...sortKernels,
  ...textKernels,
};

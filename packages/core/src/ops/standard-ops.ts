import { OpSet } from '../op/op-set.ts';
import { controlFlowOps } from './control-flow.ts';
import { convolutionOps } from './convolution.ts';
import { elementwiseBinaryOps } from './elementwise-binary.ts';
import { elementwiseUnaryOps } from './elementwise-unary.ts';
import { gatherScatterOps } from './gather-scatter.ts';
import { generatorOps } from './generator.ts';
import { imageOps } from './image.ts';
import { matrixOps } from './matrix.ts';
import { microsoftFusedOps, runtimeOps } from './microsoft-fused.ts';
import { microsoftQuantizedOps } from './microsoft-quantized.ts';
import { normalizationOps } from './normalization.ts';
import { poolingOps } from './pooling.ts';
import { quantizationOps } from './quantization.ts';
import { recurrentOps } from './recurrent.ts';
import { reductionOps } from './reduction.ts';
import { sequenceOps } from './sequence.ts';
import { shapeOps } from './shape.ts';
import { signalOps } from './signal.ts';
import { slicingOps } from './slicing.ts';
import { textOps } from './text.ts';

/** The definitions of all `ai.onnx` operators of the working opset, by name. */
export type StandardOpDefs = typeof controlFlowOps &
  typeof convolutionOps &
  typeof elementwiseBinaryOps &
  typeof elementwiseUnaryOps &
  typeof gatherScatterOps &
  typeof generatorOps &
  typeof imageOps &
  typeof matrixOps &
  typeof normalizationOps &
  typeof poolingOps &
  typeof quantizationOps &
  typeof recurrentOps &
  typeof reductionOps &
  typeof sequenceOps &
  typeof shapeOps &
  typeof signalOps &
  typeof slicingOps &
  typeof textOps;

/** Name of an `ai.onnx` operator of the working opset. */
export type StandardOp = keyof StandardOpDefs;

/**
 * The definitions of all `ai.onnx` operators of the working opset that are not deprecated there, by name; each with
 * the types of its attributes: `attributesOf(node, standardOpDefs.Conv).strides`.
 *
 * @see ONNX operator specification, opset 21
 */
export const standardOpDefs: StandardOpDefs = {
  ...controlFlowOps,
  ...convolutionOps,
  ...elementwiseBinaryOps,
  ...elementwiseUnaryOps,
  ...gatherScatterOps,
  ...generatorOps,
  ...imageOps,
  ...matrixOps,
  ...normalizationOps,
  ...poolingOps,
  ...quantizationOps,
  ...recurrentOps,
  ...reductionOps,
  ...sequenceOps,
  ...shapeOps,
  ...signalOps,
  ...slicingOps,
  ...textOps,
};

/** The definitions of the operators of `com.microsoft` that Lithe knows, by name. */
export type MicrosoftOpDefs = typeof microsoftFusedOps & typeof microsoftQuantizedOps;

/**
 * The definitions of quantized and fused operators of onnxruntime, domain `com.microsoft`, by name.
 *
 * @see onnxruntime, docs/ContribOperators.md
 */
export const microsoftOpDefs: MicrosoftOpDefs = { ...microsoftFusedOps, ...microsoftQuantizedOps };

/** All operators that Lithe knows: those of `ai.onnx`, and those that onnxruntime adds. */
export const standardOps: OpSet = new OpSet([
  ...Object.values(standardOpDefs),
  ...Object.values(runtimeOps),
  ...Object.values(microsoftOpDefs),
]);

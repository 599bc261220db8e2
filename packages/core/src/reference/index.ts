/**
 * The reference interpreter: the definition of the operators in plain loops, and the oracle of every backend.
 *
 * @packageDocumentation
 */
export { type EvaluateModelOptions, evaluateModel, evaluateValues } from './evaluate-model.ts';
export { type EvaluateNodeOptions, evaluateNode } from './evaluate-node.ts';
export type {
  KernelContext,
  KernelTable,
  OptionalValue,
  ReferenceKernel,
  ReferenceValue,
  SequenceValue,
} from './kernel.ts';
export { referenceKernels } from './kernels/table.ts';
export type { ReferenceOptions } from './program.ts';
export { type ReferenceBackendOptions, referenceBackend } from './reference-backend.ts';

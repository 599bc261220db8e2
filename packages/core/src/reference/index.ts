/**
 * The reference interpreter: the definition of the operators in plain loops, and the oracle of every backend.
 *
 * @packageDocumentation
 */
export { evaluateModel, type EvaluateModelOptions, evaluateValues } from './evaluate-model.ts';
export { evaluateNode, type EvaluateNodeOptions } from './evaluate-node.ts';
export type { KernelContext, KernelTable, OptionalValue, ReferenceKernel, ReferenceValue, SequenceValue } from './kernel.ts';
export { referenceKernels } from './kernels/table.ts';
export type { ReferenceOptions } from './program.ts';
export { referenceBackend, type ReferenceBackendOptions } from './reference-backend.ts';

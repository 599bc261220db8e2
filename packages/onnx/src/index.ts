/**
 * ONNX files to and from the models of `@lithe/core`.
 *
 * @packageDocumentation
 */
export { externalFiles } from './extras.ts';
export { defaultReadLimits, type ReadLimits } from './limits.ts';
export type { ExternalData } from './read/external.ts';
export { type ReadOptions, readOnnx } from './read/read-onnx.ts';
export {
  type OptionalData,
  type ReadValueOptions,
  readTensorProto,
  readValueProto,
  type SequenceData,
  type ValueData,
  type ValueDataKind,
} from './read/read-value-proto.ts';
export { type UpgradeNote, upgradeNotes } from './upgrade/upgrade.ts';
export type { ValueInfoChoice } from './write/write-graph.ts';
export { type WriteOptions, writeOnnx } from './write/write-onnx.ts';
export { type WriteValueOptions, writeTensorProto, writeValueProto } from './write/write-value-proto.ts';

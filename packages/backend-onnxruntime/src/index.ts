/**
 * Runs models in onnxruntime: onnxruntime-node in Node, onnxruntime-web in the browser or in Node.
 *
 * @packageDocumentation
 */
export type { OnnxRuntimeBackend } from './backend.ts';
export type { OnnxRuntimeExecutable } from './executable.ts';
export { onnxruntime, onnxruntimeNode, onnxruntimeWeb } from './onnxruntime.ts';
export type {
  ExecutionProvider,
  OnnxRuntimeOptions,
  ProviderOptions,
  SessionOptions,
  WebFiles,
} from './options.ts';
export type { NodeProfile, RuntimeProfile } from './profile.ts';
export { nodeCpuTarget } from './targets/node-cpu.ts';
export { type BrowserTargetOptions, wasmTarget } from './targets/wasm.ts';
export { webgpuTarget } from './targets/webgpu.ts';
export type { ValueInfo } from './worker/protocol.ts';

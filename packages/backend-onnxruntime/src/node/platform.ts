import { type OnnxRuntimeBackend, openRuntime } from '../backend.ts';
import type { OnnxRuntimeOptions, WebFiles } from '../options.ts';
import { ThreadHost } from './thread-channel.ts';

/** onnxruntime-node, in worker threads. */
export function openNode(
  options: OnnxRuntimeOptions,
  module = 'onnxruntime-node',
): Promise<OnnxRuntimeBackend> {
  return openRuntime({
    name: 'onnxruntime-node',
    install:
      'Install it: npm install onnxruntime-node (behind a proxy: npm install --ignore-scripts onnxruntime-node).',
    open: new ThreadHost(module).open,
    environment: {
      logSeverityLevel: options.logSeverityLevel ?? 3,
      threads: undefined,
      wasmPaths: undefined,
      wasmBinary: undefined,
      powerPreference: undefined,
    },
    sessionThreads: options.threads,
    defaultProviders: ['cpu'],
    options,
    features: ['profile', 'external-data'],
  });
}

/** The WASM build of onnxruntime-web, in worker threads. */
export function openWeb(
  options: OnnxRuntimeOptions & WebFiles,
  module = 'onnxruntime-web',
): Promise<OnnxRuntimeBackend> {
  return openRuntime({
    name: 'onnxruntime-web',
    install: 'Install it: npm install onnxruntime-web.',
    open: new ThreadHost(module).open,
    environment: {
      logSeverityLevel: options.logSeverityLevel ?? 3,
      threads: options.threads,
      wasmPaths: options.wasmPaths,
      wasmBinary: options.wasmBinary,
      powerPreference: undefined,
    },
    sessionThreads: undefined,
    defaultProviders: ['wasm'],
    options,
    where: 'WASM in Node',
  });
}

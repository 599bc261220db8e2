import { errors, type RunContext } from '@lithe/core';
import { type OnnxRuntimeBackend, openRuntime } from '../backend.ts';
import { ignoredOnWeb, type OnnxRuntimeOptions, type WebFiles } from '../options.ts';
import type { BrowserTargetOptions } from '../targets/wasm.ts';
import { webWorkerChannel } from './worker-channel.ts';

/** There is no onnxruntime-node in a browser. */
export function openNode(_options: OnnxRuntimeOptions): Promise<OnnxRuntimeBackend> {
  return Promise.reject(
    errors.backendUnavailable(
      'onnxruntime-node',
      'this is not Node.',
      'Use onnxruntimeWeb(), or onnxruntime(), which takes what there is.',
    ),
  );
}

/** In a browser there is only onnxruntime-web. */
export function openBest(options: OnnxRuntimeOptions): Promise<OnnxRuntimeBackend> {
  return openWeb(options);
}

/** onnxruntime-web, in web workers. */
export function openWeb(options: OnnxRuntimeOptions & WebFiles): Promise<OnnxRuntimeBackend> {
  const first = options.executionProviders?.[0];
  const onGpu = (typeof first === 'string' ? first : first?.name) === 'webgpu';
  return openRuntime({
    name: 'onnxruntime-web',
    install: onGpu
      ? 'Use a browser with WebGPU, and check that the page sees an adapter: navigator.gpu.requestAdapter().'
      : 'Install it: npm install onnxruntime-web.',
    open: webWorkerChannel(onGpu ? 'webgpu' : 'wasm'),
    environment: {
      logSeverityLevel: options.logSeverityLevel ?? 4,
      threads: options.threads,
      wasmPaths: options.wasmPaths,
      wasmBinary: options.wasmBinary,
      powerPreference: undefined,
    },
    sessionThreads: undefined,
    ignores: ignoredOnWeb,
    defaultProviders: ['wasm'],
    options,
    features: onGpu ? ['webgpu'] : [],
  });
}

/** A browser does not tell its processor; nor can onnxruntime-node run in it. */
export function machine(): { readonly architecture: string; readonly convolutionBlock: number } {
  return { architecture: 'unknown', convolutionBlock: 1 };
}

/** WASM in this browser. */
export function openWasmTarget(
  options: BrowserTargetOptions,
  _context: RunContext,
): Promise<OnnxRuntimeBackend> {
  const { browser: _, ...rest } = options;
  return openWeb({ ...rest, executionProviders: ['wasm'] });
}

/** WebGPU in this browser. */
export function openWebgpuTarget(options: BrowserTargetOptions): Promise<OnnxRuntimeBackend> {
  const { browser: _, ...rest } = options;
  return openWeb({ ...rest, executionProviders: ['webgpu'] });
}

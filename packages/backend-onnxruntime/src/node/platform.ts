import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errors, isLitheError, type Model, type RunContext } from '@lithe/core';
import { type ModelFile, type OnnxRuntimeBackend, openRuntime } from '../backend.ts';
import { ignoredOnWeb, type OnnxRuntimeOptions, type WebFiles } from '../options.ts';
import type { BrowserTargetOptions } from '../targets/wasm.ts';
import { onnxruntimeBrowser } from './browser/open-browser.ts';
import { ThreadHost } from './thread-channel.ts';

export { machine } from './machine.ts';

/** Weights from which a model goes through a file: protobuf ends at 2 GiB, and the graph needs some of that. */
const saveFromBytes = 1.9e9;

/** onnxruntime-node, in worker threads. */
export function openNode(
  options: OnnxRuntimeOptions,
  module = 'onnxruntime-node',
  limits: { readonly saveFromBytes: number } = { saveFromBytes },
): Promise<OnnxRuntimeBackend> {
  return openRuntime({
    ...limits,
    saveModel,
    ignores: ['freeDimensionOverrides'],
    name: 'onnxruntime-node',
    install:
      'Install it: npm install onnxruntime-node (behind a proxy: npm install --ignore-scripts onnxruntime-node).',
    open: new ThreadHost(module, true).open,
    environment: {
      logSeverityLevel: options.logSeverityLevel ?? 4,
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
  if (options.executionProviders?.some((one) => (typeof one === 'string' ? one : one.name) === 'webgpu')) {
    return Promise.reject(
      errors.backendUnavailable(
        'onnxruntime-web',
        'its WebGPU needs a browser, and this is Node.',
        "Use webgpuTarget(), onnxruntimeBrowser('webgpu') of @lithe/backend-onnxruntime/node, or onnxruntimeNode().",
      ),
    );
  }
  return openRuntime({
    name: 'onnxruntime-web',
    install: 'Install it: npm install onnxruntime-web.',
    open: new ThreadHost(module, false).open,
    environment: {
      logSeverityLevel: options.logSeverityLevel ?? 4,
      threads: options.threads,
      wasmPaths: options.wasmPaths,
      wasmBinary: options.wasmBinary,
      powerPreference: undefined,
    },
    sessionThreads: undefined,
    defaultProviders: ['wasm'],
    options,
    where: 'WASM in Node',
    ignores: ignoredOnWeb,
  });
}

/** onnxruntime-node, or, where it is not installed, onnxruntime-web. */
export async function openBest(
  options: OnnxRuntimeOptions,
  module = 'onnxruntime-node',
): Promise<OnnxRuntimeBackend> {
  try {
    return await openNode(options, module);
  } catch (error) {
    if (!isLitheError(error, 'BACKEND_UNAVAILABLE')) throw error;
    // The providers of one are not those of the other.
    return openWeb({ ...options, executionProviders: undefined });
  }
}

/** Saves a model in a folder of its own. */
async function saveModel(model: Model, signal: AbortSignal | undefined): Promise<ModelFile> {
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-model-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 3 });
  try {
    const file = path.join(folder, 'model.onnx');
    const { saveOnnx } = await import('@lithe/onnx/node');
    await saveOnnx(model, file, { signal });
    return { file, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** WASM in a headless browser; without one, WASM in Node. */
export async function openWasmTarget(
  options: BrowserTargetOptions,
  context: RunContext,
): Promise<OnnxRuntimeBackend> {
  const { browser, wasmPaths, wasmBinary, ...session } = options;
  try {
    return await onnxruntimeBrowser('wasm', { ...session, browser });
  } catch (error) {
    // A browser that was named must be the one that is measured.
    const isNamed = (browser ?? process.env['CHROME_PATH'] ?? '') !== '';
    if (!isLitheError(error, 'BACKEND_UNAVAILABLE') || isNamed) throw error;
    const backend = await openWeb({ ...session, wasmPaths, wasmBinary });
    context.log.warn(`${error.message} WASM is measured in Node instead. ${error.hint ?? ''}`);
    return backend;
  }
}

/** WebGPU in a headless browser. */
export function openWebgpuTarget(options: BrowserTargetOptions): Promise<OnnxRuntimeBackend> {
  const { wasmPaths: _paths, wasmBinary: _binary, ...rest } = options;
  return onnxruntimeBrowser('webgpu', rest);
}

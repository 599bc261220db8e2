import { readFile } from 'node:fs/promises';
import { errors, isLitheError } from '@lithe/core';
import { type OnnxRuntimeBackend, openRuntime } from '../../backend.ts';
import { ignoredOnWeb, type OnnxRuntimeOptions } from '../../options.ts';
import { BrowserHost } from './browser-host.ts';
import { type BrowserProgram, browserFix, findBrowser } from './find-browser.ts';

/** Which browser a model is run in, from Node. */
export interface BrowserOptions {
  /**
   * Path of a Chrome or Chromium. By default the variable `CHROME_PATH`, then an installed one, then the npm package
   * `@sparticuz/chromium`.
   */
  readonly browser?: string | undefined;
}

/**
 * Opens onnxruntime-web in a headless browser that this process starts: models are compiled, run and timed in a web
 * worker of a page there, as they would be on a user's machine. For WebGPU the machine's GPU is taken where the
 * browser finds one, else SwiftShader, a device in software; `features` then holds `software-gpu`.
 *
 * @param kind what runs the models
 * @returns the backend; disposing it ends the browser
 * @throws {LitheError} BACKEND_UNAVAILABLE when no browser or no onnxruntime-web is found
 */
export async function onnxruntimeBrowser(
  kind: 'wasm' | 'webgpu',
  options: OnnxRuntimeOptions & BrowserOptions = {},
): Promise<OnnxRuntimeBackend> {
  const backend = `onnxruntime-web (${kind})`;
  const program = await findBrowser(backend, options.browser);
  if (kind === 'wasm') return launch(kind, program, false, options);
  if (program.isPackaged) return launch(kind, program, true, options);
  try {
    return await launch(kind, program, false, options);
  } catch (error) {
    if (!isLitheError(error, 'BACKEND_UNAVAILABLE')) throw error;
    return launch(kind, program, true, options);
  }
}

async function launch(
  kind: 'wasm' | 'webgpu',
  program: BrowserProgram,
  softwareGpu: boolean,
  options: OnnxRuntimeOptions & BrowserOptions,
): Promise<OnnxRuntimeBackend> {
  const name = `onnxruntime-web (${kind})`;
  const host = await BrowserHost.start({ backend: name, program, kind, softwareGpu });
  const { browser: _, ...session } = options;
  return openRuntime({
    name,
    install: browserFix,
    open: host.open,
    environment: {
      logSeverityLevel: options.logSeverityLevel ?? 4,
      threads: options.threads,
      wasmPaths: undefined,
      wasmBinary: undefined,
      powerPreference: undefined,
    },
    sessionThreads: undefined,
    ignores: ignoredOnWeb,
    defaultProviders: [kind],
    options: session,
    features: ['browser', ...(kind === 'webgpu' ? ['webgpu'] : []), ...(softwareGpu ? ['software-gpu'] : [])],
    where: `${kind === 'wasm' ? 'WASM' : 'WebGPU'} in ${host.product}${softwareGpu ? ', SwiftShader' : ''}`,
    readFile: async (file) => {
      try {
        return await readFile(file);
      } catch (cause) {
        throw errors.fileNotFound(file, cause instanceof Error ? cause.message : String(cause), cause);
      }
    },
    onDispose: () => host.close(),
  });
}

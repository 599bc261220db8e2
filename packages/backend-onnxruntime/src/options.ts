import { errors } from '@lithe/core';

/** An execution provider with options as onnxruntime takes them, such as `{ name: 'webgpu', preferredLayout: 'NCHW' }`. */
export interface ProviderOptions {
  /** Its name. */
  readonly name: string;
  /** Anything else it takes. */
  readonly [option: string]: unknown;
}

/** An execution provider: its name, or its name with options. */
export type ExecutionProvider = string | ProviderOptions;

/** How onnxruntime prepares and runs a model. */
export interface SessionOptions {
  /**
   * Where nodes run, first choice first: `cpu`, `webgpu`, `cuda`, `coreml`, `dml`… in Node, `wasm` and `webgpu` in a
   * browser. By default the CPU.
   */
  readonly executionProviders?: readonly ExecutionProvider[] | undefined;
  /** How far the runtime rewrites the graph. By default all the way. */
  readonly graphOptimizationLevel?: 'disabled' | 'basic' | 'extended' | 'layout' | 'all' | undefined;
  /** Whether to record where the time goes; read it with {@link OnnxRuntimeExecutable.profile}. Slows runs down a little. */
  readonly profiling?: boolean | undefined;
  /** The least serious messages the runtime prints: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal. 4 by default: what goes wrong is thrown, with the same text. */
  readonly logSeverityLevel?: 0 | 1 | 2 | 3 | 4 | undefined;
  /** Sizes for symbolic dims, by name. onnxruntime-web only; onnxruntime-node does not know them. */
  readonly freeDimensionOverrides?: Readonly<Record<string, number>> | undefined;
  /** Where the runtime writes the graph as it rewrote it; onnxruntime-node only. See `optimizedGraph`. */
  readonly optimizedModelFilePath?: string | undefined;
  /** Configuration entries by key, such as `session.disable_quant_qdq: '1'`. */
  readonly config?: Readonly<Record<string, string>> | undefined;
}

/** Options of a backend on onnxruntime. Those of sessions can be given again, per model, as `extra` of `compile`. */
export interface OnnxRuntimeOptions extends SessionOptions {
  /** Threads a run may use. By default the runtime decides: as many as there are cores. */
  readonly threads?: number | undefined;
  /** How long a cancelled run may go on, in milliseconds, before its worker is given up; 1000 by default. */
  readonly cancelGraceMilliseconds?: number | undefined;
  /** Workers of disposed models that are kept for the next one; 1 by default. */
  readonly idleWorkers?: number | undefined;
}

/** Where the files of onnxruntime-web lie. Bundlers find them without it. */
export interface WebFiles {
  /** A prefix, `/assets/ort/`, or an address per kind of file, `{ wasm, mjs }`. Bundlers find the files without it. */
  readonly wasmPaths?: string | Readonly<Record<string, string>> | undefined;
  /** The contents of the `.wasm` file, to load nothing. */
  readonly wasmBinary?: Uint8Array | undefined;
}

const sessionKeys: readonly (keyof SessionOptions)[] = [
  'executionProviders',
  'graphOptimizationLevel',
  'profiling',
  'logSeverityLevel',
  'freeDimensionOverrides',
  'optimizedModelFilePath',
  'config',
];

/** What onnxruntime-web takes without complaint, and without effect that could be seen. */
export const ignoredOnWeb: readonly (keyof SessionOptions)[] = ['optimizedModelFilePath', 'profiling'];

/**
 * Joins the options of a backend with those of one model, which come from a contract that leaves them untyped.
 *
 * @throws {LitheError} OPTIONS_INVALID for a key that is not one of {@link SessionOptions}
 */
export function sessionOptions(
  base: SessionOptions,
  extra: Readonly<Record<string, unknown>> = {},
): SessionOptions {
  const unknown = Object.keys(extra).filter((key) => !(sessionKeys as readonly string[]).includes(key));
  if (unknown.length > 0) {
    throw errors.optionsInvalid(
      'compile',
      unknown.map((key) => `"${key}" is not known.`),
      `Known keys of \`extra\` are ${sessionKeys.join(', ')}.`,
    );
  }
  const { config } = extra as SessionOptions;
  return { ...base, ...extra, config: { ...base.config, ...config } };
}

/**
 * Session options in the runtime's own words.
 *
 * @param threads threads of native sessions; left out for WASM, which takes its threads from the environment
 */
export function runtimeOptions(
  options: SessionOptions,
  threads: number | undefined,
): Record<string, unknown> {
  const { executionProviders, graphOptimizationLevel, logSeverityLevel } = options;
  const { freeDimensionOverrides, optimizedModelFilePath, config } = options;
  return {
    ...(executionProviders === undefined ? {} : { executionProviders }),
    graphOptimizationLevel: graphOptimizationLevel ?? 'all',
    logSeverityLevel: logSeverityLevel ?? 4,
    ...(threads === undefined ? {} : { intraOpNumThreads: threads, interOpNumThreads: 1 }),
    ...(optimizedModelFilePath === undefined ? {} : { optimizedModelFilePath }),
    ...(freeDimensionOverrides === undefined ? {} : { freeDimensionOverrides }),
    ...(config === undefined || Object.keys(config).length === 0 ? {} : { extra: config }),
  };
}

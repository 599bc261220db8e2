import type { Feeds } from '../data/dataset.ts';
import type { Model } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Version of the backend contract that this core speaks. */
export const BACKEND_CONTRACT = 1;

/** An ONNX file as it is: what a serving runtime really loads. */
export interface EncodedModel {
  /** Tag. */
  readonly kind: 'onnx';
  /** The file's bytes, or its path (for models with external data; Node only). */
  readonly file: Uint8Array | string;
}

/** Whether a backend can run a node. */
export type Support =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: string; readonly reason: string };

/** How a model is prepared. */
export interface CompileOptions {
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
  /** What to do about nodes that the backend cannot run: refuse (default), or run the whole model on the reference interpreter. */
  readonly onUnsupported?: 'throw' | 'reference' | undefined;
  /**
   * Pairs (input, output) that stay on the device between runs: after a run the output becomes the next run's
   * input and is not among the results. Weights and optimizer slots in training, caches in inference.
   */
  readonly state?: readonly StatePair[] | undefined;
  /** Backend-specific options: threads, optimization level, profiling. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** One piece of state that stays on the device. */
export interface StatePair {
  /** Graph input that reads it. */
  readonly input: string;
  /** Graph output that replaces it after each run. */
  readonly output: string;
  /** Value before the first run. */
  readonly initial: Tensor;
}

/** How a compiled model is run. */
export interface ExecuteOptions {
  /** Cancellation: takes effect at the latest between two runs. */
  readonly signal?: AbortSignal | undefined;
  /** Only these outputs; all by default. */
  readonly outputs?: readonly string[] | undefined;
}

/** How latency is sampled. */
export interface TimingOptions {
  /** Runs that count. */
  readonly runs: number;
  /** Runs before them that do not. */
  readonly warmup?: number | undefined;
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
}

/** A model ready to run on a device. Whoever compiled it disposes it. */
export interface Executable extends AsyncDisposable {
  /** Names of the graph inputs it must be fed (state inputs left out). */
  readonly inputNames: readonly string[];
  /** Names of the outputs it gives (state outputs left out). */
  readonly outputNames: readonly string[];
  /**
   * Runs once. Results are owned by the caller.
   *
   * @throws {LitheError} SHAPE_MISMATCH when feeds do not fit; BACKEND_FAILED when the runtime fails; DISPOSED
   */
  run(feeds: Feeds, options?: ExecuteOptions): Promise<Readonly<Record<string, Tensor>>>;
  /**
   * Milliseconds of each of several runs, taken next to the runtime (no copies between threads or processes in
   * them).
   */
  time(feeds: Feeds, options: TimingOptions): Promise<Float64Array>;
  /** Reads state back, by input name. All of it by default. */
  readState(names?: readonly string[]): Promise<Readonly<Record<string, Tensor>>>;
  /** Replaces state, by input name. */
  writeState(state: Feeds): Promise<void>;
  /** Frees what it holds. Calling it again does nothing. */
  dispose(): Promise<void>;
}

/** What a backend holds alive, for leak tests. */
export interface BackendStats {
  /** Compiled models not yet disposed. */
  readonly executables: number;
  /** Tensors on the device (state included). */
  readonly liveTensors: number;
  /** Bytes of those. */
  readonly liveBytes: number;
}

/** A runtime that runs models: a value, passed in, never registered. */
export interface Backend extends AsyncDisposable {
  /** Name, such as `onnxruntime-node`. */
  readonly name: string;
  /** Version of this contract that it implements. */
  readonly contract: typeof BACKEND_CONTRACT;
  /** Version of the runtime below it, for reports. */
  readonly version: string;
  /** Element types it takes as inputs and outputs. */
  readonly dtypes: ReadonlySet<DType>;
  /** Optional features, such as `state`, `encoded-onnx`, `shader-f16`. */
  readonly features: ReadonlySet<string>;
  /** Limits, such as `maxBufferBytes`. */
  readonly limits: Readonly<Record<string, number>>;
  /** Whether it can run a node. Asked before anything is compiled. */
  supports(node: Node): Support;
  /**
   * Prepares a model.
   *
   * @throws {LitheError} OP_UNSUPPORTED naming the node; BACKEND_FAILED when the runtime refuses the model
   */
  compile(model: Model | EncodedModel, options?: CompileOptions): Promise<Executable>;
  /** What it holds alive. */
  stats(): BackendStats;
  /** Frees everything, executables included. */
  dispose(): Promise<void>;
}

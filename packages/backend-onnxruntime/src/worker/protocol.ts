/**
 * What the main thread and a worker say to each other. Types only: the worker itself is JavaScript
 * (docs/adr/0011-worker-in-javascript.md).
 *
 * @module
 */
import type { DType, NumericArray } from '@lithe/core';

/** A tensor on its way; the buffer of `data` is transferred, never shared. */
export interface WireTensor {
  /** Element type. */
  readonly dtype: DType;
  /** Dims, outermost first. */
  readonly shape: readonly number[];
  /** Elements; half floats as their bits. */
  readonly data: NumericArray | readonly string[];
}

/** Named tensors on their way. */
export type WireTensors = Readonly<Record<string, WireTensor>>;

/** A graph input or output as the runtime declares it. */
export interface ValueInfo {
  /** Name. */
  readonly name: string;
  /** Element type; `undefined` for what is not a tensor. */
  readonly dtype: DType | undefined;
  /** Dims: a number, or the name of a symbolic one. */
  readonly shape: readonly (number | string)[] | undefined;
}

/** State that stays in the worker. */
export interface WireState {
  /** Graph input that reads it. */
  readonly input: string;
  /** Graph output that replaces it after each run. */
  readonly output: string;
  /** Value before the first run. */
  readonly initial: WireTensor;
}

/** Settings of the runtime as a whole, taken before it starts. */
export interface WireEnvironment {
  /** 0 verbose to 4 fatal. */
  readonly logSeverityLevel: number;
  /** Threads of the WASM build; `undefined` leaves the choice to the runtime. */
  readonly threads: number | undefined;
  /** Where the WASM build's own files lie: a prefix, or one address per kind of file. */
  readonly wasmPaths: string | Readonly<Record<string, string>> | undefined;
  /** The WASM module itself. */
  readonly wasmBinary: Uint8Array | undefined;
  /** Name of the WebGPU power preference. */
  readonly powerPreference: 'low-power' | 'high-performance' | undefined;
}

/** What is asked of a worker. */
export type WireRequest =
  | { readonly type: 'open'; readonly environment: WireEnvironment }
  | {
      readonly type: 'compile';
      /** Bytes of the ONNX file, or its path. */
      readonly model: Uint8Array | string;
      /** Session options as the runtime takes them. */
      readonly options: Readonly<Record<string, unknown>>;
      readonly state: readonly WireState[];
      readonly profiling: boolean;
    }
  | { readonly type: 'run'; readonly feeds: WireTensors; readonly outputs: readonly string[] }
  | {
      readonly type: 'time';
      readonly feeds: WireTensors;
      readonly outputs: readonly string[];
      readonly runs: number;
      readonly warmup: number;
    }
  | { readonly type: 'readState'; readonly names: readonly string[] }
  | { readonly type: 'writeState'; readonly state: WireTensors }
  | { readonly type: 'profile' }
  | { readonly type: 'release' };

/** What a worker is sent: a request under a number, or word that nobody waits for one any more. */
export type WireMessage =
  | { readonly type: 'request'; readonly id: number; readonly body: WireRequest }
  | { readonly type: 'cancel'; readonly id: number };

/** The result of each kind of request. */
export interface WireResults {
  /** The runtime is loaded. */
  open: {
    readonly version: string;
    /** Threads it will use, where it says so. */
    readonly threads: number | undefined;
    /** Optional features of the device, such as `shader-f16`. */
    readonly features: readonly string[];
    /** Name of the device, where it has one. */
    readonly device: string | undefined;
  };
  /** The model is ready. */
  compile: { readonly inputs: readonly ValueInfo[]; readonly outputs: readonly ValueInfo[] };
  /** One run. */
  run: { readonly outputs: WireTensors; readonly state: WireStateSize };
  /** Milliseconds of each run. */
  time: { readonly milliseconds: Float64Array };
  /** State, by input name. */
  readState: { readonly state: WireTensors };
  /** Done. */
  writeState: { readonly state: WireStateSize };
  /** The profile as the runtime writes it: JSON text. */
  profile: { readonly text: string };
  /** Done. */
  release: Record<string, never>;
}

/** What state takes in the worker. */
export interface WireStateSize {
  /** Number of tensors. */
  readonly tensors: number;
  /** Bytes of them. */
  readonly bytes: number;
}

/** Why a request failed: the runtime is not installed, it failed, or the request was cancelled. */
export type WireFailureKind = 'missing' | 'unavailable' | 'failed' | 'cancelled';

/** What a worker answers. */
export type WireReply =
  | { readonly type: 'done'; readonly id: number; readonly result: WireResults[keyof WireResults] }
  | {
      readonly type: 'failed';
      readonly id: number;
      readonly kind: WireFailureKind;
      readonly message: string;
      readonly stack: string | undefined;
    };

/** What a worker thread is given when it starts. */
export interface NodeWorkerData {
  /** The package to run: `onnxruntime-node` or `onnxruntime-web`. */
  readonly module: string;
  /** `[busy, wish]`, shared with the main thread; see `worker/node-worker.js`. */
  readonly flags: Int32Array;
}

/** What the process tells a page that hosts workers. */
export type PageCommand =
  | { readonly type: 'start'; readonly worker: number; readonly kind: 'wasm' | 'webgpu' }
  | { readonly type: 'message'; readonly worker: number; readonly message: WireMessage }
  | { readonly type: 'stop'; readonly worker: number };

/** What a page that hosts workers tells the process. */
export type PageEvent =
  | { readonly type: 'ready'; readonly userAgent: string; readonly isolated: boolean }
  | { readonly type: 'reply'; readonly worker: number; readonly reply: WireReply }
  | { readonly type: 'lost'; readonly worker: number; readonly reason: string };

/** The exports of `codec.js`. */
export interface MessageCodec {
  /** Encodes a message, as the pieces of its bytes. */
  encodeMessage(message: unknown): Uint8Array<ArrayBuffer>[];
  /** Decodes a message. */
  decodeMessage(buffer: ArrayBuffer): unknown;
}

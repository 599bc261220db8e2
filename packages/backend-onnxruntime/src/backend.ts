import {
  BACKEND_CONTRACT,
  type Backend,
  type BackendStats,
  type CompileOptions,
  type DType,
  type EncodedModel,
  errors,
  isLitheError,
  type Model,
  type Node,
  type StatePair,
  type Support,
} from '@lithe/core';
import type { OpenChannel } from './channel.ts';
import { type OnnxRuntimeExecutable, RemoteExecutable } from './executable.ts';
import { type OnnxRuntimeOptions, runtimeOptions, type SessionOptions, sessionOptions } from './options.ts';
import { checkDomains, compileErrorOf, compileOnReference, supportsDomain } from './unsupported.ts';
import { packTensor } from './wire.ts';
import type { WireEnvironment, WireResults, WireState } from './worker/protocol.ts';
import { WorkerClient } from './worker-client.ts';

/** A backend on onnxruntime; its executables can also be profiled. */
export interface OnnxRuntimeBackend extends Backend {
  /** Prepares a model. */
  compile(model: Model | EncodedModel, options?: CompileOptions): Promise<OnnxRuntimeExecutable>;
}

/** What a platform knows about a runtime. */
export interface RuntimeInit {
  /** Name of the backend. */
  readonly name: string;
  /** How to install the runtime. */
  readonly install: string;
  /** Starts a worker. */
  readonly open: OpenChannel;
  /** Settings for the runtime in each worker. */
  readonly environment: WireEnvironment;
  /** Threads per session, for native sessions. */
  readonly sessionThreads: number | undefined;
  /** Providers when the options name none. */
  readonly defaultProviders: OnnxRuntimeOptions['executionProviders'];
  /** Options of the user. */
  readonly options: OnnxRuntimeOptions;
  /** Reads a file that is given by its path; left out where the runtime does that itself. */
  readonly readFile?: ((path: string) => Promise<Uint8Array>) | undefined;
  /** Saves a model that is too large for one piece, with its weights beside it; left out where there are no files. */
  readonly saveModel?: ((model: Model, signal: AbortSignal | undefined) => Promise<ModelFile>) | undefined;
  /** Bytes of weights from which a model is saved instead of sent in one piece. */
  readonly saveFromBytes?: number | undefined;
  /** Session options that the runtime would ignore. */
  readonly ignores?: readonly (keyof SessionOptions)[] | undefined;
  /** Features beyond those that every runtime has. */
  readonly features?: readonly string[] | undefined;
  /** Added to the version, such as the browser the runtime runs in. */
  readonly where?: string | undefined;
  /** Called when the backend is disposed, after its workers have ended. */
  readonly onDispose?: (() => Promise<void>) | undefined;
}

/** A model as a worker takes it. */
export interface ModelFile {
  /** Bytes that can be given away, or a path. */
  readonly file: Uint8Array | string;
  /** Removes the file, when it was made for this. */
  readonly remove?: (() => Promise<void>) | undefined;
}

/** The largest model that crosses in one piece: protobuf's limit, and that of onnxruntime. */
export const maxModelBytes: number = 2 ** 31 - 1;

const ioDTypes: ReadonlySet<DType> = new Set<DType>([
  'float32',
  'float64',
  'float16',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'bool',
  'string',
]);

/**
 * Opens a backend: starts one worker and loads the runtime in it.
 *
 * @throws {LitheError} BACKEND_UNAVAILABLE when the runtime is not installed or has no device
 */
export async function openRuntime(init: RuntimeInit): Promise<OnnxRuntimeBackend> {
  const backend = new RuntimeBackend(init);
  await backend.start();
  return backend;
}

class RuntimeBackend implements OnnxRuntimeBackend {
  readonly name: string;
  readonly contract: typeof BACKEND_CONTRACT = BACKEND_CONTRACT;
  readonly dtypes: ReadonlySet<DType> = ioDTypes;
  readonly limits: Readonly<Record<string, number>> = { maxModelBytes };
  readonly #init: RuntimeInit;
  readonly #executables = new Set<RemoteExecutable>();
  readonly #clients = new Set<WorkerClient>();
  readonly #idle: WorkerClient[] = [];
  readonly #ending = new Set<Promise<void>>();
  #opened: WireResults['open'] | undefined;
  #disposed: Promise<void> | undefined;

  constructor(init: RuntimeInit) {
    this.name = init.name;
    this.#init = init;
  }

  get version(): string {
    const { where } = this.#init;
    return `${this.#opened?.version ?? ''}${where === undefined ? '' : ` (${where})`}`;
  }

  get features(): ReadonlySet<string> {
    return new Set([
      'state',
      'encoded-onnx',
      ...(this.#init.features ?? []),
      ...(this.#opened?.features ?? []),
    ]);
  }

  async start(): Promise<void> {
    try {
      this.#idle.push(await this.#startWorker());
    } catch (error) {
      await this.dispose();
      throw error;
    }
  }

  supports(node: Node): Support {
    return supportsDomain(node);
  }

  async compile(model: Model | EncodedModel, options: CompileOptions = {}): Promise<OnnxRuntimeExecutable> {
    if (this.#disposed !== undefined) throw errors.disposed(`Backend "${this.name}"`);
    options.signal?.throwIfAborted();
    try {
      if ('graph' in model) checkDomains(model, this);
      return await this.#compile(model, options);
    } catch (error) {
      if (options.onUnsupported !== 'reference' || !isLitheError(error, 'OP_UNSUPPORTED')) throw error;
      return compileOnReference(model, options);
    }
  }

  async #compile(model: Model | EncodedModel, options: CompileOptions): Promise<OnnxRuntimeExecutable> {
    const { signal, state = [] } = options;
    const session = sessionOptions(
      { executionProviders: this.#init.defaultProviders, ...definedOf(this.#init.options) },
      options.extra,
    );
    checkIgnored(this.name, session, this.#init.ignores ?? []);
    const profiling = session.profiling === true;
    const { file, remove } = await this.#fileOf(model, signal);
    const { wire, transfer } = packState(state);
    if (typeof file !== 'string') transfer.push(file.buffer as ArrayBuffer);
    const client = this.#idle.pop() ?? (await this.#startWorker());
    try {
      const compiled = await client.request(
        {
          type: 'compile',
          model: file,
          options: runtimeOptions(session, this.#init.sessionThreads),
          state: wire,
          profiling,
        },
        { transfer, signal },
      );
      checkState(this.name, state, compiled);
      const executable: RemoteExecutable = new RemoteExecutable({
        backend: this.name,
        client,
        compiled,
        state,
        profiling,
        onDispose: async () => {
          this.#executables.delete(executable);
          await this.#retire(client);
          await remove?.();
        },
      });
      this.#executables.add(executable);
      return executable;
    } catch (error) {
      // What a cancelled or failed compilation leaves behind in a worker is not worth keeping. Not waited for: the
      // worker may be deep in native code.
      void this.#drop(client).then(remove);
      throw compileErrorOf(this.name, error);
    }
  }

  stats(): BackendStats {
    let liveTensors = 0;
    let liveBytes = 0;
    for (const executable of this.#executables) {
      liveTensors += executable.stateSize.tensors;
      liveBytes += executable.stateSize.bytes;
    }
    return { executables: this.#executables.size, liveTensors, liveBytes };
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#close();
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#executables].map((executable) => executable.dispose()));
    await Promise.all([...this.#clients].map((client) => this.#drop(client)));
    await Promise.all(this.#ending);
    await this.#init.onDispose?.();
  }

  async #fileOf(model: Model | EncodedModel, signal: AbortSignal | undefined): Promise<ModelFile> {
    const { readFile, saveModel, saveFromBytes = maxModelBytes } = this.#init;
    if ('graph' in model) {
      if (saveModel !== undefined && weightBytes(model) >= saveFromBytes) return saveModel(model, signal);
      const { writeOnnx } = await import('@lithe/onnx');
      // Copied, because an unchanged model gives the bytes that it was read from, and they are somebody's.
      return { file: new Uint8Array(await writeOnnx(model, { signal })) };
    }
    const { file } = model;
    // Copied, because the buffer is given away; not by slice(), which on a Node Buffer makes a view.
    if (typeof file !== 'string') return { file: new Uint8Array(this.#checkSize(file)) };
    return { file: readFile === undefined ? file : new Uint8Array(this.#checkSize(await readFile(file))) };
  }

  #checkSize(bytes: Uint8Array): Uint8Array {
    if (bytes.byteLength > maxModelBytes)
      throw errors.modelTooLarge(this.name, maxModelBytes, bytes.byteLength);
    return bytes;
  }

  async #startWorker(): Promise<WorkerClient> {
    const { name, install, open, environment, options } = this.#init;
    const client = await WorkerClient.start(open, {
      name,
      install,
      graceMilliseconds: options.cancelGraceMilliseconds ?? 1000,
    });
    this.#clients.add(client);
    client.onEnd = () => {
      this.#clients.delete(client);
      const index = this.#idle.indexOf(client);
      if (index >= 0) this.#idle.splice(index, 1);
    };
    try {
      this.#opened = await client.request({ type: 'open', environment });
      return client;
    } catch (error) {
      await client.stop();
      throw error;
    }
  }

  /** Keeps the worker of a disposed executable for the next model, or ends it. */
  async #retire(client: WorkerClient): Promise<void> {
    const keep = this.#init.options.idleWorkers ?? 1;
    if (client.lost === undefined && this.#disposed === undefined && this.#idle.length < keep) {
      const released = await client.request({ type: 'release' }).then(
        () => true,
        () => false,
      );
      // One that cannot be released ends with its worker.
      if (released && this.#disposed === undefined) {
        this.#idle.push(client);
        return;
      }
    }
    await this.#drop(client);
  }

  #drop(client: WorkerClient): Promise<void> {
    const ending = client.stop().finally(() => {
      this.#clients.delete(client);
      this.#ending.delete(ending);
    });
    this.#ending.add(ending);
    return ending;
  }
}

/** Options that were given, so that defaults below them show through. */
function definedOf(options: OnnxRuntimeOptions): OnnxRuntimeOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function packState(state: readonly StatePair[]): {
  readonly wire: readonly WireState[];
  readonly transfer: ArrayBuffer[];
} {
  const transfer: ArrayBuffer[] = [];
  const wire = state.map((pair) => {
    const initial = packTensor(pair.initial);
    if (!Array.isArray(initial.data)) transfer.push((initial.data as Uint8Array).buffer as ArrayBuffer);
    return { input: pair.input, output: pair.output, initial };
  });
  return { wire, transfer };
}

function checkState(backend: string, state: readonly StatePair[], compiled: WireResults['compile']): void {
  const problems: string[] = [];
  const inputs = new Map(compiled.inputs.map((one) => [one.name, one]));
  const outputs = new Set(compiled.outputs.map((one) => one.name));
  for (const { input, output, initial } of state) {
    const info = inputs.get(input);
    if (info === undefined) problems.push(`State input "${input}" is not an input of the model.`);
    else if (info.dtype !== initial.dtype) {
      problems.push(`State input "${input}" is ${String(info.dtype)}, its initial value ${initial.dtype}.`);
    }
    if (!outputs.has(output)) problems.push(`State output "${output}" is not an output of the model.`);
  }
  if (problems.length > 0) throw errors.optionsInvalid(`compile of backend "${backend}"`, problems);
}

/** Bytes of all constants. */
function weightBytes(model: Model): number {
  let bytes = 0;
  for (const value of model.graph.initializers) bytes += value.initializer?.byteLength ?? 0;
  for (const node of model.graph.nodesDeep()) bytes += node.constantSource()?.byteLength ?? 0;
  return bytes;
}

function checkIgnored(
  backend: string,
  session: SessionOptions,
  ignored: readonly (keyof SessionOptions)[],
): void {
  const problems = ignored
    .filter((key) => session[key] !== undefined && session[key] !== false)
    .map((key) => `"${key}" has no effect in ${backend}.`);
  if (problems.length > 0) throw errors.optionsInvalid('compile', problems);
}

import {
  byteLengthOf,
  type Executable,
  type ExecuteOptions,
  elementsOf,
  errors,
  type Feeds,
  type StatePair,
  type Tensor,
  type TimingOptions,
} from '@lithe/core';
import { parseProfile, type RuntimeProfile } from './profile.ts';
import { checkFeeds, packTensors, unpackTensors } from './wire.ts';
import type { ValueInfo, WireResults, WireStateSize } from './worker/protocol.ts';
import type { WorkerClient } from './worker-client.ts';

/** A model compiled for onnxruntime. It has a worker of its own, so that stopping it loses nobody else's state. */
export interface OnnxRuntimeExecutable extends Executable {
  /** What the runtime declares about the inputs, state left out. */
  readonly inputs: readonly ValueInfo[];
  /** What the runtime declares about the outputs, state left out. */
  readonly outputs: readonly ValueInfo[];
  /**
   * Ends profiling and gives what was recorded: which node ran where, for how long. Once only.
   *
   * @throws {LitheError} OPTIONS_INVALID when the model was not compiled with `profiling`
   */
  profile(): Promise<RuntimeProfile>;
}

/** How an executable is made. */
export interface ExecutableInit {
  /** Name of the backend, for messages. */
  readonly backend: string;
  /** Its worker. */
  readonly client: WorkerClient;
  /** What the runtime said of the model. */
  readonly compiled: WireResults['compile'];
  /** State. */
  readonly state: readonly StatePair[];
  /** Whether profiling is on. */
  readonly profiling: boolean;
  /** Called once, with whether the worker can take another model. */
  readonly onDispose: () => Promise<void>;
}

/** An executable whose model lives in a worker. */
export class RemoteExecutable implements OnnxRuntimeExecutable {
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly #init: ExecutableInit;
  readonly #inputs: ReadonlyMap<string, ValueInfo>;
  readonly #stateInputs: ReadonlyMap<string, ValueInfo>;
  #stateSize: WireStateSize;
  #disposed: Promise<void> | undefined;

  /** @param init worker, names, state */
  constructor(init: ExecutableInit) {
    this.#init = init;
    const { compiled, state } = init;
    const stateInputs = new Set(state.map((pair) => pair.input));
    const stateOutputs = new Set(state.map((pair) => pair.output));
    this.inputs = compiled.inputs.filter((one) => !stateInputs.has(one.name));
    this.outputs = compiled.outputs.filter((one) => !stateOutputs.has(one.name));
    this.inputNames = this.inputs.map((one) => one.name);
    this.outputNames = this.outputs.map((one) => one.name);
    this.#inputs = new Map(this.inputs.map((one) => [one.name, one]));
    this.#stateInputs = new Map(
      compiled.inputs.filter((one) => stateInputs.has(one.name)).map((one) => [one.name, one]),
    );
    let bytes = 0;
    for (const pair of state) bytes += byteLengthOf(pair.initial.dtype, elementsOf(pair.initial.shape));
    this.#stateSize = { tensors: state.length, bytes };
  }

  /** Tensors and bytes of state in the worker. */
  get stateSize(): WireStateSize {
    return this.#stateSize;
  }

  async run(feeds: Feeds, options: ExecuteOptions = {}): Promise<Readonly<Record<string, Tensor>>> {
    const { client } = this.#ready();
    const outputs = this.#outputsOf(options.outputs);
    checkFeeds(feeds, this.#inputs);
    options.signal?.throwIfAborted();
    const { tensors, transfer } = packTensors(feeds);
    const result = await client.request(
      { type: 'run', feeds: tensors, outputs },
      { transfer, signal: options.signal },
    );
    this.#stateSize = result.state;
    return unpackTensors(result.outputs);
  }

  async time(feeds: Feeds, options: TimingOptions): Promise<Float64Array> {
    const { client } = this.#ready();
    const { runs, warmup = 0, signal } = options;
    const problems: string[] = [];
    if (!Number.isSafeInteger(runs) || runs < 1)
      problems.push(`"runs" is ${runs}; it must be a whole number above 0.`);
    if (!Number.isSafeInteger(warmup) || warmup < 0)
      problems.push(`"warmup" is ${warmup}; it must be a whole number.`);
    if (problems.length > 0) throw errors.optionsInvalid('time', problems);
    checkFeeds(feeds, this.#inputs);
    signal?.throwIfAborted();
    const { tensors, transfer } = packTensors(feeds);
    const outputs = this.outputNames;
    const result = await client.request(
      { type: 'time', feeds: tensors, outputs, runs, warmup },
      { transfer, signal },
    );
    return result.milliseconds;
  }

  async readState(names?: readonly string[]): Promise<Readonly<Record<string, Tensor>>> {
    const { client } = this.#ready();
    for (const name of names ?? []) this.#stateInput(name);
    const result = await client.request({ type: 'readState', names: names ?? [...this.#stateInputs.keys()] });
    return unpackTensors(result.state);
  }

  async writeState(state: Feeds): Promise<void> {
    const { client } = this.#ready();
    const infos = new Map(Object.keys(state).map((name) => [name, this.#stateInput(name)]));
    checkFeeds(state, infos);
    const { tensors, transfer } = packTensors(state);
    const result = await client.request({ type: 'writeState', state: tensors }, { transfer });
    this.#stateSize = result.state;
  }

  async profile(): Promise<RuntimeProfile> {
    const { client, profiling } = this.#ready();
    if (!profiling) {
      throw errors.optionsInvalid(
        'compile',
        ['The model was compiled without profiling.'],
        'Compile it with `extra: { profiling: true }`.',
      );
    }
    const { text } = await client.request({ type: 'profile' });
    return parseProfile(text);
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#init.onDispose();
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #ready(): ExecutableInit {
    if (this.#disposed !== undefined) throw errors.disposed('The executable');
    return this.#init;
  }

  #outputsOf(names: readonly string[] | undefined): readonly string[] {
    for (const name of names ?? []) {
      if (!this.outputNames.includes(name)) {
        throw errors.optionsInvalid(
          'run',
          [`"${name}" is not an output.`],
          `Outputs are ${this.outputNames.join(', ')}.`,
        );
      }
    }
    return names ?? this.outputNames;
  }

  #stateInput(name: string): ValueInfo {
    const info = this.#stateInputs.get(name);
    if (info === undefined) throw errors.feedMismatch(name, 'is not a state input of the executable');
    return info;
  }
}

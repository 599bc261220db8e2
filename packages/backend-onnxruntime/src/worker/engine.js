/**
 * Runs one model in onnxruntime, next to the runtime: the part of a worker that does not depend on where the worker
 * runs.
 *
 * @import { InferenceSession, Tensor, Env } from 'onnxruntime-web'
 * @import { NumericArray } from '@lithe/core'
 * @import { WireEnvironment, WireMessage, WireReply, WireRequest, WireResults, WireState, WireStateSize, WireTensor, WireTensors, ValueInfo } from './protocol.ts'
 */

/**
 * The parts of an onnxruntime package that are used: onnxruntime-node and onnxruntime-web both have them.
 *
 * @typedef {object} Runtime
 * @property {Env} env
 * @property {typeof InferenceSession} InferenceSession
 * @property {typeof Tensor} Tensor
 */

/**
 * What depends on where the worker runs.
 *
 * @typedef {object} Host
 * @property {() => Promise<Runtime>} load Loads the runtime; throws an error with code `ERR_MODULE_NOT_FOUND` when it is not installed.
 * @property {(runtime: Runtime, environment: WireEnvironment) => Promise<Omit<WireResults['open'], 'version' | 'threads'>>} [probe] Looks at the device.
 * @property {<T>(work: () => Promise<T>) => Promise<T>} guard Wraps whatever calls into native code.
 * @property {(options: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>} [startProfile] Adds the session options that profiling needs.
 * @property {(session: InferenceSession) => Promise<string>} [endProfile] Ends profiling and reads the profile.
 * @property {boolean} [deviceState] Whether state is kept in GPU buffers.
 * @property {(reply: WireReply, transfer: ArrayBuffer[]) => void} post Answers.
 */

/** Thrown when a request is cancelled between two runs. */
class Cancelled extends Error {}

const levels = /** @type {const} */ (['verbose', 'info', 'warning', 'error', 'fatal']);

/**
 * Makes what handles the messages to a worker. Requests are taken one after the other.
 *
 * @param {Host} host
 * @returns {(message: WireMessage) => void}
 */
export function createEngine(host) {
  /** @type {Runtime | undefined} */
  let runtime;
  /** @type {InferenceSession | undefined} */
  let session;
  /** @type {readonly WireState[]} */
  let pairs = [];
  /** @type {Map<string, Tensor>} */
  const state = new Map();
  /** @type {Set<number>} */
  const cancelled = new Set();
  /** @type {Promise<void>} */
  let queue = Promise.resolve();

  /** @returns {Runtime} */
  const loaded = () => {
    if (runtime === undefined) throw new Error('The runtime is not open.');
    return runtime;
  };
  /** @returns {InferenceSession} */
  const ready = () => {
    if (session === undefined) throw new Error('No model is compiled.');
    return session;
  };

  /** @param {WireEnvironment} environment */
  async function open(environment) {
    const module = await host.load();
    runtime = module;
    const { env } = module;
    env.logLevel = levels[environment.logSeverityLevel] ?? 'error';
    if (env.wasm !== undefined) {
      if (environment.threads !== undefined) env.wasm.numThreads = environment.threads;
      if (environment.wasmPaths !== undefined) env.wasm.wasmPaths = environment.wasmPaths;
      if (environment.wasmBinary !== undefined) env.wasm.wasmBinary = environment.wasmBinary;
      env.wasm.proxy = false;
    }
    const device = (await host.probe?.(module, environment)) ?? { features: [], device: undefined };
    return {
      version: env.versions.node ?? env.versions.web ?? env.versions.common,
      threads: environment.threads,
      ...device,
    };
  }

  async function release() {
    disposeAll([...state.values()]);
    state.clear();
    pairs = [];
    const old = session;
    session = undefined;
    if (old !== undefined) await host.guard(() => old.release());
  }

  /** @param {Extract<WireRequest, { type: 'compile' }>} request */
  async function compile(request) {
    const { InferenceSession } = loaded();
    await release();
    /** @type {Record<string, unknown>} */
    const options =
      request.profiling && host.startProfile ? host.startProfile(request.options) : { ...request.options };
    if (host.deviceState && request.state.length > 0) {
      // State outputs stay in GPU buffers; results come back to memory.
      options['preferredOutputLocation'] = Object.fromEntries(
        request.state.map((pair) => /** @type {const} */ ([pair.output, 'gpu-buffer'])),
      );
    }
    const { model } = request;
    const made = await host.guard(() =>
      typeof model === 'string'
        ? InferenceSession.create(model, /** @type {InferenceSession.SessionOptions} */ (options))
        : InferenceSession.create(model, /** @type {InferenceSession.SessionOptions} */ (options)),
    );
    session = made;
    pairs = request.state;
    for (const pair of pairs) state.set(pair.input, fromWire(loaded(), pair.initial));
    return { inputs: made.inputMetadata.map(valueInfo), outputs: made.outputMetadata.map(valueInfo) };
  }

  /** @param {WireTensors} feeds */
  function feedsOf(feeds) {
    /** @type {Record<string, Tensor>} */
    const all = {};
    for (const [name, tensor] of Object.entries(feeds)) all[name] = fromWire(loaded(), tensor);
    for (const [name, tensor] of state) all[name] = tensor;
    return all;
  }

  /** @param {Extract<WireRequest, { type: 'run' }>} request */
  async function run(request) {
    const active = ready();
    const feeds = feedsOf(request.feeds);
    const fetches = [...request.outputs, ...pairs.map((pair) => pair.output)];
    const results = await host.guard(() => active.run(feeds, fetches));
    /** @type {Record<string, WireTensor>} */
    const outputs = {};
    for (const name of request.outputs) outputs[name] = await toWire(result(results, name));
    const stateOutputs = new Set(pairs.map((pair) => pair.output));
    /** @type {Tensor[]} */
    const replaced = [];
    for (const pair of pairs) {
      const old = state.get(pair.input);
      if (old !== undefined) replaced.push(old);
      state.set(pair.input, result(results, pair.output));
    }
    disposeAll(replaced);
    disposeAll(
      request.outputs.filter((name) => !stateOutputs.has(name)).map((name) => result(results, name)),
    );
    return { outputs, state: stateSize() };
  }

  /**
   * @param {Extract<WireRequest, { type: 'time' }>} request
   * @param {number} id
   */
  async function time(request, id) {
    const active = ready();
    const feeds = feedsOf(request.feeds);
    const fetches = [...request.outputs, ...pairs.map((pair) => pair.output)];
    const milliseconds = new Float64Array(request.runs);
    for (let index = -request.warmup; index < request.runs; index++) {
      if (cancelled.has(id)) throw new Cancelled();
      const start = performance.now();
      const results = await host.guard(() => active.run(feeds, fetches));
      const end = performance.now();
      if (index >= 0) milliseconds[index] = end - start;
      // The state stays as it was: timing a training step does not train.
      disposeAll(fetches.map((name) => result(results, name)));
      // Lets a cancellation through: a native run leaves the event loop no turn of its own.
      await turn();
    }
    return { milliseconds };
  }

  /** @param {readonly string[]} names */
  async function readState(names) {
    /** @type {Record<string, WireTensor>} */
    const copies = {};
    for (const name of names) {
      const tensor = state.get(name);
      if (tensor === undefined) throw new Error(`There is no state "${name}".`);
      const wire = await toWire(tensor, true);
      copies[name] = wire;
    }
    return { state: copies };
  }

  /** @param {WireTensors} replacement */
  function writeState(replacement) {
    for (const [name, tensor] of Object.entries(replacement)) {
      const old = state.get(name);
      state.set(name, fromWire(loaded(), tensor));
      if (old !== undefined) disposeAll([old]);
    }
    return { state: stateSize() };
  }

  /** @returns {WireStateSize} */
  function stateSize() {
    let bytes = 0;
    for (const tensor of state.values()) bytes += bytesOf(tensor);
    return { tensors: state.size, bytes };
  }

  /**
   * @param {WireRequest} body
   * @param {number} id
   * @returns {Promise<WireResults[keyof WireResults]>}
   */
  async function handle(body, id) {
    switch (body.type) {
      case 'open':
        return open(body.environment);
      case 'compile':
        return compile(body);
      case 'run':
        return run(body);
      case 'time':
        return time(body, id);
      case 'readState':
        return readState(body.names);
      case 'writeState':
        return writeState(body.state);
      case 'profile': {
        if (host.endProfile === undefined) throw new Error('This runtime writes no profile.');
        const active = ready();
        const end = host.endProfile;
        return { text: await host.guard(() => end(active)) };
      }
      case 'release':
        await release();
        return {};
    }
  }

  /**
   * @param {WireRequest} body
   * @param {number} id
   */
  async function answer(body, id) {
    try {
      if (cancelled.has(id)) throw new Cancelled();
      const result = await handle(body, id);
      host.post({ type: 'done', id, result }, buffersOf(result));
    } catch (error) {
      const code = /** @type {{ code?: unknown } | undefined} */ (error)?.code;
      const missing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
      host.post(
        {
          type: 'failed',
          id,
          kind:
            error instanceof Cancelled
              ? 'cancelled'
              : missing
                ? 'missing'
                : body.type === 'open'
                  ? 'unavailable'
                  : 'failed',
          message: error instanceof Error ? error.message : String(error),
          stack: error instanceof Error ? error.stack : undefined,
        },
        [],
      );
    } finally {
      cancelled.delete(id);
    }
  }

  return (message) => {
    if (message.type === 'cancel') cancelled.add(message.id);
    else queue = queue.then(() => answer(message.body, message.id));
  };
}

/**
 * Waits for the next turn of the event loop.
 *
 * @returns {Promise<void>}
 */
function turn() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(0);
  });
}

/**
 * @param {InferenceSession.OnnxValueMapType} results
 * @param {string} name
 * @returns {Tensor}
 */
function result(results, name) {
  const value = results[name];
  if (value === undefined) throw new Error(`The runtime gave no output "${name}".`);
  return /** @type {Tensor} */ (value);
}

/**
 * @param {InferenceSession.ValueMetadata} value
 * @returns {ValueInfo}
 */
function valueInfo(value) {
  if (!value.isTensor) return { name: value.name, dtype: undefined, shape: undefined };
  // The WASM build gives 2^32 - 1 for a dim that is neither known nor named.
  const shape = value.shape.map((dim) =>
    typeof dim === 'number' && (dim < 0 || dim === 0xffffffff) ? '' : dim,
  );
  return { name: value.name, dtype: value.type, shape };
}

/**
 * @param {Runtime} runtime
 * @param {WireTensor} tensor
 * @returns {Tensor}
 */
function fromWire(runtime, tensor) {
  // The constructor's overloads name one array each; the pair was checked before it was sent.
  return new runtime.Tensor(
    /** @type {'float32'} */ (tensor.dtype),
    /** @type {Float32Array} */ (tensor.data),
    tensor.shape,
  );
}

/**
 * @param {Tensor} tensor
 * @param {boolean} [copy] whether the tensor lives on, so that its buffer cannot be given away
 * @returns {Promise<WireTensor>}
 */
async function toWire(tensor, copy = false) {
  const onCpu = tensor.location === 'cpu' || tensor.location === 'cpu-pinned';
  const data = /** @type {NumericArray | string[]} */ (onCpu ? tensor.data : await tensor.getData());
  if (Array.isArray(data)) return { dtype: tensor.type, shape: tensor.dims, data: [...data] };
  const whole =
    data.byteOffset === 0 && data.byteLength === data.buffer.byteLength && data.buffer instanceof ArrayBuffer;
  const own = copy || !whole ? data.slice() : data;
  // Newer engines hold half floats in a Float16Array; everywhere in Lithe they are bits.
  const bits = tensor.type === 'float16' ? new Uint16Array(own.buffer, own.byteOffset, own.length) : own;
  return { dtype: tensor.type, shape: tensor.dims, data: /** @type {NumericArray} */ (bits) };
}

/**
 * @param {Tensor} tensor
 * @returns {number}
 */
function bytesOf(tensor) {
  const widths = /** @type {Record<string, number>} */ ({
    int8: 1,
    uint8: 1,
    bool: 1,
    float16: 2,
    int16: 2,
    uint16: 2,
    int64: 8,
    uint64: 8,
    float64: 8,
  });
  return tensor.size * (widths[tensor.type] ?? 4);
}

/**
 * Lets go of tensors; those in GPU buffers give them back.
 *
 * @param {readonly Tensor[]} tensors
 */
function disposeAll(tensors) {
  for (const tensor of tensors) {
    if (tensor.location === 'gpu-buffer') tensor.dispose();
  }
}

/**
 * The buffers of a result, to be transferred.
 *
 * @param {WireResults[keyof WireResults]} result
 * @returns {ArrayBuffer[]}
 */
function buffersOf(result) {
  /** @type {Set<ArrayBuffer>} */
  const buffers = new Set();
  const groups = [
    'outputs' in result && !Array.isArray(result.outputs) ? result.outputs : {},
    'state' in result && !('tensors' in result.state) ? result.state : {},
  ];
  for (const group of groups) {
    for (const tensor of Object.values(/** @type {WireTensors} */ (group))) {
      if (!Array.isArray(tensor.data))
        buffers.add(/** @type {ArrayBuffer} */ (/** @type {NumericArray} */ (tensor.data).buffer));
    }
  }
  return [...buffers];
}

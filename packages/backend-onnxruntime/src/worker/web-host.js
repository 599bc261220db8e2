/**
 * What the web workers share.
 *
 * @import { Host, Runtime } from './engine.js'
 * @import { WireEnvironment, WireMessage } from './protocol.ts'
 */

/**
 * Answers the messages to a web worker.
 *
 * @param {(host: Host) => (message: WireMessage) => void} create
 * @param {Pick<Host, 'load' | 'probe' | 'deviceState'>} parts
 */
export function serve(create, parts) {
  // onnxruntime's own threads load the same bundle under this name; their messages are not ours.
  if (self.name.startsWith('em-pthread')) return;
  const receive = create({
    ...parts,
    guard: (work) => work(),
    post: (reply, transfer) => self.postMessage(reply, transfer),
  });
  self.onmessage = (event) => receive(event.data);
}

/**
 * Looks for a WebGPU adapter, so that a missing one is said before a model is compiled.
 *
 * @param {Runtime} _runtime
 * @param {WireEnvironment} environment
 */
export async function probeAdapter(_runtime, environment) {
  const { gpu } = /** @type {{ gpu?: GpuLike }} */ (/** @type {unknown} */ (navigator));
  if (gpu === undefined) throw new Error('this browser has no WebGPU.');
  const { powerPreference } = environment;
  const adapter = await gpu.requestAdapter(powerPreference === undefined ? {} : { powerPreference });
  if (adapter === null) throw new Error('the browser found no WebGPU adapter.');
  const { vendor, architecture, device } = adapter.info;
  const name = [vendor, architecture, device].filter((part) => part).join(' ');
  return { features: [...adapter.features].sort(), device: name };
}

/**
 * The few members of WebGPU that are used.
 *
 * @typedef {object} GpuLike
 * @property {(options: { powerPreference?: string }) => Promise<{ features: Iterable<string>, info: { vendor: string, architecture: string, device: string } } | null>} requestAdapter
 */

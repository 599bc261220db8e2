/**
 * The page in a browser that the main process drives: starts workers and carries messages between them and the
 * process that served it, by HTTP.
 *
 * @import { PageCommand, PageEvent } from './protocol.ts'
 */
import { decodeMessage, encodeMessage } from './codec.js';

const token = location.search;
/** @type {Map<number, Worker>} */
const workers = new Map();
/** @type {Promise<unknown>} */
let posting = Promise.resolve();

/** @param {PageEvent} event */
function tell(event) {
  const body = new Blob(encodeMessage(event));
  // One after the other: answers keep their order.
  posting = posting.then(() => fetch(`/event${token}`, { method: 'POST', body }));
}

/** @param {PageCommand} command */
function obey(command) {
  const { worker: id } = command;
  if (command.type === 'start') {
    const worker = new Worker(`/worker/${command.kind}-worker.js`, { type: 'module', name: 'lithe' });
    workers.set(id, worker);
    worker.onmessage = (event) => tell({ type: 'reply', worker: id, reply: event.data });
    worker.onerror = (event) =>
      tell({ type: 'lost', worker: id, reason: event.message || 'its script could not be loaded' });
  } else if (command.type === 'stop') {
    workers.get(id)?.terminate();
    workers.delete(id);
  } else {
    workers.get(id)?.postMessage(command.message, buffersOf(command.message));
  }
}

/**
 * Every buffer in a message; each array of a decoded message has one of its own.
 *
 * @param {unknown} value
 * @returns {ArrayBuffer[]}
 */
function buffersOf(value) {
  if (ArrayBuffer.isView(value)) return [/** @type {ArrayBuffer} */ (value.buffer)];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(buffersOf);
}

tell({ type: 'ready', userAgent: navigator.userAgent, isolated: globalThis.crossOriginIsolated });
for (;;) {
  const response = await fetch(`/command${token}`);
  if (response.status === 204) continue;
  if (!response.ok) break;
  obey(/** @type {PageCommand} */ (decodeMessage(await response.arrayBuffer())));
}

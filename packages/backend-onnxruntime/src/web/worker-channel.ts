import type { ChannelEvents, OpenChannel, WorkerChannel } from '../channel.ts';
import type { WireMessage, WireReply } from '../worker/protocol.ts';

/**
 * Starts web workers. The two addresses are written out where the workers are made: that is the form in which
 * bundlers recognize a worker and bundle it.
 */
export function webWorkerChannel(kind: 'wasm' | 'webgpu'): OpenChannel {
  return (events: ChannelEvents): WorkerChannel => {
    const worker =
      kind === 'wasm'
        ? new Worker(new URL('../worker/wasm-worker.js', import.meta.url), { type: 'module', name: 'lithe' })
        : new Worker(new URL('../worker/webgpu-worker.js', import.meta.url), {
            type: 'module',
            name: 'lithe',
          });
    worker.onmessage = (event: MessageEvent<WireReply>): void => events.onReply(event.data);
    worker.onmessageerror = (): void => events.onLost('an answer of its worker could not be read.');
    worker.onerror = (event: ErrorEvent): void => {
      events.onLost(`its worker crashed: ${event.message || 'its script could not be loaded'}`, event.error);
    };
    return {
      post: (message: WireMessage, transfer) => worker.postMessage(message, [...transfer]),
      hold: () => undefined,
      stop: () => {
        // Nothing in a web worker is beyond the reach of terminate().
        worker.terminate();
        return Promise.resolve();
      },
    };
  };
}

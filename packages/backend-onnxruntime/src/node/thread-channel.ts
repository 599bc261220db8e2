import { Worker } from 'node:worker_threads';
import type { ChannelEvents, OpenChannel, WorkerChannel } from '../channel.ts';
import type { NodeWorkerData, WireMessage, WireReply } from '../worker/protocol.ts';

const busy = 0;
const wish = 1;

/** How long the end of the process waits for native code that is under way, in milliseconds. */
const exitWaitMilliseconds = 60_000;

/**
 * Starts worker threads, and sees to it that none is stopped inside native code: onnxruntime-node's binding then
 * throws where nothing can catch it, and the process ends with SIGABRT instead of its exit code.
 */
export class ThreadHost {
  readonly #module: string;
  readonly #isNative: boolean;
  readonly #threads = new Set<Int32Array>();
  readonly #onExit = (): void => {
    for (const flags of this.#threads) Atomics.store(flags, wish, 2);
    for (const flags of this.#threads) Atomics.wait(flags, busy, 1, exitWaitMilliseconds);
  };

  /**
   * @param module the runtime's package
   * @param isNative whether it is native code, which cannot be stopped; WASM can
   */
  constructor(module: string, isNative: boolean) {
    this.#module = module;
    this.#isNative = isNative;
  }

  /** Starts a thread. */
  readonly open: OpenChannel = (events: ChannelEvents): WorkerChannel => {
    const flags = new Int32Array(new SharedArrayBuffer(8));
    const workerData: NodeWorkerData = { module: this.#module, flags };
    const worker = new Worker(new URL('../worker/node-worker.js', import.meta.url), {
      workerData,
      name: 'lithe',
    });
    this.#add(flags);
    let stopping: Promise<void> | undefined;
    worker.on('message', (reply: WireReply) => events.onReply(reply));
    worker.on('messageerror', (error) => events.onLost('an answer of its worker could not be read.', error));
    worker.on('error', (error) => events.onLost(`its worker crashed: ${error.message}`, error));
    worker.on('exit', (code) => {
      this.#remove(flags);
      events.onLost(`its worker ended with code ${code}.`);
    });
    return {
      post: (message: WireMessage, transfer) => worker.postMessage(message, transfer),
      hold: (held) => {
        if (held) worker.ref();
        else worker.unref();
      },
      stop: (unanswered) => {
        stopping ??= (async (): Promise<void> => {
          // From here on the thread enters no native code; where it is inside some, it answers first.
          if (this.#isNative) {
            Atomics.store(flags, wish, 1);
            if (Atomics.load(flags, busy) === 1) await unanswered;
          }
          await worker.terminate();
        })();
        return stopping;
      },
    };
  };

  #add(flags: Int32Array): void {
    if (!this.#isNative) return;
    if (this.#threads.size === 0) process.on('exit', this.#onExit);
    this.#threads.add(flags);
  }

  #remove(flags: Int32Array): void {
    this.#threads.delete(flags);
    if (this.#threads.size === 0) process.off('exit', this.#onExit);
  }
}

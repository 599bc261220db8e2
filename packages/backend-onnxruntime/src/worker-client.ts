import { errors, type LitheError } from '@lithe/core';
import type { OpenChannel, WorkerChannel } from './channel.ts';
import type { WireReply, WireRequest, WireResults } from './worker/protocol.ts';

interface Waiting {
  readonly resolve: (result: WireResults[keyof WireResults]) => void;
  readonly reject: (error: unknown) => void;
}

/** What a {@link WorkerClient} needs to know. */
export interface ClientInit {
  /** Name of the backend, for messages. */
  readonly name: string;
  /** How to install the runtime. */
  readonly install: string;
  /** How long a cancelled request may go on before the worker is given up. */
  readonly graceMilliseconds: number;
}

/** How a request is sent. */
export interface RequestOptions {
  /** Buffers that are given away. */
  readonly transfer?: readonly ArrayBuffer[] | undefined;
  /** Cancellation: the promise rejects at once; the worker gets some time to come round. */
  readonly signal?: AbortSignal | undefined;
}

/** One worker, asked by promises. */
export class WorkerClient {
  readonly #init: ClientInit;
  readonly #waiting = new Map<number, Waiting>();
  #channel: WorkerChannel | undefined;
  #nextId = 0;
  #unanswered = 0;
  #drained: (() => void)[] = [];
  readonly #abandoned = new Map<number, () => void>();
  #isAwaited = false;
  #lost: LitheError | undefined;
  #stopping: Promise<void> | undefined;
  /** Called once, when the worker ends for whatever reason. */
  onEnd: (() => void) | undefined;

  /** @param init names and times */
  private constructor(init: ClientInit) {
    this.#init = init;
  }

  /** Starts a worker. */
  static async start(open: OpenChannel, init: ClientInit): Promise<WorkerClient> {
    const client = new WorkerClient(init);
    client.#channel = await open({
      onReply: (reply) => client.#settle(reply),
      onLost: (reason, cause) => client.#lose(reason, cause),
    });
    client.#hold();
    return client;
  }

  /** Why the worker can take no more requests; `undefined` while it can. */
  get lost(): LitheError | undefined {
    return this.#lost;
  }

  /**
   * Asks the worker.
   *
   * @throws {LitheError} BACKEND_UNAVAILABLE when the runtime is not installed or does not start; BACKEND_FAILED when
   *   it fails, or the worker is gone
   */
  async request<T extends WireRequest['type']>(
    body: Extract<WireRequest, { type: T }>,
    options: RequestOptions = {},
  ): Promise<WireResults[T]> {
    const { signal, transfer } = options;
    signal?.throwIfAborted();
    if (this.#lost !== undefined) throw this.#lost;
    const id = this.#nextId++;
    const result = new Promise<WireResults[keyof WireResults]>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#unanswered++;
    this.#hold();
    this.#channel?.post({ type: 'request', id, body }, transfer ?? []);
    if (signal === undefined) return (await result) as WireResults[T];
    const abort = (): void => this.#abandon(id, signal);
    signal.addEventListener('abort', abort, { once: true });
    try {
      return (await result) as WireResults[T];
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Ends the worker. Requests that wait fail. The process stays alive until it has ended. */
  stop(): Promise<void> {
    this.#isAwaited = true;
    const stopped = this.#stop('its worker was stopped.');
    this.#hold();
    return stopped;
  }

  #stop(reason: string): Promise<void> {
    if (this.#stopping === undefined) {
      const drained = new Promise<void>((resolve) => {
        this.#drained.push(resolve);
        if (this.#unanswered === 0) resolve();
      });
      this.#fail(errors.backendFailed(this.#init.name, reason));
      this.#hold();
      this.#stopping = this.#channel?.stop(drained) ?? Promise.resolve();
    }
    return this.#stopping;
  }

  #settle(reply: WireReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    this.#abandoned.get(reply.id)?.();
    this.#abandoned.delete(reply.id);
    this.#unanswered--;
    if (this.#unanswered === 0) for (const resolve of this.#drained.splice(0)) resolve();
    this.#hold();
    if (waiting === undefined) return;
    if (reply.type === 'done') waiting.resolve(reply.result);
    else waiting.reject(this.#errorOf(reply));
  }

  #errorOf(reply: Extract<WireReply, { type: 'failed' }>): LitheError {
    const cause = new Error(reply.message);
    if (reply.stack !== undefined) cause.stack = reply.stack;
    const { name, install } = this.#init;
    switch (reply.kind) {
      case 'missing':
        return errors.backendUnavailable(name, 'the runtime is not installed.', install, cause);
      case 'unavailable':
        return errors.backendUnavailable(name, reply.message, install, cause);
      default:
        return errors.backendFailed(name, reply.message, cause);
    }
  }

  #abandon(id: number, signal: AbortSignal): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    // The answer may still come; nobody waits for it.
    this.#waiting.delete(id);
    this.#channel?.post({ type: 'cancel', id }, []);
    const { graceMilliseconds } = this.#init;
    const timer = setTimeout(() => {
      void this.#stop(
        `its worker was given up, because a cancelled run went on for more than ${graceMilliseconds} ms. Compile the model again.`,
      );
    }, graceMilliseconds);
    letGo(timer);
    this.#abandoned.set(id, () => clearTimeout(timer));
    this.#hold();
    waiting.reject(signal.reason);
  }

  #lose(reason: string, cause: unknown): void {
    if (this.#stopping === undefined) this.#fail(errors.backendFailed(this.#init.name, reason, cause));
    for (const resolve of this.#drained.splice(0)) resolve();
    // Frees what the other side still holds: listeners, a page's entry.
    this.#stopping ??= this.#channel?.stop(Promise.resolve()) ?? Promise.resolve();
  }

  #fail(error: LitheError): void {
    this.#lost ??= error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const forget of this.#abandoned.values()) forget();
    this.#abandoned.clear();
    for (const one of waiting) one.reject(this.#lost);
    this.onEnd?.();
    this.onEnd = undefined;
  }

  #hold(): void {
    this.#channel?.hold(this.#waiting.size > 0 || this.#isAwaited);
  }
}

/** In Node a timer is an object and keeps the process alive; in a browser it is a number. */
function letGo(timer: unknown): void {
  if (typeof timer !== 'object' || timer === null || !('unref' in timer)) return;
  if (typeof timer.unref === 'function') timer.unref();
}

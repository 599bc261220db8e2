import type { WireMessage, WireReply } from './worker/protocol.ts';

/** What comes out of a {@link WorkerChannel}. */
export interface ChannelEvents {
  /** An answer. */
  onReply(reply: WireReply): void;
  /** The worker ended, or cannot be reached, without having been asked to. */
  onLost(reason: string, cause?: unknown): void;
}

/** A line to one worker, wherever it runs: a thread, a web worker, a worker in another browser. */
export interface WorkerChannel {
  /** Sends a message; the buffers in `transfer` are given away. */
  post(message: WireMessage, transfer: readonly ArrayBuffer[]): void;
  /** While held, the worker keeps the process alive. */
  hold(held: boolean): void;
  /**
   * Ends the worker. Where it is inside native code, which cannot be stopped, it ends right after; `unanswered` is
   * settled when the worker has answered everything.
   */
  stop(unanswered: Promise<void>): Promise<void>;
}

/** Starts a worker. */
export type OpenChannel = (events: ChannelEvents) => WorkerChannel | Promise<WorkerChannel>;

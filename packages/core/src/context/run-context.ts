import { createRng, type Rng } from './rng.ts';

/** One step of progress. */
export interface ProgressEvent {
  /** What is going on: a pass name, a command's phase. */
  readonly task: string;
  /** Units done. */
  readonly done: number;
  /** Units in all; 0 when not known. */
  readonly total: number;
  /** What is being worked on, such as a node name. */
  readonly label?: string | undefined;
}

/** Where messages go. */
export interface Logger {
  /** Something the user can act on. Rare: information belongs in the report. */
  warn(message: string): void;
  /** Detail for a person looking for a fault. */
  debug(message: string): void;
}

/** Randomness, messages, progress, cancellation and time: the only way code in `src` reaches any of them. */
export interface RunContext {
  /** Seeded randomness. */
  readonly rng: Rng;
  /** Messages. */
  readonly log: Logger;
  /** Cancellation. Long loops check it once a step; the abort reason is thrown as it is. */
  readonly signal: AbortSignal;
  /** Tells how far a long step is. */
  progress(event: ProgressEvent): void;
  /** Milliseconds from an arbitrary start, for measurements. */
  now(): number;
}

/** What a caller may give to make a {@link RunContext}. */
export interface RunOptions {
  /** Seed of all randomness; 0 by default. */
  readonly seed?: number | undefined;
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
  /** Receives progress. */
  readonly onProgress?: ((event: ProgressEvent) => void) | undefined;
  /** Receives messages; dropped by default. */
  readonly log?: Partial<Logger> | undefined;
  /** Clock in milliseconds; `performance.now` by default. */
  readonly now?: (() => number) | undefined;
}

/** Makes a {@link RunContext}: no cancellation, silent, seed 0 unless the options say otherwise. */
export function createRunContext(options: RunOptions = {}): RunContext {
  const nothing = (): void => undefined;
  return {
    rng: createRng(options.seed ?? 0),
    log: { warn: options.log?.warn ?? nothing, debug: options.log?.debug ?? nothing },
    signal: options.signal ?? new AbortController().signal,
    progress: options.onProgress ?? nothing,
    now: options.now ?? ((): number => performance.now()),
  };
}

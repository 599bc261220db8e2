import type { ProgressEvent } from '@lithe/core';
import ora, { type Ora } from 'ora';

/** Where a command reads and writes: results to `out`, everything else to `err`. */
export interface CommandIO {
  /** Results. */
  readonly out: NodeJS.WritableStream;
  /** Progress, warnings, errors. */
  readonly err: NodeJS.WritableStream & {
    /** Whether a person is looking: progress is drawn only then. */
    readonly isTTY?: boolean;
  };
  /** Cancellation: Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Shows what a command is doing, on the error stream. */
export interface Progress {
  /** Starts a phase; the one before it is done. */
  phase(text: string): void;
  /** Receives the progress of passes and measurements. */
  readonly onProgress: (event: ProgressEvent) => void;
  /** Shows a warning above the progress line. */
  warn(message: string): void;
  /** Ends the display. */
  stop(): void;
}

function describe(event: ProgressEvent): string {
  const count = event.total > 0 ? ` ${event.done}/${event.total}` : '';
  return event.label === undefined ? `${event.task}${count}` : `${event.task}${count} ${event.label}`;
}

/**
 * Progress for a person: a moving line with elapsed time on a terminal, one line a phase elsewhere, nothing when
 * `quiet`.
 */
export function createProgress(io: CommandIO, quiet: boolean): Progress {
  const terminal = io.err.isTTY === true && !quiet;
  let spinner: Ora | undefined;
  let current = '';
  let started = performance.now();
  const elapsed = (): string => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  const finish = (): void => {
    spinner?.stop();
    if (spinner !== undefined && current !== '') io.err.write(`✔ ${current} (${elapsed()})\n`);
    spinner = undefined;
  };
  return {
    phase: (text) => {
      if (quiet) return;
      finish();
      current = text;
      started = performance.now();
      // ora must not touch the input: Ctrl-C is ours.
      if (terminal)
        spinner = ora({
          text,
          stream: io.err as NodeJS.WriteStream,
          discardStdin: false,
          hideCursor: false,
        }).start();
      else io.err.write(`${text}\n`);
    },
    onProgress: (event) => {
      if (spinner !== undefined) spinner.text = `${current} · ${describe(event)} · ${elapsed()}`;
    },
    warn: (message) => {
      const text = `warning: ${message}\n`;
      if (spinner === undefined) io.err.write(text);
      else {
        spinner.clear();
        io.err.write(text);
        spinner.render();
      }
    },
    stop: finish,
  };
}

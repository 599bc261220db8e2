import type { CommandIO } from '../terminal/io.ts';

/** What the commands of one call share. */
export interface CommandContext {
  /** Streams and cancellation. */
  readonly io: CommandIO;
  /** What the process will end with. */
  exitCode: number;
}

import { exitCodes } from './exit-codes.ts';
import { run } from './program.ts';

/**
 * The `lithe` process: runs the command line on the process's own streams. Ctrl-C cancels the work and leaves
 * files whole; a second one ends the process at once.
 */
export async function main(argv: readonly string[]): Promise<void> {
  const controller = new AbortController();
  process.on('SIGINT', () => {
    if (controller.signal.aborted) process.exit(exitCodes.interrupted);
    controller.abort();
  });
  // A reader that closes early (`lithe inspect … | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.done);
    throw error;
  });
  process.exitCode = await run(argv, { out: process.stdout, err: process.stderr, signal: controller.signal });
}

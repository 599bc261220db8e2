import { Command, CommanderError } from 'commander';
import { addBench } from './commands/bench.ts';
import { addCompress } from './commands/compress.ts';
import type { CommandContext } from './commands/context.ts';
import { addExplain } from './commands/explain.ts';
import { addInspect } from './commands/inspect.ts';
import { addPasses } from './commands/passes.ts';
import { addPrune } from './commands/prune.ts';
import { addQuantize } from './commands/quantize.ts';
import { addReport } from './commands/report.ts';
import { addRun } from './commands/run.ts';
import { addSimplify } from './commands/simplify.ts';
import { addVerify } from './commands/verify.ts';
import { exitCodes } from './exit-codes.ts';
import type { CommandIO } from './terminal/io.ts';
import { version } from './version.ts';

function createProgram(context: CommandContext): Command {
  const program = new Command('lithe')
    .description('Makes ONNX models smaller and faster, and measures that they are.')
    .version(version)
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .addHelpText(
      'after',
      '\nResults go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 bad usage.\n',
    );
  for (const add of [
    addCompress,
    addRun,
    addReport,
    addPasses,
    addInspect,
    addExplain,
    addSimplify,
    addPrune,
    addQuantize,
    addVerify,
    addBench,
  ])
    add(program, context);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => context.io.out.write(text),
      writeErr: (text) => context.io.err.write(text),
    });
  }
  return program;
}

/**
 * Runs the command line.
 *
 * @param argv as `process.argv`: the first two entries are skipped
 * @returns the exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted
 */
export async function run(argv: readonly string[], io: CommandIO): Promise<number> {
  const context: CommandContext = { io, exitCode: exitCodes.done };
  const program = createProgram(context);
  try {
    await program.parseAsync([...argv]);
    return context.exitCode;
  } catch (error) {
    // commander has printed its message; help and version end with code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    throw error;
  }
}

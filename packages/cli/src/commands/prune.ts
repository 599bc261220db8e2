import type { Command } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import { outputPath } from '../output-path.ts';
import { printPruned } from '../prune/print.ts';
import { addPruneOptions, type PruneArguments } from '../prune/prune-arguments.ts';
import { pruneFile } from '../prune/prune-file.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createProgress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';

const examples = `
Units are removed for good: the result is an ordinary, smaller ONNX model. It computes something else than before, so
train it on, or distil it from the original, before it is used.

Examples:
  lithe prune model.onnx --dry-run
  lithe prune model.onnx --target-latency 0.6x --calibrate ./images
  lithe prune model.onnx --macs 0.5x --criterion wanda --calibrate inputs.npz --evaluate labelled.npz
  lithe prune model.onnx --ratio 0.3 --scope global --protect /head/conv -o small.onnx --json
`;

/** Adds `lithe prune`. */
export function addPrune(program: Command, context: CommandContext): void {
  const command = program
    .command('prune')
    .summary('remove channels, neurons and attention heads')
    .description(
      'Removes the channels, neurons and attention heads that matter least, with all that hangs on them, by a share or to a budget.',
    )
    .argument('<model>', 'ONNX file');
  addPruneOptions(command)
    .addHelpText('after', examples)
    .action(async (path: string, options: PruneArguments) => {
      context.exitCode = await runCommand(context.io, async () => {
        const { io } = context;
        const output = options.dryRun === true ? null : await outputPath(path, options.output, 'pruned');
        const progress = createProgress(io, false);
        try {
          const result = await pruneFile(path, output, { options, io, progress });
          progress.stop();
          if (result.drift !== null && result.data.random)
            progress.warn(
              'No data was given: the drift was taken on random input, which can mislead. Give real inputs with --calibrate.',
            );
          if (options.json === true) printJson(io, result);
          else io.out.write(printPruned(result));
          return result.met ? exitCodes.done : exitCodes.failed;
        } finally {
          progress.stop();
        }
      });
    });
}

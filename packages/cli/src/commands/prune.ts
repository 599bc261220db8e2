import type { Command } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import { outputPath } from '../output-path.ts';
import { printPruned } from '../prune/print.ts';
import type { PruneArguments } from '../prune/prune-arguments.ts';
import { pruneFile } from '../prune/prune-file.ts';
import { addPruneOptions } from '../prune/prune-options.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createProgress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';

const examples = `
What is removed is gone: the result is an ordinary, smaller ONNX model. It computes something else than before, so
win it back: by --refit with real inputs, and by training on or distilling from the original.

Examples:
  lithe prune model.onnx --dry-run
  lithe prune model.onnx --ratio 0.2 --calibrate ./images --refit
  lithe prune model.onnx --target-latency 0.6x --calibrate ./images --refit
  lithe prune model.onnx --macs 0.5x --criterion wanda --calibrate inputs.npz --evaluate labelled.npz
  lithe prune model.onnx --drop-blocks 2 --calibrate tokens.npz --refit
  lithe prune model.onnx --low-rank 0.95 --calibrate inputs.npz --refit
  lithe prune model.onnx --sparsity 0.8
  lithe prune model.onnx --pattern 2:4 --criterion sparse-gpt --calibrate inputs.npz
`;

/** Adds `lithe prune`. */
export function addPrune(program: Command, context: CommandContext): void {
  const command = program
    .command('prune')
    .summary('remove channels, heads, blocks, rank or single weights')
    .description(
      'Removes what matters least: channels, neurons and attention heads with all that hangs on them, by a share or to a budget; or whole residual blocks, the rank of layers, single weights.',
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

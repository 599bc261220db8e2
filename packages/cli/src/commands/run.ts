import { type Command, Option } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import { parseInteger } from '../options.ts';
import { readRecipe } from '../recipe/read-recipe.ts';
import { runRecipe } from '../recipe/run-recipe.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createProgress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';

interface RunArguments {
  readonly seed?: number;
  readonly runFolder?: string;
  readonly json?: boolean;
  readonly fresh?: boolean;
}

/** Adds `lithe run`. */
export function addRun(program: Command, context: CommandContext): void {
  program
    .command('run')
    .summary('run the steps of a recipe, measure each, report')
    .description('Runs the steps of a recipe in order, saves and measures the model of each, and reports.')
    .argument('<recipe>', 'recipe, YAML or JSON')
    .addOption(
      new Option('--seed <n>', 'seed to run, instead of those of the recipe').argParser(
        parseInteger(0, 2 ** 32 - 1),
      ),
    )
    .option('--run-folder <folder>', 'folder for models, checkpoints and reports (default: <recipe>.run)')
    .option('--fresh', 'make everything anew, whatever is there from earlier runs')
    .option('--json', 'print the report as JSON on stdout')
    .action(async (path: string, options: RunArguments) => {
      context.exitCode = await runCommand(context.io, async () => {
        const { io } = context;
        const progress = createProgress(io, false);
        try {
          const report = await runRecipe(await readRecipe(path), {
            folder: options.runFolder,
            seed: options.seed,
            fresh: options.fresh,
            signal: io.signal,
            onPhase: progress.phase,
            onProgress: progress.onProgress,
            log: { warn: progress.warn },
          });
          progress.stop();
          if (options.json === true) printJson(io, report);
          return report.limits.every(({ met }) => met) ? exitCodes.done : exitCodes.failed;
        } finally {
          progress.stop();
        }
      });
    });
}

import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { exitCodes, UsageError } from '../exit-codes.ts';
import { parseInteger } from '../options.ts';
import { planRecipe, type RecipePlan } from '../recipe/plan.ts';
import { summarizePlan } from '../recipe/plan-summary.ts';
import { printPlan } from '../recipe/print-plan.ts';
import { readRecipe } from '../recipe/read-recipe.ts';
import { conflictOf } from '../recipe/recipe-inputs.ts';
import { writeWhole } from '../recipe/run-folder.ts';
import { runRecipe } from '../recipe/run-recipe.ts';
import { recipeJsonSchema } from '../recipe/schema.ts';
import { htmlReport } from '../report/html/html-report.ts';
import { printRun } from '../report/print-run.ts';
import type { RunReport } from '../report/run-report.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createProgress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';

interface RunArguments {
  readonly dryRun?: boolean;
  readonly seed?: number;
  readonly runFolder?: string;
  readonly report?: string;
  readonly json?: boolean;
  readonly fresh?: boolean;
  readonly schema?: boolean;
}

const examples = `
What an earlier run left for the same model, options, data and seed is taken over; a run that was stopped goes on.

Examples:
  lithe run recipe.yaml --dry-run
  lithe run recipe.yaml --report report.html
  lithe run recipe.yaml --seed 7 --run-folder runs/seven --json
  lithe run --schema > recipe.schema.json
`;

/** Adds `lithe run`. */
export function addRun(program: Command, context: CommandContext): void {
  program
    .command('run')
    .summary('run the steps of a recipe, measure each, and report')
    .description(
      'Runs the steps of a recipe in order: passes of any plugin, from training to quantization. The model of each step is saved and measured; the report has all figures.',
    )
    .argument('[recipe]', 'recipe, YAML or JSON')
    .option('--dry-run', 'check everything, say what would be done, write nothing')
    .addOption(
      new Option('--seed <n>', 'the one seed to run, instead of those of the recipe').argParser(
        parseInteger(0, 2 ** 32 - 1),
      ),
    )
    .option('--run-folder <folder>', 'folder for models, checkpoints and reports (default: <recipe>.run)')
    .option('--report <file>', 'write the HTML report to this file as well')
    .option('--fresh', 'make everything anew, whatever is there from earlier runs')
    .option('--schema', 'print the JSON Schema of recipes, for editors')
    .option('--json', 'print the report, or with --dry-run the plan, as JSON on stdout')
    .addHelpText('after', examples)
    .action(async (path: string | undefined, options: RunArguments) => {
      context.exitCode = await runCommand(context.io, async () => {
        if (options.schema === true) {
          printJson(context.io, recipeJsonSchema());
          return exitCodes.done;
        }
        if (path === undefined) throw new UsageError('Name a recipe: lithe run recipe.yaml.');
        return options.dryRun === true
          ? await dryRun(path, options, context)
          : await run(path, options, context);
      });
    });
}

async function dryRun(path: string, options: RunArguments, { io }: CommandContext): Promise<number> {
  const plan = await planRecipe(await readRecipe(path), { ...planOptions(options, io.signal), dryRun: true });
  if (options.report !== undefined) await checkReportPath(options.report, plan);
  const summary = await summarizePlan(plan, { fresh: options.fresh, signal: io.signal });
  if (options.json === true) printJson(io, summary);
  else io.out.write(printPlan(summary));
  return exitCodes.done;
}

async function run(path: string, options: RunArguments, { io }: CommandContext): Promise<number> {
  const progress = createProgress(io, false);
  try {
    const plan = await planRecipe(await readRecipe(path), planOptions(options, io.signal));
    if (options.report !== undefined) await checkReportPath(options.report, plan);
    const report = await runRecipe(plan, {
      signal: io.signal,
      fresh: options.fresh,
      onPhase: progress.phase,
      onProgress: progress.onProgress,
      log: { warn: progress.warn },
    });
    progress.stop();
    if (options.report !== undefined) {
      await checkReportPath(options.report, plan);
      await writeWhole(resolve(options.report), await htmlReport(report));
    }
    if (options.json === true) printJson(io, report);
    else io.out.write(printRun(report));
    return isGood(report) ? exitCodes.done : exitCodes.failed;
  } finally {
    progress.stop();
  }
}

/** Neither what the recipe reads nor what else the run writes may be overwritten by the report. */
async function checkReportPath(
  path: string,
  { inputs, output, runFolder, seeds }: RecipePlan,
): Promise<void> {
  const conflict = await conflictOf(path, [
    ...inputs,
    ...(output === null ? [] : [{ what: 'the output', path: output }]),
    { what: 'report.json of the run', path: join(runFolder, 'report.json') },
    ...seeds.map((seed) => ({ what: 'the models of the run', path: join(runFolder, `seed-${seed}`) })),
  ]);
  if (conflict !== undefined) throw new UsageError(`The report "${path}" ${conflict}. Name another file.`);
}

function planOptions(
  { seed, runFolder }: RunArguments,
  signal: AbortSignal,
): Parameters<typeof planRecipe>[1] {
  return { seed, folder: runFolder, signal };
}

/** Whether the limits are kept and the result runs. */
function isGood({ limits, seeds, result }: RunReport): boolean {
  const failed = seeds.some(({ steps }) =>
    steps.some(({ name, failure }) => name === result && failure !== undefined),
  );
  return !failed && limits.every(({ met }) => met);
}

import { join } from 'node:path';
import type { Command } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import { jsonOption } from '../options.ts';
import { htmlReport } from '../report/html/html-report.ts';
import { checkHtmlPath, writeHtmlFile } from '../report/html-file.ts';
import { printRun } from '../report/print-run.ts';
import { readRunReport } from '../report/read-report.ts';
import { printJson, runCommand } from '../run-command.ts';
import type { CommandContext } from './context.ts';

interface ReportArguments {
  readonly output?: string;
  readonly json?: boolean;
}

const examples = `
Examples:
  lithe report recipe.run
  lithe report recipe.run/report.json -o report.html
`;

/** Adds `lithe report`. */
export function addReport(program: Command, context: CommandContext): void {
  program
    .command('report')
    .summary('show the report of a run again')
    .description(
      'Reads the report that running a recipe left, prints it as a table, and writes it as an HTML page that needs no other file.',
    )
    .argument('<run>', 'report.json of a run, or its folder')
    .option('-o, --output <file>', 'HTML file to write')
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action(async (path: string, options: ReportArguments) => {
      context.exitCode = await runCommand(context.io, async () => {
        const { io } = context;
        const { output } = options;
        const taken = [path, join(path, 'report.json')];
        if (output !== undefined) await checkHtmlPath(output, taken);
        const report = await readRunReport(path, io.signal);
        if (output !== undefined) await writeHtmlFile(output, await htmlReport(report), taken);
        if (options.json === true) printJson(io, report);
        else io.out.write(printRun(report));
        return exitCodes.done;
      });
    });
}

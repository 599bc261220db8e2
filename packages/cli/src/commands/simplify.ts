import { type Model, type OptimizeOptions, type OptimizeReport, optimize, type StepList } from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';
import { simplify } from '@lithe/simplify';
import { type Command, Option } from 'commander';
import { passSummaries } from '../compress/build.ts';
import type { PassSummary, SizeChange } from '../compress/report.ts';
import { exitCodes } from '../exit-codes.ts';
import { openModel } from '../model-file.ts';
import { jsonOption, parseInteger } from '../options.ts';
import { outputPath } from '../output-path.ts';
import { printJson, runCommand } from '../run-command.ts';
import { formatBytes, formatRatio, formatTable } from '../terminal/format.ts';
import { createProgress } from '../terminal/io.ts';
import { groupSkips } from '../terminal/skips.ts';
import type { CommandContext } from './context.ts';

interface SimplifyOptions {
  readonly output?: string;
  readonly opset?: number;
  readonly json?: boolean;
}

/** What `simplify --json` and `quantize --json` print. */
export interface TransformResult {
  /** Path of the model. */
  readonly model: string;
  /** Path of the result. */
  readonly output: string;
  /** Size of the file. */
  readonly size: SizeChange;
  /** Nodes, subgraphs included. */
  readonly nodes: { readonly before: number; readonly after: number };
  /** What each pass did. */
  readonly passes: readonly PassSummary[];
  /** What was done, one entry per place. */
  readonly applied: readonly string[];
}

/** Number of nodes, subgraphs included. */
export function countNodes(model: Model): number {
  let count = 0;
  for (const _node of model.graph.nodesDeep()) count++;
  return count;
}

/** Puts the result of a transformation together. */
export function transformResult(
  before: { readonly path: string; readonly model: Model; readonly bytes: number },
  output: string,
  after: { readonly model: Model; readonly report: OptimizeReport },
  bytes: number,
): TransformResult {
  return {
    model: before.path,
    output,
    size: { before: before.bytes, after: bytes, ratio: before.bytes / bytes },
    nodes: { before: countNodes(before.model), after: countNodes(after.model) },
    passes: passSummaries(after.report),
    applied: after.report.steps.flatMap((step) => step.applied),
  };
}

/** Prints the result of a transformation. */
export function printTransform(result: TransformResult): string {
  const skipped = result.passes.flatMap((pass) => pass.skipped);
  const rows = [
    ['', 'before', 'after', 'change'],
    [
      'size',
      formatBytes(result.size.before),
      formatBytes(result.size.after),
      `${formatRatio(result.size.ratio)} smaller`,
    ],
    [
      'nodes',
      String(result.nodes.before),
      String(result.nodes.after),
      String(result.nodes.after - result.nodes.before),
    ],
  ];
  return [
    `${result.model} → ${result.output}`,
    '',
    formatTable(rows, [1, 2, 3]),
    '',
    ...result.passes.map(
      (pass) =>
        `${pass.pass}: ${pass.applied} place${pass.applied === 1 ? '' : 's'} changed, ${pass.skipped.length} left alone`,
    ),
    ...groupSkips(skipped).map(({ text, count }) => `  ${count} × ${text}`),
    '',
  ].join('\n');
}

/** Runs steps over a model file and writes the result. */
export async function transformFile(
  path: string,
  output: string,
  steps: StepList,
  options: OptimizeOptions,
  writeOpset?: number,
): Promise<TransformResult> {
  const signal = options.signal ?? new AbortController().signal;
  const file = await openModel(path, signal);
  const result = await optimize(file.model, steps, options);
  const saved = await saveOnnx(result.model, output, { signal, opset: writeOpset });
  return transformResult(file, output, result, saved.bytes);
}

/** Adds `lithe simplify`. */
export function addSimplify(program: Command, context: CommandContext): void {
  program
    .command('simplify')
    .summary('remove what a model does not need')
    .description(
      'Folds constants, removes what has no effect, and fuses patterns to standard operators. Results stay the same up to rounding.',
    )
    .argument('<model>', 'ONNX file')
    .option('-o, --output <file>', 'where to write the result (default: MODEL.simplified.onnx)')
    .addOption(
      new Option('--opset <n>', 'opset to write (default: the lowest that serves)').argParser(
        parseInteger(7, 21),
      ),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  lithe simplify model.onnx\n  lithe simplify model.onnx -o clean.onnx --opset 17 --json\n',
    )
    .action(async (path: string, options: SimplifyOptions) => {
      context.exitCode = await runCommand(context.io, async () => {
        const { io } = context;
        const output = await outputPath(path, options.output, 'simplified');
        const progress = createProgress(io, false);
        try {
          progress.phase('simplifying');
          const steps = [simplify(options.opset === undefined ? {} : { maxOpset: options.opset })];
          const run = { signal: io.signal, onProgress: progress.onProgress, log: { warn: progress.warn } };
          const result = await transformFile(path, output, steps, run, options.opset);
          progress.stop();
          if (options.json === true) printJson(io, result);
          else io.out.write(printTransform(result));
          return exitCodes.done;
        } finally {
          progress.stop();
        }
      });
    });
}

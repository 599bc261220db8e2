import { type Command, Option } from 'commander';
import { compressFile } from '../compress/compress.ts';
import { printCompression } from '../compress/print.ts';
import { exitCodes } from '../exit-codes.ts';
import { openEvaluation, openInputs } from '../inputs.ts';
import { openModel } from '../model-file.ts';
import {
  addEvaluateOptions,
  addMeasureOptions,
  type EvaluateArguments,
  type MeasureArguments,
  type Objective,
  objectives,
  parseNumber,
  samplesOption,
} from '../options.ts';
import { outputPath } from '../output-path.ts';
import { htmlCompression } from '../report/html/html-compression.ts';
import { checkHtmlPath, writeHtmlFile } from '../report/html-file.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createTarget } from '../targets.ts';
import { createProgress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';

interface CompressCommandOptions extends MeasureArguments, EvaluateArguments {
  readonly output?: string;
  readonly objective: Objective;
  readonly maxDrop: number;
  readonly minSqnr?: number;
  readonly calibrate?: string;
  readonly portable?: boolean;
  readonly samples: number;
  readonly report?: string;
}

const examples = `
Examples:
  lithe compress model.onnx --calibrate ./images
  lithe compress model.onnx -o small.onnx --target wasm --objective size
  lithe compress model.onnx --calibrate train.npz --evaluate test.npz --max-drop 0.005
  lithe compress model.onnx --calibrate ./images --report evidence.html
  lithe compress model.onnx --shape x=1x3x320x320 --json > report.json
`;

/** Adds `lithe compress`. */
export function addCompress(program: Command, context: CommandContext): void {
  const command = program
    .command('compress')
    .summary('make a model smaller and faster, measured')
    .description(
      'Simplifies a model, tries the formats that make sense for it and the target, measures each against the original in that runtime, and writes the best one inside the limits.',
    )
    .argument('<model>', 'ONNX file')
    .option('-o, --output <file>', 'where to write the result (default: MODEL.small.onnx)')
    .addOption(new Option('--objective <goal>', 'what counts').choices(objectives).default('balanced'))
    .addOption(
      new Option(
        '--max-drop <share>',
        'largest drop of accuracy with --evaluate, 0.01 being one point; without labels three times this share of predictions may change',
      )
        .argParser(parseNumber(0, 1))
        .default(0.01),
    )
    .addOption(
      new Option(
        '--min-sqnr <dB>',
        'smallest signal to noise ratio of the outputs, where there are no labels (default: 19 on real inputs, 10 on random ones)',
      ).argParser(parseNumber(-100, 1000)),
    )
    .option('--calibrate <data>', 'inputs: .npy, .npz, IDX, an image, or a folder of them');
  addEvaluateOptions(command)
    .option(
      '--portable',
      'hold on x86 processors without VNNI too: 7-bit weights where sums of integers would saturate there',
    )
    .addOption(samplesOption())
    .option('--report <file>', 'write the evidence as an HTML page that needs no other file');
  addMeasureOptions(command)
    .addHelpText('after', examples)
    .action(async (path: string, options: CompressCommandOptions) => {
      context.exitCode = await runCommand(context.io, () => compress(path, options, context));
    });
}

async function compress(
  path: string,
  options: CompressCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { io } = context;
  const { signal } = io;
  const output = await outputPath(path, options.output, 'small');
  if (options.report !== undefined) await checkHtmlPath(options.report, [path, output]);
  const progress = createProgress(io, false);
  try {
    const file = await openModel(path, signal);
    const inputs = await openInputs(file.model, options.calibrate, options);
    const evaluation = await openEvaluation(file.model, options);
    const report = await compressFile(file, {
      target: await createTarget(options.target),
      threads: options.threads,
      objective: options.objective,
      limits: { maxDrop: options.maxDrop, minSqnrDb: options.minSqnr ?? (inputs.random ? 10 : 19) },
      data: inputs.data,
      random: inputs.random,
      evaluate: evaluation?.data,
      metric: evaluation?.names,
      portable: options.portable,
      driftSamples: options.samples,
      rounds: options.rounds,
      output,
      seed: options.seed,
      signal,
      onPhase: progress.phase,
      onProgress: progress.onProgress,
      log: { warn: progress.warn },
    });
    progress.stop();
    for (const warning of report.warnings) progress.warn(warning);
    if (options.report !== undefined)
      await writeHtmlFile(options.report, await htmlCompression(report), [path, output]);
    if (options.json === true) printJson(io, report);
    else io.out.write(printCompression(report));
    return exitCodes.done;
  } finally {
    progress.stop();
  }
}

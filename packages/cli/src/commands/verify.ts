import { createDrift, createRunContext } from '@lithe/core';
import { type Command, Option } from 'commander';
import { driftFigures, evaluateTop1, latencyChange } from '../compress/bench.ts';
import { outputTraits } from '../compress/output-traits.ts';
import type { AccuracyChange, DriftFigures, LatencyChange, SizeChange } from '../compress/report.ts';
import { exitCodes } from '../exit-codes.ts';
import { openEvaluation, openInputs } from '../inputs.ts';
import { openModel } from '../model-file.ts';
import {
  addEvaluateOptions,
  addMeasureOptions,
  type EvaluateArguments,
  type MeasureArguments,
  parseNumber,
  samplesOption,
} from '../options.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createTarget } from '../targets.ts';
import {
  formatBytes,
  formatMilliseconds,
  formatNumber,
  formatRatio,
  formatTable,
} from '../terminal/format.ts';
import { createProgress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';

interface VerifyOptions extends MeasureArguments, EvaluateArguments {
  readonly data?: string;
  readonly minSqnr: number;
  readonly maxDrop: number;
  readonly samples: number;
}

/** What `verify --json` prints. */
export interface VerifyResult {
  /** The two models. */
  readonly models: { readonly before: string; readonly after: string };
  /** Runtime the figures were taken in. */
  readonly target: { readonly name: string; readonly runtime: string; readonly threads: number };
  /** Inputs the figures were taken on. */
  readonly data: { readonly source: string; readonly samples: number; readonly random: boolean };
  /** Size of the files. */
  readonly size: SizeChange;
  /** Latency, measured in turn. */
  readonly latency: LatencyChange;
  /** Difference of outputs. */
  readonly drift: DriftFigures;
  /** Task metric, with labelled data. */
  readonly accuracy?: AccuracyChange | undefined;
  /** Whether drift and accuracy are inside the limits. */
  readonly pass: boolean;
  /** Limits that were broken, as clauses. */
  readonly problems: readonly string[];
}

const examples = `
Examples:
  lithe verify model.onnx model.small.onnx --data ./images
  lithe verify model.onnx model.small.onnx --target wasm --min-sqnr 30 --json
`;

/** Adds `lithe verify`. */
export function addVerify(program: Command, context: CommandContext): void {
  const command = program
    .command('verify')
    .summary('compare two models: outputs, size, latency')
    .description(
      'Runs two models on the same inputs in one runtime and compares outputs, size and latency. Ends with code 1 when the drift is over the limit.',
    )
    .argument('<before>', 'ONNX file')
    .argument('<after>', 'ONNX file')
    .option('--data <data>', 'inputs: .npy, .npz, IDX, an image, or a folder of them');
  addEvaluateOptions(command)
    .addOption(
      new Option('--min-sqnr <dB>', 'smallest signal to noise ratio of the outputs')
        .argParser(parseNumber(-100, 1000))
        .default(19),
    )
    .addOption(
      new Option('--max-drop <share>', 'largest drop of accuracy, with --evaluate')
        .argParser(parseNumber(0, 1))
        .default(0.01),
    )
    .addOption(samplesOption());
  addMeasureOptions(command)
    .addHelpText('after', examples)
    .action(async (before: string, after: string, options: VerifyOptions) => {
      context.exitCode = await runCommand(context.io, async () => {
        const result = await verifyFiles(before, after, options, context);
        if (options.json === true) printJson(context.io, result);
        else context.io.out.write(printVerification(result));
        return result.pass ? exitCodes.done : exitCodes.failed;
      });
    });
}

async function verifyFiles(
  beforePath: string,
  afterPath: string,
  options: VerifyOptions,
  command: CommandContext,
): Promise<VerifyResult> {
  const { io } = command;
  const progress = createProgress(io, false);
  const context = createRunContext({
    seed: options.seed,
    signal: io.signal,
    onProgress: progress.onProgress,
    log: { warn: progress.warn },
  });
  const [first, second] = [await openModel(beforePath, io.signal), await openModel(afterPath, io.signal)];
  const inputs = await openInputs(first.model, options.data, options);
  const labelled = await openEvaluation(first.model, options);
  const target = await createTarget(options.target);
  const backend = await target.open(context, { threads: options.threads });
  try {
    progress.phase(`comparing in ${backend.name} ${backend.version}`);
    const before = await backend.compile(first.encoded, { signal: io.signal });
    const after = await backend.compile(second.encoded, { signal: io.signal });
    const drift = createDrift(outputTraits(first.model));
    let samples = 0;
    let feeds: Parameters<typeof before.run>[0] | undefined;
    for await (const batch of inputs.data.batches({ limit: options.samples, signal: io.signal })) {
      context.progress({ task: 'drift', done: samples, total: options.samples });
      feeds ??= batch.inputs;
      drift.add(
        await before.run(batch.inputs, { signal: io.signal }),
        await after.run(batch.inputs, { signal: io.signal }),
      );
      samples += batch.size;
    }
    progress.phase('measuring latency');
    const latency = await latencyChange(before, after, feeds ?? {}, options.rounds, context);
    const accuracy =
      labelled === undefined
        ? undefined
        : {
            metric: 'top-1 accuracy',
            before: await evaluateTop1(before, labelled.data, context, labelled.names),
            after: await evaluateTop1(after, labelled.data, context, labelled.names),
          };
    progress.stop();
    if (inputs.random)
      progress.warn(
        'No data was given: the models were compared on random input, which can mislead. Give real inputs with --data.',
      );
    const figures = driftFigures(drift.result());
    const problems = problemsOf(figures, accuracy, options);
    return {
      models: { before: beforePath, after: afterPath },
      target: { name: target.name, runtime: `${backend.name} ${backend.version}`, threads: options.threads },
      data: { source: inputs.data.description, samples, random: inputs.random },
      size: { before: first.bytes, after: second.bytes, ratio: first.bytes / second.bytes },
      latency,
      drift: figures,
      ...(accuracy === undefined ? {} : { accuracy }),
      pass: problems.length === 0,
      problems,
    };
  } finally {
    progress.stop();
    await backend.dispose();
  }
}

function problemsOf(
  drift: DriftFigures,
  accuracy: AccuracyChange | undefined,
  options: VerifyOptions,
): string[] {
  const problems: string[] = [];
  if (!(drift.sqnrDb >= options.minSqnr))
    problems.push(`outputs drift to ${formatNumber(drift.sqnrDb)} dB, below ${options.minSqnr} dB`);
  if (accuracy !== undefined && accuracy.before - accuracy.after > options.maxDrop) {
    problems.push(
      `${accuracy.metric} falls by ${(accuracy.before - accuracy.after).toFixed(4)}, more than ${options.maxDrop}`,
    );
  }
  return problems;
}

function printVerification(result: VerifyResult): string {
  const { size, latency, drift, accuracy } = result;
  const rows = [
    ['', 'before', 'after', 'change'],
    ['size', formatBytes(size.before), formatBytes(size.after), `${formatRatio(size.ratio)} smaller`],
    [
      'latency',
      formatMilliseconds(latency.beforeMs),
      formatMilliseconds(latency.afterMs),
      `${formatRatio(latency.speedup)} as fast (95 %: ${formatRatio(latency.interval[0])} to ${formatRatio(latency.interval[1])})`,
    ],
    [
      'drift',
      '',
      `${formatNumber(drift.sqnrDb)} dB`,
      `cosine ${drift.cosine.toFixed(6)}, largest difference ${formatNumber(drift.maxAbs)}`,
    ],
    ...(drift.top1Agreement === undefined
      ? []
      : [['same best class', '', `${(drift.top1Agreement * 100).toFixed(2)} %`, '']]),
    ...(accuracy === undefined
      ? []
      : [
          [
            accuracy.metric,
            `${(accuracy.before * 100).toFixed(2)} %`,
            `${(accuracy.after * 100).toFixed(2)} %`,
            '',
          ],
        ]),
  ];
  const { name, runtime, threads } = result.target;
  return [
    `${result.models.before} against ${result.models.after}`,
    `in ${name} (${runtime}, ${threads} thread${threads === 1 ? '' : 's'}), on ${result.data.samples} samples of ${result.data.source}`,
    '',
    formatTable(rows, [1, 2]),
    '',
    result.pass ? 'inside the limits' : `NOT inside the limits: ${result.problems.join('; ')}`,
    '',
  ].join('\n');
}

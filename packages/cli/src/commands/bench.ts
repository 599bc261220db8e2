import { createRunContext, type Feeds, type LatencyEntry, measureLatency } from '@lithe/core';
import type { Command } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import { openInputs } from '../inputs.ts';
import { type ModelFile, openModel } from '../model-file.ts';
import { addMeasureOptions, type MeasureArguments } from '../options.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createTarget } from '../targets.ts';
import { formatBytes, formatMilliseconds, formatRatio, formatTable } from '../terminal/format.ts';
import { createProgress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';

interface BenchCommandOptions extends MeasureArguments {
  readonly data?: string;
}

/** What `bench --json` prints. */
export interface BenchResult {
  /** Runtime the figures were taken in. */
  readonly target: { readonly name: string; readonly runtime: string; readonly threads: number };
  /** Inputs the models were run on. */
  readonly data: { readonly source: string; readonly random: boolean };
  /** Rounds; in each the models take turns. */
  readonly rounds: number;
  /** One entry per model; `speedup` is against the first. */
  readonly models: readonly {
    readonly model: string;
    readonly bytes: number;
    readonly medianMs: number;
    readonly p10Ms: number;
    readonly p90Ms: number;
    readonly speedup: number;
    readonly interval: readonly [number, number];
  }[];
}

const examples = `
Examples:
  lithe bench model.onnx model.small.onnx
  lithe bench model.onnx model.small.onnx --target wasm --shape x=1x3x320x320 --json
`;

/** Adds `lithe bench`. */
export function addBench(program: Command, context: CommandContext): void {
  const command = program
    .command('bench')
    .summary('measure the latency of models')
    .description(
      'Measures models in one runtime, taking turns, so that a busy machine disturbs all alike. Speeds are against the first.',
    )
    .argument('<models...>', 'ONNX files')
    .option(
      '--data <data>',
      'inputs: .npy, .npz, IDX, an image, or a folder of them (the first sample is used)',
    );
  addMeasureOptions(command)
    .addHelpText('after', examples)
    .action(async (paths: string[], options: BenchCommandOptions) => {
      context.exitCode = await runCommand(context.io, async () => {
        const result = await benchFiles(paths, options, context);
        if (options.json === true) printJson(context.io, result);
        else context.io.out.write(printBench(result));
        return exitCodes.done;
      });
    });
}

async function benchFiles(
  paths: readonly string[],
  options: BenchCommandOptions,
  command: CommandContext,
): Promise<BenchResult> {
  const { io } = command;
  const progress = createProgress(io, false);
  const context = createRunContext({
    seed: options.seed,
    signal: io.signal,
    onProgress: progress.onProgress,
    log: { warn: progress.warn },
  });
  const files: ModelFile[] = [];
  for (const path of paths) files.push(await openModel(path, io.signal));
  const first = files[0] as ModelFile;
  const inputs = await openInputs(first.model, options.data, options);
  const target = await createTarget(options.target);
  const backend = await target.open(context, { threads: options.threads });
  try {
    progress.phase(`measuring in ${backend.name} ${backend.version}`);
    const entries: LatencyEntry[] = [];
    for (const [index, file] of files.entries())
      entries.push({
        name: `${index + 1}: ${file.path}`,
        executable: await backend.compile(file.encoded, { signal: io.signal }),
      });
    let feeds: Feeds = {};
    for await (const batch of inputs.data.batches({ limit: 1, signal: io.signal })) feeds = batch.inputs;
    const report = await measureLatency(entries, feeds, {
      rounds: options.rounds,
      signal: io.signal,
      onRound: (done, total) => {
        context.progress({ task: 'latency', done, total });
      },
    });
    return {
      target: { name: target.name, runtime: `${backend.name} ${backend.version}`, threads: options.threads },
      data: { source: inputs.data.description, random: inputs.random },
      rounds: options.rounds,
      models: report.entries.map(({ medianMs, p10Ms, p90Ms }, index) => {
        const file = files[index] as ModelFile;
        const comparison = report.comparisons[index - 1];
        const { speedup, interval } = comparison ?? { speedup: 1, interval: { low: 1, high: 1 } };
        return {
          model: file.path,
          bytes: file.bytes,
          medianMs,
          p10Ms,
          p90Ms,
          speedup,
          interval: [interval.low, interval.high] as const,
        };
      }),
    };
  } finally {
    progress.stop();
    await backend.dispose();
  }
}

function printBench(result: BenchResult): string {
  const { name, runtime, threads } = result.target;
  const rows = [
    ['model', 'size', 'median', '10 % to 90 %', 'speed', '95 % interval'],
    ...result.models.map((model) => [
      model.model,
      formatBytes(model.bytes),
      formatMilliseconds(model.medianMs),
      `${formatMilliseconds(model.p10Ms)} to ${formatMilliseconds(model.p90Ms)}`,
      formatRatio(model.speedup),
      `${formatRatio(model.interval[0])} to ${formatRatio(model.interval[1])}`,
    ]),
  ];
  return [
    `${name} (${runtime}, ${threads} thread${threads === 1 ? '' : 's'}), ${result.rounds} rounds, on ${result.data.source}`,
    '',
    formatTable(rows, [1, 2, 3, 4, 5]),
    '',
  ].join('\n');
}

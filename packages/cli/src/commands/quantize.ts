import { createRunContext, type StepList } from '@lithe/core';
import {
  dynamicInt8,
  float16Compute,
  float16Storage,
  foldableWeights,
  staticInt8,
  weightOnly,
} from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { exitCodes, UsageError } from '../exit-codes.ts';
import { openInputs } from '../inputs.ts';
import { openModel } from '../model-file.ts';
import { addInputOptions, type InputArguments } from '../options.ts';
import { outputPath } from '../output-path.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createTarget } from '../targets.ts';
import { createProgress, type Progress } from '../terminal/io.ts';
import type { CommandContext } from './context.ts';
import { printTransform, type TransformResult, transformFile } from './simplify.ts';

const blockSizes = [16, 32, 64, 128, 256] as const;
type BlockSize = (typeof blockSizes)[number];

interface Scheme {
  readonly summary: string;
  /** Whether activations are calibrated, which takes data and a runtime. */
  readonly calibrated?: boolean;
  readonly steps: (options: { readonly blockSize: BlockSize }) => StepList;
}

/** Ways to quantize, by the name that `--scheme` takes. */
const schemes: Readonly<Record<string, Scheme>> = {
  'foldable-int8': {
    summary: 'int8 weights, expanded by the runtime at load; 4x smaller at float speed, everywhere',
    steps: () => [foldableWeights({ bits: 8 })],
  },
  'foldable-int4': {
    summary: 'int4 weights, expanded by the runtime at load; about 6x smaller at float speed',
    steps: ({ blockSize }) => [foldableWeights({ bits: 4, blockSize })],
  },
  'float16-storage': {
    summary: 'float16 weights, expanded by the runtime at load; 2x smaller',
    steps: () => [float16Storage()],
  },
  float16: {
    summary: 'float16 weights and arithmetic; inputs and outputs stay float32',
    steps: () => [float16Compute()],
  },
  'weight-int8': {
    summary: 'int8 weights behind DequantizeLinear',
    steps: ({ blockSize }) => [weightOnly({ bits: 8, format: 'dequantize-linear', blockSize })],
  },
  'weight-int4': {
    summary: 'int4 weights in blocks for MatMulNBits',
    steps: ({ blockSize }) => [weightOnly({ bits: 4, format: 'matmul-nbits', blockSize })],
  },
  'weight-int4-dq': {
    summary: 'int4 weights in blocks behind DequantizeLinear (opset 21)',
    steps: ({ blockSize }) => [weightOnly({ bits: 4, format: 'dequantize-linear', blockSize })],
  },
  'dynamic-int8': {
    summary: 'int8 matrix products, activations quantized as they come',
    steps: () => [dynamicInt8()],
  },
  'static-int8': {
    summary: 'int8 arithmetic with calibrated activations (needs --calibrate)',
    calibrated: true,
    steps: () => [staticInt8()],
  },
};

interface QuantizeOptions extends InputArguments {
  readonly scheme: string;
  readonly output?: string;
  readonly calibrate?: string;
  readonly blockSize: BlockSize;
  readonly simplify: boolean;
}

const help = `
Schemes:
${Object.entries(schemes)
  .map(([name, { summary }]) => `  ${name.padEnd(16)} ${summary}`)
  .join('\n')}

Examples:
  lithe quantize model.onnx --scheme foldable-int8
  lithe quantize model.onnx --scheme static-int8 --calibrate ./images -o model.int8.onnx
`;

function parseBlockSize(text: string): BlockSize {
  const found = blockSizes.find((size) => String(size) === text);
  if (found === undefined) throw new InvalidArgumentError(`It must be one of ${blockSizes.join(', ')}.`);
  return found;
}

/** Adds `lithe quantize`. */
export function addQuantize(program: Command, context: CommandContext): void {
  const command = program
    .command('quantize')
    .summary('store or compute weights in fewer bits')
    .description('Quantizes a model by one scheme. `lithe compress` tries several and keeps what pays.')
    .argument('<model>', 'ONNX file')
    .addOption(
      new Option('--scheme <name>', 'how to quantize').choices(Object.keys(schemes)).makeOptionMandatory(),
    )
    .option('-o, --output <file>', 'where to write the result (default: MODEL.<scheme>.onnx)')
    .option(
      '--calibrate <data>',
      'inputs that ranges are taken from: .npy, .npz, IDX, an image, or a folder of them',
    )
    .addOption(
      new Option('--block-size <n>', 'weights per scale, for schemes in blocks')
        .argParser(parseBlockSize)
        .default(32),
    )
    .option('--no-simplify', 'quantize the graph as it is');
  addInputOptions(command)
    .addHelpText('after', help)
    .action(async (path: string, options: QuantizeOptions) => {
      context.exitCode = await runCommand(context.io, async () => {
        const progress = createProgress(context.io, false);
        try {
          const result = await quantize(path, options, context, progress);
          progress.stop();
          if (options.json === true) printJson(context.io, result);
          else context.io.out.write(printTransform(result));
          return exitCodes.done;
        } finally {
          progress.stop();
        }
      });
    });
}

async function quantize(
  path: string,
  options: QuantizeOptions,
  command: CommandContext,
  progress: Progress,
): Promise<TransformResult> {
  const { io } = command;
  const scheme = schemes[options.scheme] as Scheme;
  const output = await outputPath(path, options.output, options.scheme);
  const steps: StepList = [options.simplify && simplify(), scheme.steps({ blockSize: options.blockSize })];
  const run = {
    seed: options.seed,
    signal: io.signal,
    onProgress: progress.onProgress,
    log: { warn: progress.warn },
    check: 'off' as const,
  };
  const target = await createTarget(options.target);
  progress.phase(`quantizing: ${options.scheme}`);
  if (scheme.calibrated !== true) return transformFile(path, output, steps, { ...run, target });
  if (options.calibrate === undefined) {
    throw new UsageError(
      `Scheme "${options.scheme}" takes its ranges from real inputs: give them with --calibrate.`,
    );
  }
  const { model } = await openModel(path, io.signal);
  const inputs = await openInputs(model, options.calibrate, options);
  const backend = await target.open(createRunContext(run));
  try {
    return await transformFile(path, output, steps, { ...run, target, backend, data: inputs.data });
  } finally {
    await backend.dispose();
  }
}

import { createRunContext, type StepList } from '@lithe/core';
import { simplify } from '@lithe/simplify';
import { type Command, Option } from 'commander';
import { onNativeCpu, saturationWarning } from '../compress/processors.ts';
import { exitCodes, UsageError } from '../exit-codes.ts';
import { openInputs } from '../inputs.ts';
import { openModel } from '../model-file.ts';
import { addInputOptions } from '../options.ts';
import { outputPath } from '../output-path.ts';
import { type PresetCall, quantizePreset } from '../quantize/preset.ts';
import { addPresetOptions, presetArgumentNames } from '../quantize/preset-options.ts';
import { addSchemeOptions, checkTaken, flagOf } from '../quantize/scheme-arguments.ts';
import { beforeSimplifying, needsInputs, type Scheme, schemes } from '../quantize/schemes.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createTarget } from '../targets.ts';
import { createProgress, type Progress } from '../terminal/io.ts';
import { printSet } from '../transformers-js/print-set.ts';
import type { CommandContext } from './context.ts';
import { printTransform, type TransformResult, transformFile } from './simplify.ts';

interface QuantizeOptions extends PresetCall {
  readonly scheme?: string;
  readonly preset?: 'transformers-js';
}

const help = `
Schemes:
${Object.entries(schemes)
  .map(([name, { summary }]) => `  ${name.padEnd(17)}${summary}`)
  .join('\n')}

Presets:
  transformers-js  the files that transformers.js loads by dtype, each run beside the float model first:
                   model.onnx (fp32), model_fp16, model_quantized (q8), model_int8, model_uint8, model_q4,
                   model_q4f16, model_bnb4. Not made: q2 and q1 (2 bits leave a third of a weight as noise,
                   and onnxruntime 1.30 has no kernel for 1 bit).

Examples:
  lithe quantize model.onnx --scheme foldable-int8
  lithe quantize model.onnx --scheme static-int8 --calibrate ./images -o model.int8.onnx
  lithe quantize model.onnx --preset transformers-js -o my-model/onnx
  lithe quantize my-model/onnx --preset transformers-js --dtypes q8,q4f16
  lithe quantize model.onnx --preset transformers-js --dtypes q8,q4 --calibrate tokens.npz --verify-in node-cpu,wasm
`;

/** Adds `lithe quantize`. */
export function addQuantize(program: Command, context: CommandContext): void {
  const command = program
    .command('quantize')
    .summary('store or compute weights in fewer bits')
    .description(
      'Quantizes a model by one scheme, or makes a set of files by a preset. `lithe compress` tries several schemes and keeps what pays.',
    )
    .argument('<model>', 'ONNX file; with a preset also a folder of them')
    .addOption(
      new Option('--scheme <name>', 'how to quantize: one of the schemes below').choices(
        Object.keys(schemes),
      ),
    )
    .addOption(
      new Option('--preset <name>', 'a set of files for a library: one of the presets below').choices([
        'transformers-js',
      ]),
    )
    .option(
      '-o, --output <path>',
      'where to write: a file (default: MODEL.<scheme>.onnx), or the folder of a preset (default: onnx/)',
    )
    .option(
      '--calibrate <data>',
      'real inputs that ranges, and with a preset drift and latency, are taken from: .npy, .npz, IDX, an image, or a folder of them',
    )
    .option('--no-simplify', 'quantize the graph as it is');
  addInputOptions(command);
  addSchemeOptions(command);
  addPresetOptions(command);
  command.addHelpText('after', help).action(async (path: string, options: QuantizeOptions) => {
    context.exitCode = await runCommand(context.io, async () => {
      const progress = createProgress(context.io, false);
      try {
        return await quantize(path, options, context, progress);
      } finally {
        progress.stop();
      }
    });
  });
}

async function quantize(
  path: string,
  options: QuantizeOptions,
  context: CommandContext,
  progress: Progress,
): Promise<number> {
  const { io } = context;
  if ((options.scheme === undefined) === (options.preset === undefined)) {
    throw new UsageError(
      'Say how to quantize: either --scheme NAME or --preset transformers-js. `lithe quantize --help` lists them.',
    );
  }
  if (options.preset !== undefined) {
    const reports = await quantizePreset(path, options, io, progress);
    if (options.json === true) printJson(io, reports.length === 1 ? reports[0] : reports);
    else io.out.write(reports.map(printSet).join('\n'));
    const refused = reports.some(({ files }) => files.some(({ state }) => state === 'refused'));
    return refused ? exitCodes.failed : exitCodes.done;
  }
  const result = await quantizeScheme(path, options as QuantizeOptions & { scheme: string }, io, progress);
  progress.stop();
  if (options.json === true) printJson(io, result);
  else io.out.write(printTransform(result));
  return exitCodes.done;
}

async function quantizeScheme(
  path: string,
  options: QuantizeOptions & { readonly scheme: string },
  io: CommandContext['io'],
  progress: Progress,
): Promise<TransformResult> {
  const scheme = schemes[options.scheme];
  if (scheme === undefined) throw new UsageError(`No scheme is called "${options.scheme}".`);
  checkScheme(options.scheme, scheme, options);
  const output = await outputPath(path, options.output, options.scheme);
  const steps: StepList = [beforeSimplifying(options), options.simplify && simplify(), scheme.steps(options)];
  const run = {
    seed: options.seed,
    signal: io.signal,
    onProgress: progress.onProgress,
    log: { warn: progress.warn },
    check: 'off' as const,
  };
  const target = await createTarget(options.target);
  progress.phase(`quantizing: ${options.scheme}`);
  if (options.calibrate === undefined) return transformFile(path, output, steps, { ...run, target });
  const { model } = await openModel(path, io.signal);
  const inputs = await openInputs(model, options.calibrate, options);
  const backend = await target.open(createRunContext(run));
  try {
    const result = await transformFile(path, output, steps, { ...run, target, backend, data: inputs.data });
    if (scheme.mayOverflow === true && options.reduceRange === undefined && onNativeCpu(target)) {
      progress.phase('trying what processors without VNNI make of it');
      const written = await openModel(output, io.signal);
      const advice =
        options.scheme === 'static-int8'
          ? '--reduce-range auto gives layers whose sums do weights of 7 bits.'
          : '--reduce-range gives all weights 7 bits.';
      const warning = await saturationWarning(written.model, inputs.data, createRunContext(run), advice);
      if (warning !== undefined) progress.warn(warning);
    }
    return result;
  } finally {
    await backend.dispose();
  }
}

/** Refuses options that the scheme does not know, and the lack of those that it needs. */
function checkScheme(name: string, scheme: Scheme, options: QuantizeOptions): void {
  checkTaken(`scheme "${name}"`, scheme.takes, options);
  for (const preset of presetArgumentNames) {
    if (options[preset] !== undefined)
      throw new UsageError(`${flagOf(preset)} is an option of --preset transformers-js, not of a scheme.`);
  }
  if (name === 'dynamic-int8' && options.reduceRange === 'auto') {
    throw new UsageError(
      'Scheme "dynamic-int8" knows no activations beforehand to see which sums overflow: --reduce-range gives all weights 7 bits.',
    );
  }
  if (options.calibrate === undefined && needsInputs(scheme, options)) {
    throw new UsageError(
      `Scheme "${name}"${scheme.calibrated === true ? '' : ' with these options'} learns from real inputs: give them with --calibrate.`,
    );
  }
}

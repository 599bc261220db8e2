import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { transformersJsSuffixes } from '@lithe/quantization';
import { UsageError } from '../exit-codes.ts';
import { openInputs } from '../inputs.ts';
import { openModel } from '../model-file.ts';
import type { InputArguments, TargetName } from '../options.ts';
import { createTarget } from '../targets.ts';
import type { CommandIO, Progress } from '../terminal/io.ts';
import type { SetReport } from '../transformers-js/report.ts';
import { writeTransformersJsSet } from '../transformers-js/write-set.ts';
import type { PresetArguments } from './preset-options.ts';
import { checkTaken, presetTakes } from './scheme-arguments.ts';
import type { SchemeOptions } from './schemes.ts';

/** Everything that `lithe quantize --preset` is given. */
export interface PresetCall extends InputArguments, PresetArguments, SchemeOptions {
  /** Folder to write to. */
  readonly output?: string;
  /** Inputs. */
  readonly calibrate?: string;
  /** Whether the graph is simplified first. */
  readonly simplify: boolean;
}

/** Where a set goes that no folder was named for: beside the model if that is in `onnx/`, else to an `onnx/` there. */
function folderFor(path: string, output: string | undefined): string {
  if (output?.toLowerCase().endsWith('.onnx') === true) {
    throw new UsageError(`--preset writes several files: name a folder with --output, not "${output}".`);
  }
  if (output !== undefined) return output;
  const folder = dirname(path);
  return basename(folder) === 'onnx' ? folder : join(folder, 'onnx');
}

/** Whether a file is one of those that a set is made of, by its name. */
const isVariant = (name: string): boolean =>
  Object.values(transformersJsSuffixes).some((suffix) => suffix !== '' && name.endsWith(`${suffix}.onnx`));

/** The float32 models at a path: the file, or those of a folder. */
async function modelsAt(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true) return [path];
  const names = (await readdir(path)).filter((name) => name.endsWith('.onnx') && !isVariant(name)).sort();
  if (names.length === 0) throw new UsageError(`The folder "${path}" holds no float32 model (*.onnx).`);
  return names.map((name) => join(path, name));
}

/** Writes the sets that `--preset transformers-js` asks for, one for each model. */
export async function quantizePreset(
  path: string,
  options: PresetCall,
  io: CommandIO,
  progress: Progress,
): Promise<readonly SetReport[]> {
  checkTaken('--preset transformers-js', presetTakes, options);
  const models = await modelsAt(path);
  if (models.length > 1 && options.calibrate !== undefined)
    throw new UsageError(
      '--calibrate has the inputs of one model: give the models of the folder one by one.',
    );
  const reports: SetReport[] = [];
  for (const model of models) {
    const report = await quantizeModel(model, options, io, progress);
    reports.push(report);
    progress.stop();
    for (const warning of report.warnings) progress.warn(warning);
  }
  return reports;
}

/** Writes the set of one model. */
async function quantizeModel(
  path: string,
  options: PresetCall,
  io: CommandIO,
  progress: Progress,
): Promise<SetReport> {
  const output = folderFor(path, options.output);
  const names: readonly TargetName[] = options.verifyIn ?? [
    ...new Set<TargetName>(['node-cpu', options.target]),
  ];
  const file = await openModel(path, io.signal);
  const inputs = await openInputs(file.model, options.calibrate, options);
  const targets = await Promise.all(names.map(createTarget));
  const { dtypes, modelType, blockSize, perChannel, algorithm, accuracyLevel, keepOperators } = options;
  const { embeddings, reduceRange, asymmetric } = options;
  return writeTransformersJsSet(file, {
    output,
    targets,
    data: inputs.data,
    random: inputs.random,
    minSqnrDb: options.minSqnr,
    samples: options.samples,
    rounds: options.rounds,
    threads: options.threads,
    simplify: options.simplify,
    seed: options.seed,
    signal: io.signal,
    onPhase: progress.phase,
    onProgress: progress.onProgress,
    log: { warn: progress.warn },
    preset: {
      dtypes,
      modelType,
      blockSize,
      perChannel,
      algorithm,
      accuracyLevel,
      keepOperators,
      symmetric: asymmetric === undefined ? undefined : !asymmetric,
      reducedRange: reduceRange === 'auto' ? undefined : reduceRange,
      embeddings: embeddings === 'auto' ? undefined : embeddings,
      q8: options.q8 ?? (options.target === 'webgpu' ? 'foldable' : 'dynamic'),
    },
  });
}

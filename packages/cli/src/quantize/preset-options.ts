import { type TransformersJsDType, transformersJsDTypes } from '@lithe/quantization';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseInteger, parseNumber, type TargetName, targetNames } from '../options.ts';

/** What `lithe quantize --preset` is given beside what all schemes take. */
export interface PresetArguments {
  /** Dtypes to make. */
  readonly dtypes?: readonly TransformersJsDType[];
  /** Runtimes to verify in. */
  readonly verifyIn?: readonly TargetName[];
  /** Smallest signal to noise ratio. */
  readonly minSqnr: number;
  /** Samples that drift is taken on. */
  readonly samples: number;
  /** Threads of the runtimes. */
  readonly threads: number;
  /** Rounds of the latency measurement. */
  readonly rounds: number;
  /** What q8 is. */
  readonly q8?: 'dynamic' | 'foldable';
  /** How tables of embeddings are stored. */
  readonly embeddings: 'int8' | 'float';
  /** `model_type`, where `config.json` does not say it. */
  readonly modelType?: string;
  /** A scale per column of 8-bit matrices. */
  readonly perChannel?: boolean;
  /** 7 bits for signed weights. */
  readonly reduceRange?: boolean;
}

/** Reads a list of names, such as `q8,q4`. */
function parseList<T extends string>(allowed: readonly T[]): (text: string) => readonly T[] {
  return (text) => {
    const names = text
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
    const unknown = names.find((name) => !(allowed as readonly string[]).includes(name));
    if (names.length === 0 || unknown !== undefined)
      throw new InvalidArgumentError(`Write it as a list of ${allowed.join(', ')}.`);
    return allowed.filter((name) => names.includes(name));
  };
}

/** `--dtypes`, the names that transformers.js loads. */
const dtypesOption = (): Option =>
  new Option(
    '--dtypes <list>',
    `which files to make, such as q8,q4 (default: ${transformersJsDTypes.join(',')})`,
  ).argParser(parseList(transformersJsDTypes));

/** Adds the options of {@link PresetArguments}. */
export function addPresetOptions(command: Command): Command {
  return command
    .optionsGroup('Options of --preset transformers-js:')
    .addOption(dtypesOption())
    .addOption(
      new Option(
        '--verify-in <list>',
        `runtimes that each file must run in beside the float model, such as node-cpu,wasm (default: node-cpu and --target)`,
      ).argParser(parseList(targetNames)),
    )
    .addOption(
      new Option(
        '--min-sqnr <dB>',
        'smallest signal to noise ratio of the outputs; files below are not written',
      )
        .argParser(parseNumber(-100, 1000))
        .default(10),
    )
    .addOption(
      new Option('--samples <n>', 'samples that drift is taken on')
        .argParser(parseInteger(1, 100_000))
        .default(32),
    )
    .addOption(
      new Option('--threads <n>', 'threads of the runtimes').argParser(parseInteger(1, 256)).default(1),
    )
    .addOption(
      new Option('--rounds <n>', 'rounds of the latency measurement')
        .argParser(parseInteger(1, 100_000))
        .default(11),
    )
    .addOption(
      new Option(
        '--q8 <form>',
        'what q8 is: 8-bit arithmetic for CPU and WASM, or 8-bit storage for WebGPU (default: what --target runs)',
      ).choices(['dynamic', 'foldable']),
    )
    .addOption(
      new Option('--embeddings <form>', 'how q4, q4f16 and bnb4 store tables of embeddings')
        .choices(['int8', 'float'])
        .default('int8'),
    )
    .option('--model-type <type>', 'model_type, where config.json beside the model does not say it')
    .option('--per-channel', 'a scale per column in 8-bit matrices (default: by model type)')
    .option('--no-per-channel', 'one scale per 8-bit matrix')
    .option('--reduce-range', '7 bits for signed weights, for CPUs without VNNI (default: by model type)')
    .option('--no-reduce-range', '8 bits for signed weights');
}

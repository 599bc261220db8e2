import { type TransformersJsDType, transformersJsDTypes } from '@lithe/quantization';
import { type Command, Option } from 'commander';
import { parseInteger, parseNumber, type TargetName, targetNames } from '../options.ts';
import { parseChoices } from './scheme-arguments.ts';

/** What `lithe quantize --preset` is given beside what schemes take. */
export interface PresetArguments {
  /** Dtypes to make. */
  readonly dtypes?: readonly TransformersJsDType[];
  /** Runtimes to verify in. */
  readonly verifyIn?: readonly TargetName[];
  /** Smallest signal to noise ratio. */
  readonly minSqnr?: number;
  /** Threads of the runtimes. */
  readonly threads?: number;
  /** Rounds of the latency measurement. */
  readonly rounds?: number;
  /** What q8 is. */
  readonly q8?: 'dynamic' | 'foldable';
  /** `model_type`, where `config.json` does not say it. */
  readonly modelType?: string;
  /** A scale per column of 8-bit matrices. */
  readonly perChannel?: boolean;
}

/** The names of {@link PresetArguments}. */
export const presetArgumentNames: readonly (keyof PresetArguments)[] = [
  'dtypes',
  'verifyIn',
  'minSqnr',
  'threads',
  'rounds',
  'q8',
  'modelType',
  'perChannel',
];

/** Adds the options of {@link PresetArguments}. */
export function addPresetOptions(command: Command): void {
  const options = [
    new Option(
      '--dtypes <list>',
      `which files to make, such as q8,q4 (default: ${transformersJsDTypes.join(',')})`,
    ).argParser(parseChoices(transformersJsDTypes)),
    new Option(
      '--verify-in <list>',
      'runtimes that each file must run in beside the float model, such as node-cpu,wasm (default: node-cpu and --target)',
    ).argParser(parseChoices(targetNames)),
    new Option(
      '--min-sqnr <dB>',
      'smallest signal to noise ratio of the outputs; files below are not written (default: 8)',
    ).argParser(parseNumber(-100, 1000)),
    new Option('--threads <n>', 'threads of the runtimes (default: 1)').argParser(parseInteger(1, 256)),
    new Option('--rounds <n>', 'rounds of the latency measurement (default: 11)').argParser(
      parseInteger(1, 100_000),
    ),
    new Option(
      '--q8 <form>',
      'what q8 is: 8-bit arithmetic for CPU and WASM, or 8-bit storage for WebGPU (default: what --target runs)',
    ).choices(['dynamic', 'foldable']),
    new Option('--model-type <type>', 'model_type, where config.json beside the model does not say it'),
    new Option('--per-channel', 'a scale per column in 8-bit matrices (default: by model type)'),
    new Option('--no-per-channel', 'one scale per 8-bit matrix'),
  ];
  command.optionsGroup('Options of --preset transformers-js:');
  for (const option of options) command.addOption(option);
}

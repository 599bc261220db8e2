import type { PrecisionFormatName } from '@lithe/quantization';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../exit-codes.ts';
import { parseInteger, parseNumber } from '../options.ts';
import { type BlockSize, blockSizes, type Scheme, type SchemeOptions } from './schemes.ts';

function parseBlockSize(text: string): BlockSize {
  const found = blockSizes.find((size) => String(size) === text);
  if (found === undefined) throw new InvalidArgumentError(`It must be one of ${blockSizes.join(', ')}.`);
  return found;
}

/** Reads a list of names, such as `q8,q4`, each of them one of `allowed`; in the order of those. */
export function parseChoices<T extends string>(allowed: readonly T[]): (text: string) => readonly T[] {
  return (text) => {
    const names = split(text);
    const unknown = names.find((name) => !(allowed as readonly string[]).includes(name));
    if (names.length === 0 || unknown !== undefined)
      throw new InvalidArgumentError(`Write it as a list of ${allowed.join(', ')}.`);
    return allowed.filter((name) => names.includes(name));
  };
}

const split = (text: string): readonly string[] =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** Reads a list of names; the option may be repeated. */
const parseNames = (text: string, previous: readonly string[] = []): readonly string[] => [
  ...previous,
  ...split(text),
];

const formats: readonly PrecisionFormatName[] = [
  'foldable-int8',
  'foldable-int4',
  'matmul-int8',
  'matmul-int4',
  'static-int8',
];

/** Adds the options that schemes take; which takes which, `lithe quantize --help` says. */
export function addSchemeOptions(command: Command): void {
  const option = (flags: string, description: string): Option => new Option(flags, description);
  const choice = (flags: string, description: string, choices: readonly string[]): Option =>
    option(flags, description).choices([...choices]);
  const add = (title: string, options: readonly Option[]): void => {
    command.optionsGroup(title);
    for (const one of options) command.addOption(one);
  };
  add('Options for weights:', [
    option(
      '--block-size <n>',
      `weights per scale: ${blockSizes.join(', ')} (default: 32; 64 for NF4)`,
    ).argParser(parseBlockSize),
    choice('--algorithm <name>', 'how integers are chosen; gptq and awq take --calibrate (default: rtn)', [
      'rtn',
      'hqq',
      'gptq',
      'awq',
    ]),
    option('--asymmetric', 'a zero point for each block: more exact, a little larger'),
    option(
      '--accuracy-level <n>',
      'accuracy_level of MatMulNBits, 0 to leave it out (default: 4, int8)',
    ).argParser(parseInteger(0, 4)),
    choice(
      '--embeddings <form>',
      'tables of embeddings (default: auto, only those that a product shares; int8 in a preset)',
      ['auto', 'int8', 'int4', 'float'],
    ),
    option('--exclude <nodes>', 'names of nodes that stay float, separated by commas').argParser(parseNames),
  ]);
  add('Options for activations:', [
    option(
      '--samples <n>',
      'samples of --calibrate to use (default: each method its own, about 100)',
    ).argParser(parseInteger(1, 100_000)),
    choice('--calibrator <name>', 'how ranges follow from what was seen (default: min-max)', [
      'min-max',
      'moving-average',
      'percentile',
      'entropy',
      'mse',
    ]),
    choice(
      '--format <name>',
      'pairs around operators, or integer operators for old runtimes (default: qdq)',
      ['qdq', 'qoperator'],
    ),
    choice('--activations <dtype>', 'type of activations (default: what --target is fastest with)', [
      'auto',
      'uint8',
      'int8',
      'uint16',
      'int16',
    ]),
    choice(
      '--reduce-range [when]',
      '7 bits for signed weights, for CPUs without VNNI; auto: where they would overflow (preset: by model type)',
      ['auto'],
    ),
    option('--no-reduce-range', '8 bits for signed weights'),
    option('--convolutions', 'dynamic-int8: convolutions too, which mostly get slower'),
  ]);
  add('Options to win accuracy back (they take --calibrate):', [
    option('--equalize', 'first even out the scales of neighbouring layers'),
    option('--smooth', 'first move outliers of activations into weights (SmoothQuant)'),
    option('--reestimate-batch-norm', 'first take the statistics of batch normalizations anew'),
    choice('--bias-correction <how>', 'take what rounding shifts off the biases', [
      'fast',
      'empirical',
      'none',
    ]),
    option('--ada-round', 'learn whether each weight is rounded up or down'),
    option(
      '--fallback [dB]',
      'leave layers that suffer in float, until the outputs keep so many decibels (20 when left out)',
    ).argParser(parseNumber(-100, 1000)),
  ]);
  add('Options of float16:', [
    choice('--io <dtype>', 'type of inputs and outputs (default: float32, kept)', ['float32', 'float16']),
    option('--keep-operators <names>', 'operators that stay float32, separated by commas').argParser(
      parseNames,
    ),
  ]);
  add('Options of mixed:', [
    option('--max-drift <n>', 'divergence of the outputs that is allowed (default: 0.01)').argParser(
      parseNumber(0, 1e6),
    ),
    option('--formats <list>', 'formats to choose from (default: foldable-int8,foldable-int4)').argParser(
      parseChoices(formats),
    ),
  ]);
}

/** The flag of an option. */
export const flagOf = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

const optionNames: readonly (keyof SchemeOptions)[] = [
  'blockSize',
  'asymmetric',
  'algorithm',
  'accuracyLevel',
  'embeddings',
  'exclude',
  'samples',
  'calibrator',
  'format',
  'activations',
  'reduceRange',
  'equalize',
  'smooth',
  'reestimateBatchNorm',
  'biasCorrection',
  'adaRound',
  'fallback',
  'convolutions',
  'io',
  'keepOperators',
  'maxDrift',
  'formats',
];

/** Options that a preset takes of those of schemes. */
export const presetTakes: readonly (keyof SchemeOptions)[] = [
  'blockSize',
  'asymmetric',
  'algorithm',
  'accuracyLevel',
  'embeddings',
  'samples',
  'reduceRange',
  'keepOperators',
];

/**
 * Refuses options that mean nothing to a scheme, instead of ignoring them.
 *
 * @throws {UsageError} naming the option, and what the scheme takes
 */
export function checkTaken(what: string, takes: Scheme['takes'], options: SchemeOptions): void {
  for (const name of optionNames) {
    if (options[name] === undefined || takes.includes(name)) continue;
    const known = takes.length === 0 ? 'no options of this kind' : takes.map(flagOf).join(', ');
    throw new UsageError(`${flagOf(name)} means nothing to ${what}, which takes ${known}.`);
  }
}

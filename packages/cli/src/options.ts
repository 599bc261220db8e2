import { type Command, InvalidArgumentError, Option } from 'commander';

/** What a user may compress for. */
export const objectives = ['size', 'latency', 'balanced'] as const;

/** What a user may compress for: the smallest file, the fastest model, or both alike. */
export type Objective = (typeof objectives)[number];

/** The targets the command knows. */
export const targetNames = ['node-cpu', 'wasm', 'webgpu'] as const;

/** A target the command knows. */
export type TargetName = (typeof targetNames)[number];

/** Shapes by input name, as given by `--shape`. */
export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Reads one `--shape x=1x3x320x320`; the option may be repeated. */
export function parseShape(text: string, previous: Shapes = {}): Shapes {
  const [, name, dims] = /^(.+)=(\d+(?:[x,]\d+)*|scalar)$/.exec(text) ?? [];
  if (name === undefined || dims === undefined)
    throw new InvalidArgumentError('Write it as NAME=1x3x320x320 (or NAME=scalar).');
  if (Object.hasOwn(previous, name)) throw new InvalidArgumentError(`Input "${name}" is given twice.`);
  return { ...previous, [name]: dims === 'scalar' ? [] : dims.split(/[x,]/).map(Number) };
}

/** Contents of inputs by name, as given by `--value`. */
export type Values = Readonly<Record<string, readonly number[]>>;

/** Reads one `--value sr=16000`; the option may be repeated. */
export function parseValue(text: string, previous: Values = {}): Values {
  const [, name, list] = /^(.+?)=(-?[\d.]+(?:e[-+]?\d+)?(?:,-?[\d.]+(?:e[-+]?\d+)?)*)$/i.exec(text) ?? [];
  if (name === undefined || list === undefined)
    throw new InvalidArgumentError('Write it as NAME=16000 or NAME=1,2,3.');
  const numbers = list.split(',').map(Number);
  if (numbers.some((number) => !Number.isFinite(number)))
    throw new InvalidArgumentError('All values must be numbers.');
  if (Object.hasOwn(previous, name)) throw new InvalidArgumentError(`Input "${name}" is given twice.`);
  return { ...previous, [name]: numbers };
}

/** Reads a number in a range. */
export function parseNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= minimum && value <= maximum)) {
      throw new InvalidArgumentError(`It must be a number from ${minimum} to ${maximum}.`);
    }
    return value;
  };
}

/** Reads a whole number in a range. */
export function parseInteger(minimum: number, maximum: number): (text: string) => number {
  const parse = parseNumber(minimum, maximum);
  return (text) => {
    const value = parse(text);
    if (!Number.isInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
    return value;
  };
}

/** `--json`, the same in every command. */
export const jsonOption = (): Option => new Option('--json', 'print the result as JSON on stdout');

/** `--shape`, the same in every command. */
export const shapeOption = (): Option =>
  new Option(
    '--shape <name=dims>',
    'size of an input with symbolic dims, such as x=1x3x320x320 (repeat for more inputs)',
  ).argParser(parseShape);

/** `--samples`, the same in every command that compares outputs. */
export const samplesOption = (): Option =>
  new Option('--samples <n>', 'samples that drift is taken on')
    .argParser(parseInteger(1, 100_000))
    .default(32);

/** What commands that judge by accuracy are given. */
export interface EvaluateArguments {
  /** Path of labelled inputs. */
  readonly evaluate?: string;
  /** Output of the model with the scores of the classes. */
  readonly metricOutput?: string;
  /** Array of the data with the numbers of the right classes. */
  readonly metricLabel?: string;
}

/** Adds the options of {@link EvaluateArguments}. */
export function addEvaluateOptions(command: Command, when = ''): Command {
  return command
    .option('--evaluate <data>', `labelled inputs, for the accuracy${when}`)
    .option(
      '--metric-output <name>',
      'with --evaluate: output with the scores of classes (default: the first)',
    )
    .option('--metric-label <name>', 'array of --evaluate with the right classes (default: label)');
}

/** What commands that run models on inputs are given. */
export interface InputArguments {
  /** Runtime. */
  readonly target: TargetName;
  /** JSON file with the image preprocessing. */
  readonly preprocess?: string;
  /** Sizes of inputs with symbolic dims. */
  readonly shape?: Shapes;
  /** Contents of inputs that must not be random. */
  readonly value?: Values;
  /** Seed of everything random. */
  readonly seed: number;
  /** Whether the result is printed as JSON. */
  readonly json?: boolean;
}

/** What commands that measure are given. */
export interface MeasureArguments extends InputArguments {
  /** Threads of the runtime. */
  readonly threads: number;
  /** Rounds of a measurement. */
  readonly rounds: number;
}

/** Adds the options of {@link InputArguments}. */
export function addInputOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--target <runtime>', 'runtime to compress for and measure in')
        .choices(targetNames)
        .default('node-cpu'),
    )
    .addOption(
      new Option(
        '--preprocess <file>',
        'JSON file with the image preprocessing (default: preprocessing.json beside the images)',
      ),
    )
    .addOption(shapeOption())
    .addOption(
      new Option(
        '--value <name=numbers>',
        'contents of an input that must not be random, such as sr=16000 (repeat for more inputs)',
      ).argParser(parseValue),
    )
    .addOption(
      new Option('--seed <n>', 'seed of everything random')
        .argParser(parseInteger(0, 2 ** 32 - 1))
        .default(0),
    )
    .addOption(jsonOption());
}

/** Rounds that a 95 % interval of a median takes: with five, all lie on one side of it by chance in 6 % of cases. */
export const LEAST_ROUNDS = 6;

/** Adds the options of {@link MeasureArguments}. */
export function addMeasureOptions(command: Command): Command {
  return addInputOptions(command)
    .addOption(
      new Option('--threads <n>', 'threads of the runtime').argParser(parseInteger(1, 256)).default(1),
    )
    .addOption(
      new Option('--rounds <n>', 'rounds of a measurement; in each the models take turns')
        .argParser(parseInteger(LEAST_ROUNDS, 100_000))
        .default(31),
    );
}

import {
  type Dataset,
  type DType,
  elementsOf,
  errors,
  isLitheError,
  isStaticShape,
  type Model,
  randomDataset,
  Tensor,
  tensorType,
} from '@lithe/core';
import type { InputSpec } from '@lithe/data';
import { openDataset } from '@lithe/data/node';
import { UsageError } from './exit-codes.ts';
import type { EvaluateArguments, InputArguments, Shapes } from './options.ts';
import { tokenInputs } from './token-inputs.ts';

/** Random samples that drift is taken on. */
const RANDOM_SAMPLES = 4;

/** Inputs that a model is measured on. */
export interface Inputs {
  /** The samples. */
  readonly data: Dataset;
  /** Whether they are random, because the user gave none. */
  readonly random: boolean;
}

/** How inputs are found. */
export type InputOptions = Pick<InputArguments, 'shape' | 'value' | 'preprocess' | 'seed'>;

/** The inputs a model must be fed, with the shapes the user gave. */
function inputSpecs(model: Model, shapes: Shapes | undefined): InputSpec[] {
  return model.graph.inputs
    .filter((value) => value.initializer === undefined)
    .map((value) => ({ name: value.name, dtype: value.dtype, shape: shapes?.[value.name] ?? value.shape }));
}

/** The tensors that `--value` gives: of the declared shape where that is known, else as long as the list. */
function inputValues(
  model: Model,
  { value: values = {}, shape: shapes }: InputOptions,
): Record<string, Tensor> {
  checkNames(model, values, '--value');
  return Object.fromEntries(
    Object.entries(values).map(([name, numbers]) => {
      const input = model.graph.value(name);
      const declared = shapes?.[name] ?? (isStaticShape(input?.shape) ? input.shape : undefined);
      const shape = declared ?? (numbers.length === 1 && input?.shape?.length === 0 ? [] : [numbers.length]);
      return [name, tensorOf(name, input?.dtype ?? 'float32', shape, numbers)];
    }),
  );
}

function tensorOf(name: string, dtype: DType, shape: readonly number[], numbers: readonly number[]): Tensor {
  if (elementsOf(shape) !== numbers.length) {
    throw new UsageError(
      `--value gives "${name}" ${numbers.length} numbers; its shape [${shape.join(', ')}] takes ${elementsOf(shape)}.`,
    );
  }
  switch (dtype) {
    case 'int64':
      return Tensor.from(
        'int64',
        shape,
        BigInt64Array.from(numbers, (number) => BigInt(Math.trunc(number))),
      );
    case 'int32':
      return Tensor.from('int32', shape, Int32Array.from(numbers));
    case 'bool':
      return Tensor.from(
        'bool',
        shape,
        Uint8Array.from(numbers, (number) => (number === 0 ? 0 : 1)),
      );
    case 'float64':
      return Tensor.from('float64', shape, Float64Array.from(numbers));
    case 'float32':
      return Tensor.from('float32', shape, Float32Array.from(numbers));
    default:
      throw new UsageError(`--value cannot make "${name}", which is ${dtype}; give real inputs as .npy.`);
  }
}

/** How `--shape` is written for the inputs of a model whose sizes are not all known. */
function shapeExamples(model: Model): string {
  const open = model.graph.inputs.filter(
    (value) => value.initializer === undefined && value.shape?.some((dim) => typeof dim !== 'number'),
  );
  const examples = open.map((value) => {
    const dims = value.shape?.map((dim) => (typeof dim === 'number' ? String(dim) : '?')).join('x');
    return `--shape ${value.name}=${dims ?? '?'}`;
  });
  return `such as ${examples.join(' ')} with a number for each "?"`;
}

/**
 * The samples at `path`, or without one seeded random inputs: tokens for a language model, else numbers of the declared
 * shapes.
 *
 * @throws {UsageError} when symbolic sizes are needed and were not given, or `--shape` names no input
 */
export async function openInputs(
  model: Model,
  path: string | undefined,
  options: InputOptions,
): Promise<Inputs> {
  const { shape: shapes, preprocess, seed } = options;
  checkShapes(model, shapes);
  const values = inputValues(model, options);
  if (path !== undefined) {
    const data = await openDataset(path, inputSpecs(model, shapes), { preprocessingFile: preprocess });
    return { data, random: false };
  }
  const tokens = tokenInputs(model, { shape: shapes, values, seed });
  if (tokens !== undefined) return { data: tokens, random: true };
  try {
    return { data: randomDataset(model, { shapes, values, seed, samples: RANDOM_SAMPLES }), random: true };
  } catch (error) {
    if (!isLitheError(error, 'OPTIONS_INVALID')) throw error;
    throw new UsageError(`${error.message}\nhint: give sizes, ${shapeExamples(model)}, or real inputs.`, {
      cause: error,
    });
  }
}

/** What an accuracy is taken on, and what it compares. */
export interface Evaluation {
  /** Labelled samples. */
  readonly data: Dataset;
  /** The output with the scores, and the target with the classes. */
  readonly names: { readonly output?: string | undefined; readonly label?: string | undefined };
}

/**
 * What `--evaluate`, `--metric-output` and `--metric-label` ask for.
 *
 * @throws {UsageError} when the model has no such output, or the options are given without data
 * @throws {LitheError} DATA_INVALID when the samples have no labels
 */
export async function openEvaluation(
  model: Model,
  options: EvaluateArguments & Pick<InputOptions, 'shape' | 'preprocess'>,
): Promise<Evaluation | undefined> {
  const { evaluate: path, metricOutput: output, metricLabel, shape: shapes, preprocess } = options;
  const label = metricLabel ?? 'label';
  if (path === undefined) {
    if (output !== undefined || metricLabel !== undefined)
      throw new UsageError(
        '--metric-output and --metric-label say what --evaluate compares: give labelled inputs with it.',
      );
    return undefined;
  }
  const outputs = model.graph.outputs.map(({ name }) => name);
  if (output !== undefined && !outputs.includes(output)) {
    const known = outputs.map((name) => `"${name}"`).join(', ');
    throw new UsageError(
      `--metric-output names "${output}", which is no output of the model. It has ${known}.`,
    );
  }
  const data = await openDataset(path, inputSpecs(model, shapes), { preprocessingFile: preprocess });
  for await (const { targets = {} } of data.batches({ limit: 1 })) {
    if (targets[label] !== undefined) continue;
    const others = Object.keys(targets).map((name) => `"${name}"`);
    throw errors.dataInvalid(
      path,
      metricLabel === undefined ? 'it has no labels.' : `it has no array "${label}".`,
      others.length > 0
        ? `It has ${others.join(', ')}; --metric-label says which holds the classes.`
        : 'Use a .npz with an array "label", IDX images with labels, or image folders named by class.',
    );
  }
  return { data, names: { output, label } };
}

/** Sets the declared shapes of inputs, in memory: for cost and inspection. */
export function applyShapes(model: Model, shapes: Shapes | undefined): void {
  checkShapes(model, shapes);
  for (const [name, shape] of Object.entries(shapes ?? {})) {
    const value = model.graph.value(name);
    if (value !== undefined) value.type = tensorType(value.dtype, shape);
  }
}

function checkShapes(model: Model, shapes: Shapes | undefined): void {
  checkNames(model, shapes ?? {}, '--shape');
}

function checkNames(model: Model, named: Readonly<Record<string, unknown>>, option: string): void {
  const inputs = model.graph.inputs.map((value) => value.name);
  for (const name of Object.keys(named)) {
    if (!inputs.includes(name)) {
      throw new UsageError(`${option} names "${name}", which is no input. Inputs: ${inputs.join(', ')}.`);
    }
  }
}

import { type Dataset, errors, isLitheError, type Model, randomDataset, tensorType } from '@lithe/core';
import type { InputSpec } from '@lithe/data';
import { openDataset } from '@lithe/data/node';
import { UsageError } from './exit-codes.ts';
import type { Shapes } from './options.ts';

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
export interface InputOptions {
  /** Sizes of inputs with symbolic dims. */
  readonly shapes: Shapes | undefined;
  /** JSON file with the image preprocessing. */
  readonly preprocess?: string | undefined;
  /** Seed of random inputs. */
  readonly seed: number;
}

/** The inputs a model must be fed, with the shapes the user gave. */
function inputSpecs(model: Model, shapes: Shapes | undefined): InputSpec[] {
  return model.graph.inputs
    .filter((value) => value.initializer === undefined)
    .map((value) => ({ name: value.name, dtype: value.dtype, shape: shapes?.[value.name] ?? value.shape }));
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
 * The samples at `path`, or without one seeded random inputs of the declared shapes.
 *
 * @throws {UsageError} when symbolic sizes are needed and were not given, or `--shape` names no input
 */
export async function openInputs(
  model: Model,
  path: string | undefined,
  options: InputOptions,
): Promise<Inputs> {
  const { shapes, preprocess, seed } = options;
  checkShapes(model, shapes);
  if (path !== undefined) {
    const data = await openDataset(path, inputSpecs(model, shapes), { preprocessingFile: preprocess });
    return { data, random: false };
  }
  try {
    return { data: randomDataset(model, { shapes, seed, samples: RANDOM_SAMPLES }), random: true };
  } catch (error) {
    if (!isLitheError(error, 'OPTIONS_INVALID')) throw error;
    throw new UsageError(`${error.message}\nhint: give sizes, ${shapeExamples(model)}, or real inputs.`, {
      cause: error,
    });
  }
}

/**
 * The labelled samples at `path`.
 *
 * @throws {LitheError} DATA_INVALID when they have no labels
 */
export async function openLabelled(
  model: Model,
  path: string,
  options: Pick<InputOptions, 'shapes' | 'preprocess'>,
): Promise<Dataset> {
  const { shapes, preprocess } = options;
  const data = await openDataset(path, inputSpecs(model, shapes), { preprocessingFile: preprocess });
  for await (const batch of data.batches({ limit: 1 })) {
    if (batch.targets?.['label'] === undefined) {
      throw errors.dataInvalid(
        path,
        'it has no labels.',
        'Use a .npz with an array "label", IDX images with labels, or image folders named by class.',
      );
    }
  }
  return data;
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
  const inputs = model.graph.inputs.map((value) => value.name);
  for (const name of Object.keys(shapes ?? {})) {
    if (!inputs.includes(name)) {
      throw new UsageError(`--shape names "${name}", which is no input. Inputs: ${inputs.join(', ')}.`);
    }
  }
}

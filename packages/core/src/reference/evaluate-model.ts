import { createRunContext } from '../context/run-context.ts';
import type { Feeds } from '../data/dataset.ts';
import { errors, formatShape } from '../errors/catalogue.ts';
import type { Model } from '../ir/model.ts';
import type { Value } from '../ir/value.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { isTensor, type ReferenceValue } from './kernel.ts';
import { Program, type ReferenceOptions } from './program.ts';

/** How a model is evaluated once. */
export interface EvaluateModelOptions extends ReferenceOptions {
  /** Only these outputs, and only the nodes they need; all by default. */
  readonly outputs?: readonly string[] | undefined;
  /** Cancellation, checked at every node. */
  readonly signal?: AbortSignal | undefined;
  /** Clock in milliseconds, for giving the event loop a turn now and then; `performance.now` by default. */
  readonly now?: (() => number) | undefined;
}

/**
 * Evaluates a model: the definition of what it computes. Slow; float64 inside every operator, rounded to the dtype
 * behind it.
 *
 * @param feeds a tensor per graph input (inputs with an initializer may be left out)
 * @throws {LitheError} SHAPE_MISMATCH when feeds do not fit the inputs, or the inputs of a node its operator
 * @throws {LitheError} OP_UNSUPPORTED naming a node without kernel
 * @throws {LitheError} LIMIT_EXCEEDED when an output would be larger than `maxOutputBytes`
 * @throws {LitheError} DTYPE_UNSUPPORTED when an asked-for output is a sequence or optional: see {@link evaluateValues}
 */
export async function evaluateModel(
  model: Model,
  feeds: Feeds,
  options: EvaluateModelOptions = {},
): Promise<Readonly<Record<string, Tensor>>> {
  const values = await evaluateValues(model, feeds, options);
  for (const [name, value] of Object.entries(values)) {
    if (!isTensor(value)) {
      throw errors.dtypeUnsupported(`Output "${name}" of evaluateModel`, value?.kind ?? 'nothing', [
        'tensors',
      ]);
    }
  }
  return values as Record<string, Tensor>;
}

/**
 * {@link evaluateModel} for models that take or give sequences and optional values.
 *
 * @param feeds a value per graph input (inputs with an initializer may be left out)
 * @returns `null` for an output that holds nothing
 * @throws {LitheError} as {@link evaluateModel}
 */
export async function evaluateValues(
  model: Model,
  feeds: Readonly<Record<string, ReferenceValue>>,
  options: EvaluateModelOptions = {},
): Promise<Readonly<Record<string, ReferenceValue | null>>> {
  const program = new Program(model, options);
  const outputs = outputsOf(model, options.outputs);
  const results = await program.run({
    feeds: feedsOf(model, feeds),
    outputs,
    signal: options.signal,
    now: options.now ?? createRunContext().now,
  });
  const named: Record<string, ReferenceValue | null> = {};
  outputs.forEach((value, index) => {
    named[value.name] = results[index] ?? null;
  });
  return named;
}

/**
 * The outputs of a model by name; all without `names`.
 *
 * @throws {LitheError} OPTIONS_INVALID when it has no such output
 */
export function outputsOf(model: Model, names: readonly string[] | undefined): readonly Value[] {
  if (names === undefined) return model.graph.outputs;
  return names.map((name) => {
    const found = model.graph.outputs.find((value) => value.name === name);
    if (found === undefined) throw errors.optionsInvalid('a run', [`The model has no output "${name}".`]);
    return found;
  });
}

/**
 * Feeds by input, checked against the declared types.
 *
 * @throws {LitheError} SHAPE_MISMATCH when one is missing, unknown, or of another dtype or shape
 */
export function feedsOf(
  model: Model,
  feeds: Readonly<Record<string, ReferenceValue>>,
): Map<Value, ReferenceValue> {
  const bound = new Map<Value, ReferenceValue>();
  const symbols = new Map<string, number>();
  for (const input of model.graph.inputs) {
    const feed = Object.hasOwn(feeds, input.name) ? feeds[input.name] : undefined;
    if (feed === undefined) {
      if (input.initializer === undefined && input.type?.kind !== 'optional')
        throw misfit(input.name, 'nothing was fed');
      if (input.initializer === undefined) bound.set(input, { kind: 'optional', value: null });
      continue;
    }
    checkFeed(input, feed, symbols);
    bound.set(input, feed);
  }
  for (const name of Object.keys(feeds)) {
    if (!model.graph.inputs.some((input) => input.name === name))
      throw misfit(name, 'the model has no input of this name');
  }
  return bound;
}

function misfit(name: string, problem: string): Error {
  return errors.shapeMismatch(name, `as an input of the model: ${problem}`);
}

function checkFeed(input: Value, feed: ReferenceValue, symbols: Map<string, number>): void {
  const { type } = input;
  if (type === undefined || type.kind === 'opaque') return;
  if (type.kind !== 'tensor' || !isTensor(feed)) {
    // An optional input also takes what it may hold, unwrapped.
    const kind = isTensor(feed) ? 'tensor' : feed.kind;
    if (kind === type.kind || (type.kind === 'optional' && kind === type.element.kind)) return;
    throw misfit(input.name, `a ${type.kind} is expected, not a ${kind}`);
  }
  if (type.dtype !== undefined && feed.dtype !== type.dtype) {
    throw misfit(input.name, `dtype ${type.dtype} is expected, not ${feed.dtype}`);
  }
  const { shape } = type;
  if (shape === undefined) return;
  const fits =
    shape.length === feed.shape.length &&
    shape.every((dim, axis) => {
      const size = feed.shape[axis]!;
      if (typeof dim === 'number') return dim === size;
      if (dim === null) return true;
      const known = symbols.get(dim);
      if (known === undefined) symbols.set(dim, size);
      return known === undefined || known === size;
    });
  if (!fits)
    throw misfit(input.name, `shape ${formatShape(shape)} is expected, not ${formatShape(feed.shape)}`);
}

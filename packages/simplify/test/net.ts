import {
  type Attribute,
  attribute,
  createRng,
  type Dim,
  type DType,
  elementsOf,
  Graph,
  Model,
  optimize,
  type PassReport,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { expect } from 'vitest';
import { type SimplifyOptions, simplify } from '../src/index.ts';

/** Attributes as plain values: whole numbers become ints, `{ float }` a float. */
export type PlainAttributes = Readonly<
  Record<string, number | string | readonly number[] | { readonly float: number } | Attribute>
>;

function attributesOf(plain: PlainAttributes): Record<string, Attribute> {
  const made: Record<string, Attribute> = {};
  for (const [name, item] of Object.entries(plain)) {
    if (typeof item === 'number') made[name] = attribute.int(item);
    else if (typeof item === 'string') made[name] = attribute.string(item);
    else if (Array.isArray(item)) made[name] = attribute.ints(item as readonly number[]);
    else if ('float' in item) made[name] = attribute.float(item.float);
    else made[name] = item as Attribute;
  }
  return made;
}

/** A small graph under construction. */
export class Net {
  /** The graph. */
  readonly graph: Graph;
  readonly #rng = createRng(7);

  constructor(graph: Graph = new Graph()) {
    this.graph = graph;
  }

  /** An input. */
  input(shape: readonly Dim[], dtype: DType = 'float32', name = this.graph.uniqueName('x')): Value {
    return this.graph.addInput(name, tensorType(dtype, shape));
  }

  /** A float32 constant: given numbers, or seeded normal ones. */
  weight(shape: readonly number[], numbers?: readonly number[]): Value {
    const data = Float32Array.from(
      { length: elementsOf(shape) },
      (_, index) => numbers?.[index % numbers.length] ?? this.#rng.normal(),
    );
    return this.graph.addInitializer(this.graph.uniqueName('w'), Tensor.from('float32', shape, data));
  }

  /** A float32 scalar of rank 0, or of rank 1 with one element. */
  scalar(number: number, rank: 0 | 1 = 0): Value {
    return this.weight(rank === 0 ? [] : [1], [number]);
  }

  /** An int64 constant of rank 1. */
  ints(...numbers: number[]): Value {
    const tensor = Tensor.from('int64', [numbers.length], BigInt64Array.from(numbers, BigInt));
    return this.graph.addInitializer(this.graph.uniqueName('i'), tensor);
  }

  /** A node with one output. */
  node(opType: string, inputs: readonly (Value | null)[], plain: PlainAttributes = {}): Value {
    return this.graph.addNode({ opType, inputs, attributes: attributesOf(plain) }).output();
  }

  /** BatchNormalization with seeded parameters. */
  batchNormalization(x: Value, channels: number): Value {
    const positive = Array.from({ length: channels }, (_, index) => 0.5 + 0.1 * index);
    const parameters = [
      this.weight([channels]),
      this.weight([channels]),
      this.weight([channels]),
      this.weight([channels], positive),
    ];
    return this.node('BatchNormalization', [x, ...parameters]);
  }

  /** Sets the outputs and gives the model. */
  model(...outputs: Value[]): Model {
    this.graph.setOutputs(outputs);
    return new Model({ graph: this.graph });
  }
}

/** Inputs of the declared shapes, symbols taken as 2. */
export function feedsFor(model: Model, seed = 3): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  const rng = createRng(seed);
  for (const input of model.graph.inputs) {
    if (input.initializer !== undefined) continue;
    const shape = (input.shape ?? []).map((dim) => (typeof dim === 'number' ? dim : 2));
    const size = elementsOf(shape);
    if (input.dtype === 'bool') feeds[input.name] = Tensor.from('bool', shape, new Uint8Array(size).fill(1));
    else if (input.dtype === 'int64')
      feeds[input.name] = Tensor.from('int64', shape, new BigInt64Array(size).fill(1n));
    else
      feeds[input.name] = Tensor.from(
        'float32',
        shape,
        Float32Array.from({ length: size }, () => 2 * rng.normal()),
      );
  }
  return feeds;
}

/** Operators of the graph and its subgraphs, in order, constants left out. */
export function operators(model: Model): string[] {
  return [...model.graph.nodesDeep()].map((node) => node.op).filter((op) => op !== 'Constant');
}

/** Whether outputs agree: largest difference relative to the largest magnitude. */
export function expectClose(
  actual: Readonly<Record<string, Tensor>>,
  expected: Readonly<Record<string, Tensor>>,
  tolerance: number,
): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, wanted] of Object.entries(expected)) {
    const got = actual[name] as Tensor;
    expect([got.dtype, got.shape]).toEqual([wanted.dtype, wanted.shape]);
    const [left, right] = [got.toFloat64Array(), wanted.toFloat64Array()];
    const scale = right.reduce((most, item) => Math.max(most, Math.abs(item)), 1e-30);
    for (let index = 0; index < right.length; index++) {
      const [a, b] = [left[index] as number, right[index] as number];
      if (Object.is(a, b) || a === b) continue;
      expect(Math.abs(a - b) / scale, `${name}[${index}]: ${a} against ${b}`).toBeLessThanOrEqual(tolerance);
    }
  }
}

/** What {@link simplified} found. */
export interface Simplified {
  /** The result. */
  readonly model: Model;
  /** Its operators. */
  readonly ops: readonly string[];
  /** What the pass said. */
  readonly report: PassReport;
}

/**
 * Simplifies a model and checks what must always hold: equal outputs in the reference interpreter, the same names
 * of inputs and outputs, no more nodes, and no change in a second run.
 */
export async function simplified(
  model: Model,
  options: SimplifyOptions = {},
  tolerance = 1e-5,
): Promise<Simplified> {
  const feeds = feedsFor(model);
  const before = await evaluateModel(model, feeds);
  const first = await optimize(model, [simplify(options)]);
  const report = first.report.steps[0] as PassReport;
  expectClose(await evaluateModel(first.model, feeds), before, tolerance);
  expect(first.model.graph.outputs.map((output) => output.name)).toEqual(
    model.graph.outputs.map((output) => output.name),
  );
  expect(operators(first.model).length).toBeLessThanOrEqual(operators(model).length);
  const second = await optimize(first.model, [simplify(options)]);
  expect(second.report.steps[0]?.applied).toEqual([]);
  return { model: first.model, ops: operators(first.model), report };
}

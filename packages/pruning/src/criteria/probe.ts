import {
  attribute,
  type Dim,
  type Executable,
  errors,
  type Feeds,
  type Graph,
  type Model,
  type Node,
  Tensor,
  type Value,
} from '@lithe/core';
import type { CriterionContext } from './criterion.ts';

/** Adds nodes that reduce values of a model to a few numbers. */
export interface ProbeGraph {
  /** The graph of a private copy of the model. */
  readonly graph: Graph;
  /** The value of a name. */
  value(name: string): Value;
  /** Adds a node. */
  op(
    opType: string,
    inputs: readonly Value[],
    attributes?: Parameters<Graph['addNode']>[0]['attributes'],
  ): Value;
  /** Adds a node that computes element by element, for values of one shape. */
  each(opType: string, inputs: readonly Value[]): Value;
  /** A constant list of whole numbers. */
  ints(values: readonly number[]): Value;
  /** The mean or the sum over all axes but one, as a vector. */
  overOthers(value: Value, axis: number, reduction: 'mean' | 'sum'): Value;
  /** Hands out a value under a key. */
  give(key: string, value: Value): void;
}

/** Builds what is read out of a model, and runs it over data. */
export function probeGraph(model: Model): {
  readonly probe: ProbeGraph;
  readonly outputs: ReadonlyMap<string, string>;
} {
  const { graph } = model;
  const outputs = new Map<string, string>();
  const add = (opType: string, inputs: readonly Value[], attributes = {}): Node =>
    graph.addNode({ opType, inputs, attributes });
  const ints = (values: readonly number[]): Value =>
    graph.addInitializer(
      graph.uniqueName('probe/axes'),
      Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt)),
    );
  const probe: ProbeGraph = {
    graph,
    ints,
    value: (name) => {
      const value = graph.value(name);
      if (value === undefined) throw errors.internal(`the probed model has no value "${name}"`);
      return value;
    },
    op: (opType, inputs, attributes) => add(opType, inputs, attributes as object).output(),
    each: (opType, inputs) => {
      const output = add(opType, inputs).output();
      output.type = inputs[0]?.type;
      return output;
    },
    overOthers: (value, axis, reduction) => {
      const rank = (value.shape as readonly Dim[]).length;
      const others = Array.from({ length: rank }, (_, index) => index).filter((index) => index !== axis);
      if (others.length === 0) return value;
      const opType = reduction === 'mean' ? 'ReduceMean' : 'ReduceSum';
      return add(opType, [value, ints(others)], { keepdims: attribute.int(0) }).output();
    },
    give: (key, value) => {
      const output = graph.addNode({ opType: 'Identity', inputs: [value] }, [
        { name: graph.uniqueName(`probe/${key}`) },
      ]);
      outputs.set(key, output.output().name);
      output.output().type = value.type;
    },
  };
  return { probe, outputs };
}

/**
 * Runs a model that hands out numbers over data, and averages them over the samples.
 *
 * @param outputs output name by key
 * @returns a mean by key
 */
export async function averageOutputs(
  model: Model,
  outputs: ReadonlyMap<string, string>,
  context: CriterionContext,
  options: { readonly task: string; readonly samples: number; readonly batchSize?: number | undefined },
): Promise<ReadonlyMap<string, Float64Array>> {
  const { backend, data } = context;
  if (backend === undefined || data === undefined) {
    const missing = [backend === undefined ? 'backend' : undefined, data === undefined ? 'data' : undefined];
    throw errors.passNeeds(
      options.task,
      missing.filter((one) => one !== undefined),
    );
  }
  const { graph } = model;
  graph.setOutputs([...outputs.values()].map((name) => graph.value(name) as Value));
  const sums = new Map<string, Float64Array>();
  let count = 0;
  const executable: Executable = await backend.compile(model, { signal: context.signal });
  try {
    const { samples: limit, batchSize } = options;
    for await (const batch of data.batches({ limit, batchSize, signal: context.signal })) {
      context.signal.throwIfAborted();
      const feeds = feedsOf({ ...batch.inputs, ...batch.targets }, executable);
      const results = await executable.run(feeds, { signal: context.signal });
      for (const [key, name] of outputs) {
        const values = (results[name] as Tensor).toFloat64Array();
        const sum = sums.get(key) ?? new Float64Array(values.length);
        for (let index = 0; index < sum.length; index++) sum[index]! += batch.size * values[index]!;
        sums.set(key, sum);
      }
      count += batch.size;
      context.progress({ task: options.task, done: count, total: Math.min(limit, data.size ?? limit) });
    }
  } finally {
    await executable.dispose();
  }
  if (count === 0) throw errors.dataInvalid(data.description, 'it holds no samples.');
  for (const sum of sums.values()) for (let index = 0; index < sum.length; index++) sum[index]! /= count;
  return sums;
}

/** What a model takes of a batch: a dataset may hold more. */
function feedsOf(all: Feeds, executable: Executable): Feeds {
  const missing = executable.inputNames.filter((name) => all[name] === undefined);
  if (missing.length > 0) {
    throw errors.dataInvalid(
      'batch',
      `it lacks ${missing.map((name) => `"${name}"`).join(', ')}, which the model with its loss takes.`,
    );
  }
  return Object.fromEntries(executable.inputNames.map((name) => [name, all[name] as Tensor]));
}

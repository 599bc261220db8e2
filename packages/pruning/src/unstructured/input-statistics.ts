import {
  arrayDataset,
  attribute,
  type Backend,
  type Batch,
  type Dataset,
  elementsOf,
  errors,
  type Feeds,
  type Graph,
  type Model,
  type Node,
  type RunContext,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { positionsOf } from '../recovery/linear-layer.ts';
import { LARGEST_WINDOWS } from '../recovery/residual-moments.ts';
import { openBatchSize } from '../recovery/run-batches.ts';
import { removeDead } from '../structured/remove-dead.ts';
import { inputOrder, type SparseLayer } from './sparse-layer.ts';

/** What the inputs of a layer were, summed over calibration data; inputs in the order of the layer's matrix. */
export interface InputStatistics {
  /** Products that one output computed: samples by positions, tokens or rows. */
  readonly rows: number;
  /** `sum x²` of each input, `[inputs]` for each group. */
  readonly squares: readonly Float64Array[];
  /** `sum x x'`, `[inputs, inputs]` for each group; `undefined` where only squares were asked for. */
  readonly products: readonly Float64Array[] | undefined;
}

/** How statistics are collected. */
export interface StatisticsOptions {
  /** Runs the model. */
  readonly backend: Backend;
  /** Calibration inputs. */
  readonly data: Dataset;
  /** Samples at most. */
  readonly samples: number;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize: number | undefined;
  /** Whether products are wanted. */
  readonly products: boolean;
  /** Progress and cancellation. */
  readonly context: RunContext;
}

interface Outputs {
  readonly sums: string;
  /** Sizes that tell the number of rows, see {@link rowsIn}. */
  readonly sizes: string;
}

function constant(graph: Graph, tensor: Tensor): Value {
  return graph.addInitializer(graph.uniqueName('sparsity_constant'), tensor);
}

const integers = (graph: Graph, ...values: readonly number[]): Value =>
  constant(graph, Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt)));

/** A convolution that hands out each element under its kernel as a channel: what the layer multiplies, exactly. */
function windows(graph: Graph, node: Node, layer: SparseLayer, data: Value): Value {
  const kernel = layer.source.shape.slice(2);
  const positions = elementsOf(kernel);
  const channels = layer.groups * layer.run;
  const picks = new Float32Array(channels * positions * positions);
  for (let index = 0; index < channels * positions; index++)
    picks[index * positions + (index % positions)] = 1;
  const weight = constant(graph, Tensor.from('float32', [channels * positions, 1, ...kernel], picks));
  const attributes = { ...Object.fromEntries(node.attributes), group: attribute.int(channels) };
  return graph
    .addNode({ opType: 'Conv', inputs: [data, weight], attributes }, [
      { type: tensorType('float32', ['N', channels * positions, ...kernel.map((_, axis) => `d${axis}`)]) },
    ])
    .output();
}

/** What a node multiplies its weight with, `[groups, inputs, rows]`, inputs as they are stored. */
function columnsOf(graph: Graph, node: Node, layer: SparseLayer): Value {
  const { groups, inputs } = layer;
  const add = (opType: string, from: readonly Value[], attributes = {}): Value =>
    graph.addNode({ opType, inputs: from, attributes }).output();
  if (layer.op !== 'Conv') {
    const isFlipped = node.attributes.get('transA');
    const data = node.input(0) as Value;
    if (isFlipped?.kind === 'int' && isFlipped.value !== 0n)
      return add('Reshape', [data, integers(graph, 1, inputs, -1)]);
    const rows = add('Reshape', [data, integers(graph, 1, -1, inputs)]);
    return add('Transpose', [rows], { perm: attribute.ints([0, 2, 1]) });
  }
  const rank = layer.source.shape.length;
  const perm = [1, 0, ...Array.from({ length: rank - 2 }, (_, axis) => axis + 2)];
  const flipped = add('Transpose', [windows(graph, node, layer, node.input(0) as Value)], {
    perm: attribute.ints(perm),
  });
  return add('Reshape', [flipped, integers(graph, groups, inputs, -1)]);
}

interface Sums {
  readonly sums: Value;
  readonly sizes: Value;
}

/** Rows that a batch gave: sizes are those of the columns, or those of what was read and of the windows laid out from it. */
function rowsIn(sizes: Float64Array): number {
  if (sizes.length === 3) return sizes[2]!;
  return sizes[0]! * elementsOf([...sizes.subarray(sizes.length / 2 + 2)]);
}

/**
 * The sums of squares of what a convolution reads. Squares are summed over samples before windows are laid out, so that
 * these take what those of one sample do.
 */
function windowSquares(graph: Graph, node: Node, layer: SparseLayer): Sums {
  const add = (opType: string, from: readonly Value[], attributes = {}): Value =>
    graph.addNode({ opType, inputs: from, attributes }).output();
  const data = node.input(0) as Value;
  const summed = add('ReduceSum', [add('Mul', [data, data]), integers(graph, 0)], {
    keepdims: attribute.int(1),
  });
  const laid = windows(graph, node, layer, summed);
  const columns = add('Reshape', [laid, integers(graph, layer.groups, layer.inputs, -1)]);
  return {
    sums: add('ReduceSum', [columns, integers(graph, 2)], { keepdims: attribute.int(0) }),
    sizes: add('Concat', [add('Shape', [data]), add('Shape', [laid])], { axis: attribute.int(0) }),
  };
}

function columnSums(graph: Graph, node: Node, layer: SparseLayer, products: boolean): Sums {
  const add = (opType: string, from: readonly Value[], attributes = {}): Value =>
    graph.addNode({ opType, inputs: from, attributes }).output();
  const columns = columnsOf(graph, node, layer);
  const sizes = add('Shape', [columns]);
  if (products) {
    const flipped = add('Transpose', [columns], { perm: attribute.ints([0, 2, 1]) });
    return { sums: add('MatMul', [columns, flipped]), sizes };
  }
  const squares = add('Mul', [columns, columns]);
  return { sums: add('ReduceSum', [squares, integers(graph, 2)], { keepdims: attribute.int(0) }), sizes };
}

function probe(
  model: Model,
  layers: readonly SparseLayer[],
  products: boolean,
): { readonly model: Model; readonly outputs: readonly (readonly Outputs[])[] } {
  const draft = model.clone();
  const { graph } = draft;
  const nodes = new Map([...graph.nodes()].map((node) => [node.name, node]));
  const results: Value[] = [];
  const outputs = layers.map((layer) =>
    layer.nodes.map((name): Outputs => {
      const node = nodes.get(name) as Node;
      const isWindowed = layer.op === 'Conv' && !products;
      const { sums, sizes } = isWindowed
        ? windowSquares(graph, node, layer)
        : columnSums(graph, node, layer, products);
      const { groups, inputs } = layer;
      sums.type = tensorType('float32', products ? [groups, inputs, inputs] : [groups, inputs]);
      sizes.type = tensorType('int64', [isWindowed ? 2 * layer.source.shape.length : 3]);
      results.push(sums, sizes);
      return { sums: sums.name, sizes: sizes.name };
    }),
  );
  const former = graph.outputs;
  graph.setOutputs(results);
  // What only leads to the model's own outputs need not run.
  for (const value of former) removeDead(graph, value);
  return { model: draft, outputs };
}

/** Bytes that the statistics of a layer take while they are collected: float64 sums and a float32 result. */
export function statisticsBytes({ groups, inputs }: SparseLayer, products: boolean): number {
  return 12 * groups * inputs * (products ? inputs : 1);
}

/** Splits sums by group, and brings inputs into the order of the matrix. */
function finish(layer: SparseLayer, sums: Float64Array, rows: number, products: boolean): InputStatistics {
  const { groups, inputs } = layer;
  const order = inputOrder(layer);
  const size = products ? inputs * inputs : inputs;
  const parts = Array.from({ length: groups }, (_, group) => {
    const own = sums.subarray(group * size, (group + 1) * size);
    if (!products) return Float64Array.from(order, (place) => own[place]!);
    const sorted = new Float64Array(size);
    for (let row = 0; row < inputs; row++)
      for (let column = 0; column < inputs; column++)
        sorted[row * inputs + column] = own[order[row]! * inputs + order[column]!]!;
    return sorted;
  });
  const squares = products
    ? parts.map((part) => Float64Array.from({ length: inputs }, (_, index) => part[index * (inputs + 1)]!))
    : parts;
  for (const value of squares.flatMap((part) => [...part]))
    if (!Number.isFinite(value))
      throw errors.valueOutOfRange(
        `The sum of squares that weight "${layer.name}" reads`,
        value,
        'the finite numbers',
      );
  return { rows, squares, products: products ? parts : undefined };
}

/** Samples whose windows, laid out by every convolution, stay within bounds; one where sizes are not known. */
function samplesAtOnce(model: Model, layers: readonly SparseLayer[]): number {
  let most = Number.POSITIVE_INFINITY;
  // A model that fixes the size of its batch takes no part of one.
  if (openBatchSize(model, 1) === undefined) return most;
  const nodes = new Map([...model.graph.nodes()].map((node) => [node.name, node]));
  for (const { op, groups, inputs, nodes: names } of layers) {
    for (const name of op === 'Conv' ? names : []) {
      const positions = positionsOf({ op: 'Conv' }, (nodes.get(name) as Node).output());
      const size = positions === undefined ? LARGEST_WINDOWS : groups * inputs * positions;
      most = Math.min(most, Math.max(1, Math.floor(LARGEST_WINDOWS / size)));
    }
  }
  return most;
}

async function* partsOf(batch: Batch, most: number, signal: AbortSignal): AsyncIterable<Feeds> {
  if (batch.size <= most) yield batch.inputs;
  else for await (const { inputs } of arrayDataset(batch).batches({ batchSize: most, signal })) yield inputs;
}

const feedsOf = (inputs: Feeds, names: readonly string[]): Feeds =>
  Object.fromEntries(Object.entries(inputs).filter(([name]) => names.includes(name)));

/**
 * Runs a model on calibration data and sums up what layers multiply their weights with. The runtime squares and sums, so
 * that a batch hands out numbers by the size of the layer, not of its activations; sums over batches are in float64.
 *
 * @param model is not changed
 * @throws {LitheError} DATA_INVALID when the dataset is empty; VALUE_OUT_OF_RANGE when activations are not finite
 */
export async function collectStatistics(
  model: Model,
  layers: readonly SparseLayer[],
  options: StatisticsOptions,
): Promise<ReadonlyMap<SparseLayer, InputStatistics>> {
  const { backend, data, samples: limit, batchSize, products, context } = options;
  const { signal } = context;
  const found = probe(model, layers, products);
  const most = products ? samplesAtOnce(model, layers) : Number.POSITIVE_INFINITY;
  const sums = layers.map(
    ({ groups, inputs }) => new Float64Array(groups * inputs * (products ? inputs : 1)),
  );
  const rows = new Float64Array(layers.length);
  const executable = await backend.compile(found.model, { signal });
  let samples = 0;
  try {
    for await (const batch of data.batches({ limit, batchSize, signal })) {
      signal.throwIfAborted();
      for await (const inputs of partsOf(batch, most, signal)) {
        const results = await executable.run(feedsOf(inputs, executable.inputNames), { signal });
        for (const [index, nodes] of found.outputs.entries()) {
          for (const names of nodes) {
            const sum = sums[index] as Float64Array;
            const part = (results[names.sums] as Tensor).data as Float32Array;
            for (let at = 0; at < sum.length; at++) sum[at]! += part[at]!;
            rows[index]! += rowsIn((results[names.sizes] as Tensor).toFloat64Array());
          }
        }
      }
      samples += batch.size;
      context.progress({ task: 'calibrate', done: samples, total: Math.min(limit, data.size ?? limit) });
    }
  } finally {
    await executable.dispose();
  }
  if (samples === 0) throw errors.dataInvalid(data.description, 'it holds no samples to calibrate with.');
  return new Map(
    layers.map((layer, index) => [layer, finish(layer, sums[index] as Float64Array, rows[index]!, products)]),
  );
}

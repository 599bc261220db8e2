import {
  type Attribute,
  attribute,
  elementsOf,
  errors,
  type Model,
  type Node,
  type Rng,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { type LinearLayer, positionsOf, removeUnneeded } from './linear-layer.ts';
import { type Results, runBatches, type Source } from './run-batches.ts';

/** Second moments of what a layer reads (x) and of what its outputs lack (e), by group. */
export interface ResidualMoments {
  /** Number of positions that were summed over. */
  readonly count: number;
  /** Sum of x x', `[groups, inputs, inputs]`. */
  readonly inputs: Float64Array;
  /** Sum of e x', `[groups, outputs, inputs]`. */
  readonly cross: Float64Array;
  /** Sum of x, `[groups, inputs]`. */
  readonly inputSum: Float64Array;
  /** Sum of e, `[groups * outputs]`. */
  readonly residualSum: Float64Array;
  /** Sum of e^2 over all outputs. */
  readonly residual: number;
  /** Sum of the squares of what the outputs should be, less their mean. */
  readonly target: number;
}

/** Moments of all positions, and of those that are held out. */
export interface SplitMoments {
  /** Of all. */
  readonly all: ResidualMoments;
  /** Of those of one batch in four, which are among all; `undefined` where none are held out or there is one batch. */
  readonly held: ResidualMoments | undefined;
}

/** A layer of the pruned model beside the one it was made from. */
export interface LayerPair {
  /** The layer in the pruned model. */
  readonly layer: LinearLayer;
  /** The node in the original. */
  readonly original: Node;
  /** Which outputs of the original are left; all when `undefined`. */
  readonly rows: Int32Array | undefined;
}

const TARGET = 'refit/target';
const POSITIONS = 'refit/positions';

const add = (
  { graph }: Model,
  opType: string,
  inputs: readonly Value[],
  attributes: Readonly<Record<string, Attribute>> = {},
): Value => graph.addNode({ opType, inputs, attributes }).output();

const integers = (model: Model, values: Iterable<number>): Value => {
  const data = BigInt64Array.from(values, BigInt);
  return model.graph.addInitializer(
    model.graph.uniqueName('refit/integers'),
    Tensor.from('int64', [data.length], data),
  );
};

const flag = (value: number): Attribute => attribute.int(value);

/** How activations are laid out, and which of their positions count. */
interface Layout {
  readonly layer: LinearLayer;
  /** Positions of a sample, where known. */
  readonly positions: number | undefined;
  /** Numbers of the positions that are taken; all when `undefined`. */
  readonly taken: Value | undefined;
}

/** Activations as `[groups, channels, samples * positions]`. */
function columns(model: Model, value: Value, channels: number, layout: Layout): Value {
  const { layer, positions, taken } = layout;
  const isConv = layer.op === 'Conv';
  const shape = isConv ? [0, layer.groups, channels, -1] : [-1, positions ?? 1, 1, channels];
  let result = add(model, 'Reshape', [value, integers(model, shape)]);
  if (taken !== undefined) result = add(model, 'Gather', [result, taken], { axis: flag(isConv ? 3 : 1) });
  const order = isConv ? [1, 2, 0, 3] : [2, 3, 0, 1];
  result = add(model, 'Transpose', [result], { perm: attribute.ints(order) });
  return add(model, 'Reshape', [result, integers(model, [layer.groups, channels, -1])]);
}

/**
 * What each output of a convolution reads, as channels: `[N, C * kernel, …]`. A depthwise convolution with a kernel for
 * each place of the window does it, with all the strides and pads of the convolution itself.
 */
function unfolded(model: Model, { node, weight, groups }: LinearLayer): Value {
  const input = node.input(0) as Value;
  const window = weight.shape.slice(2);
  const size = elementsOf(window);
  const channels = (weight.shape[1] as number) * groups;
  const data = new Float32Array(channels * size * size);
  for (let index = 0; index < channels * size; index++) data[index * size + (index % size)] = 1;
  const kernel = Tensor.from('float32', [channels * size, 1, ...window], data);
  const attributes = Object.fromEntries(node.attributes);
  const made = model.graph.addInitializer(model.graph.uniqueName('refit/window'), kernel);
  return add(model, 'Conv', [input, made], { ...attributes, group: flag(channels) });
}

function layoutOf(model: Model, layer: LinearLayer, output: Value, wanted: number): Layout {
  const positions = positionsOf(layer, output);
  const isSampled = positions !== undefined && positions > wanted;
  const taken = isSampled ? model.graph.addInput(POSITIONS, tensorType('int64', [wanted])) : undefined;
  return { layer, positions, taken };
}

/** The original up to the layer, giving what the layer should. */
function targetModel(original: Model, pair: LayerPair, wanted: number): Model {
  const model = original.clone();
  let output = model.graph.value(pair.original.output().name) as Value;
  const layout = layoutOf(model, pair.layer, output, wanted);
  const { op, groups, outputs } = pair.layer;
  if (pair.rows !== undefined) {
    const axis = op === 'Conv' ? 1 : (output.shape?.length ?? 2) - 1;
    output = add(model, 'Gather', [output, integers(model, pair.rows)], { axis: flag(axis) });
  }
  const result = columns(model, output, outputs, layout);
  result.type = tensorType('float32', [groups, outputs, null]);
  model.graph.setOutputs([result]);
  removeUnneeded(model.graph);
  return model;
}

const names = ['inputs', 'cross', 'inputSum', 'residualSum', 'residual'] as const;

/** The pruned model up to the layer, giving the moments of a batch, in the order of `names`. */
function momentModel(pruned: Model, { layer }: LayerPair, wanted: number): Model {
  const model = pruned.clone();
  const output = model.graph.value(layer.node.output().name) as Value;
  const node = output.producer as Node;
  const { groups, outputs, inputs } = layer;
  const layout = layoutOf(model, layer, output, wanted);
  const target = model.graph.addInput(TARGET, tensorType('float32', [groups, outputs, null]));
  const source = layer.op === 'Conv' ? unfolded(model, { ...layer, node }) : (node.input(0) as Value);
  const x = columns(model, source, inputs, layout);
  const e = add(model, 'Sub', [target, columns(model, output, outputs, layout)]);
  const swapped = add(model, 'Transpose', [x], { perm: attribute.ints([0, 2, 1]) });
  const over = (value: Value, axes: readonly number[]): Value =>
    add(model, 'ReduceSum', [value, integers(model, axes)], { keepdims: flag(0) });
  const results = [
    add(model, 'MatMul', [x, swapped]),
    add(model, 'MatMul', [e, swapped]),
    over(x, [2]),
    over(e, [2]),
    over(add(model, 'Mul', [e, e]), [0, 1, 2]),
  ];
  const shapes = [
    [groups, inputs, inputs],
    [groups, outputs, inputs],
    [groups, inputs],
    [groups, outputs],
    [],
  ];
  for (const [index, value] of results.entries())
    value.type = tensorType('float32', shapes[index] as readonly number[]);
  model.graph.setOutputs(results);
  removeUnneeded(model.graph);
  return model;
}

/** Positions spread over a sample: one in each of as many equal parts, drawn at random. */
function drawPositions(rng: Rng, positions: number, wanted: number): Tensor<'int64'> {
  const part = positions / wanted;
  const drawn = Array.from({ length: wanted }, (_, index) =>
    BigInt(Math.min(positions - 1, Math.floor((index + rng.next()) * part))),
  );
  return Tensor.from('int64', [wanted], BigInt64Array.from(drawn));
}

function addTo(sum: Float64Array, part: Tensor | undefined): void {
  const data = part?.data as Float32Array;
  for (let index = 0; index < sum.length; index++) sum[index]! += data[index]!;
}

/** One batch of so many is held out, which keeps the positions of a sample together. */
const HELD_OUT = 4;

/** Most elements that the windows of a convolution are laid out in: 128 MiB. */
export const LARGEST_WINDOWS: number = 1 << 25;

/** A batch that keeps the windows of a convolution within bounds. */
export function boundedBatch(layer: LinearLayer, output: Value, wanted: number): number {
  const size = layer.groups * layer.inputs * (positionsOf(layer, output) ?? 1);
  return Math.max(1, Math.min(wanted, Math.floor(LARGEST_WINDOWS / size)));
}

/**
 * Runs both models over data and sums up what a layer reads and what its outputs lack. The runtime multiplies, so a batch
 * hands out a fixed number of sums however many positions it has; nothing else is kept.
 *
 * @param wanted positions of each sample that count at most, drawn anew for every batch
 * @param holdOut whether some batches are summed up by themselves as well
 * @throws {LitheError} DATA_INVALID as {@link runBatches} does; VALUE_OUT_OF_RANGE when activations are not finite
 */
export async function residualMoments(
  models: { readonly pruned: Model; readonly original: Model },
  pair: LayerPair,
  options: { readonly source: Source; readonly wanted: number; readonly rng: Rng; readonly holdOut: boolean },
): Promise<SplitMoments> {
  const { layer } = pair;
  const { groups, outputs, inputs } = layer;
  const { wanted, rng } = options;
  const positions = positionsOf(layer, layer.node.output());
  const zeros = (): Record<(typeof names)[number], Float64Array> => ({
    inputs: new Float64Array(groups * inputs * inputs),
    cross: new Float64Array(groups * outputs * inputs),
    inputSum: new Float64Array(groups * inputs),
    residualSum: new Float64Array(groups * outputs),
    residual: new Float64Array(1),
  });
  const sums = zeros();
  let heldSums: ReturnType<typeof zeros> | undefined;
  let [batch, heldCount] = [0, 0];
  const targets = new Float64Array(groups * outputs);
  let [count, squares] = [0, 0];
  const probes = [targetModel(models.original, pair, wanted), momentModel(models.pruned, pair, wanted)];
  const [first, second] = probes as [Model, Model];
  await runBatches(probes, options.source, async (run) => {
    const taken =
      positions !== undefined && positions > wanted
        ? { [POSITIONS]: drawPositions(rng, positions, wanted) }
        : {};
    const given: Results = await run(0, taken);
    const target = given[first.graph.outputs[0]?.name ?? ''] as Tensor<'float32'>;
    squares += sumRows(target, targets);
    count += target.shape[2] ?? 0;
    const results = await run(1, { ...taken, [TARGET]: target });
    const isHeld = options.holdOut && batch++ % HELD_OUT === 1;
    if (isHeld) {
      heldSums ??= zeros();
      heldCount += target.shape[2] ?? 0;
    }
    for (const [index, name] of names.entries()) {
      const part = results[second.graph.outputs[index]?.name ?? ''];
      addTo(sums[name], part);
      if (isHeld && heldSums !== undefined) addTo(heldSums[name], part);
    }
  });
  const energy = squares + sums.inputs.reduce((sum, value) => sum + value, 0);
  if (!Number.isFinite(energy)) {
    throw errors.valueOutOfRange(
      `The sum of squares around layer "${layer.node.name}"`,
      energy,
      'the finite numbers',
    );
  }
  const mean = targets.reduce((sum, value) => sum + value * value, 0) / Math.max(1, count);
  const moments = ({ residual, ...rest }: typeof sums, positions: number): ResidualMoments => ({
    ...rest,
    count: positions,
    residual: residual[0] ?? 0,
    target: Math.max(0, squares - mean),
  });
  return {
    all: moments(sums, count),
    held: heldSums === undefined ? undefined : moments(heldSums, heldCount),
  };
}

/** Adds up each row, and gives the sum of all squares. */
function sumRows({ data, shape }: Tensor<'float32'>, into: Float64Array): number {
  const length = shape[2] ?? 0;
  let squares = 0;
  for (let row = 0; row < into.length; row++) {
    let sum = 0;
    for (let at = row * length; at < (row + 1) * length; at++) {
      const value = data[at]!;
      sum += value;
      squares += value * value;
    }
    into[row]! += sum;
  }
  return squares;
}

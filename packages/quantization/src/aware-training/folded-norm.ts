import {
  attributesOf,
  constantOf,
  type Graph,
  type Node,
  standardOpDefs,
  Tensor,
  type Value,
} from '@lithe/core';
import { float32Data } from '../weights/lazy-parts.ts';

/** A batch normalization that is folded into the layer before it. */
export interface FoldedNorm {
  /** Weights of the layer before folding. */
  readonly weight: Value;
  /** Its bias before folding. */
  readonly bias: Value | null;
  /** Factor of each channel. */
  readonly gamma: Value;
  /** Shift of each channel. */
  readonly beta: Value;
  /** Running mean. */
  readonly mean: Value;
  /** Running variance. */
  readonly variance: Value;
  /** Keeps the deviation above 0. */
  readonly epsilon: number;
  /** Share of the old statistics in the new ones. */
  readonly momentum: number;
}

/** How the output channels of a layer lie in its weights. */
export interface ChannelLayout {
  /** Number of groups that share no channel. */
  readonly groups: number;
  /** Axis of the output channels; of those of one group where they are grouped along axis 0 of the inputs. */
  readonly axis: number;
}

const isSet = (node: Node, name: string): boolean => {
  const found = node.attributes.get(name);
  return found?.kind === 'int' && found.value !== 0n;
};

/** Where the output channels of a layer lie in its weights. */
export function channelLayout(node: Node): ChannelLayout {
  if (node.is('Conv')) return { groups: 1, axis: 0 };
  if (node.is('ConvTranspose'))
    return { groups: attributesOf(node, standardOpDefs.ConvTranspose).group, axis: 1 };
  return { groups: 1, axis: isSet(node, 'transB') ? 0 : 1 };
}

interface Foldable {
  readonly norm: Node;
  readonly layer: Node;
  readonly parts: FoldedNorm;
}

/** The layer that a normalization can be folded into, and what it is made of. */
function foldable(norm: Node): Foldable | undefined {
  const { training_mode, epsilon, momentum } = attributesOf(norm, standardOpDefs.BatchNormalization);
  const input = norm.input(0);
  const layer = input?.producer;
  if (training_mode || layer === null || layer === undefined || layer.graph !== norm.graph) return undefined;
  if (input?.uses.length !== 1 || input.isGraphOutput || norm.outputs.slice(1).some((one) => !one.isUnused))
    return undefined;
  const weight = layer.input(1);
  const source = constantOf(weight);
  if (weight === null || source?.dtype !== 'float32' || !foldsInto(layer, source.shape.length))
    return undefined;
  const { groups, axis } = channelLayout(layer);
  const channels = (source.shape[axis] ?? 0) * groups;
  const vectors = [1, 2, 3, 4].map((index) => norm.input(index));
  const bias = layer.input(2);
  for (const value of bias === null ? vectors : [...vectors, bias]) {
    const found = constantOf(value);
    if (found?.dtype !== 'float32' || found.shape.join() !== String(channels)) return undefined;
  }
  const [gamma, beta, mean, variance] = vectors as [Value, Value, Value, Value];
  // Running statistics that something else reads would need two values after a step.
  if (mean === variance || mean.uses.length > 1 || variance.uses.length > 1) return undefined;
  return { norm, layer, parts: { weight, bias, gamma, beta, mean, variance, epsilon, momentum } };
}

function foldsInto(layer: Node, rank: number): boolean {
  if (layer.is('Conv') || layer.is('ConvTranspose')) return rank > 2;
  if (layer.is('MatMul')) return rank === 2 && layer.output().shape?.length === 2;
  if (!layer.is('Gemm')) return false;
  const { alpha, beta, transA } = attributesOf(layer, standardOpDefs.Gemm);
  return alpha === 1 && beta === 1 && !transA;
}

/**
 * Folds each batch normalization into the layer before it where that is possible: the numbers are what
 * {@link emitFolded} computes from the parts, which stay in the graph. The layer's result takes the name of the
 * normalization's.
 *
 * @returns what was folded, by the layer that it went into
 */
export async function foldNorms(graph: Graph): Promise<ReadonlyMap<Node, FoldedNorm>> {
  const folded = new Map<Node, FoldedNorm>();
  for (const node of [...graph.nodes()]) {
    if (!node.is('BatchNormalization')) continue;
    const found = foldable(node);
    if (found === undefined) continue;
    const { weight, bias } = await foldedNumbers(found);
    const layer = found.layer.is('MatMul') ? asGemm(found.layer) : found.layer;
    const { weight: original } = found.parts;
    graph.setInput(layer, 1, graph.addInitializer(graph.uniqueName(`${original.name}_folded`), weight));
    graph.setInput(layer, 2, graph.addInitializer(graph.uniqueName(`${original.name}_folded_bias`), bias));
    const { name } = node.output();
    const result = layer.output();
    graph.replaceAllUses(node.output(), result);
    graph.remove(node);
    if (result.name !== name) graph.rename(result, name);
    folded.set(layer, found.parts);
  }
  return folded;
}

/** A product of matrices as a `Gemm`, which takes a bias. */
function asGemm(node: Node): Node {
  const { graph } = node;
  const gemm = graph.addNode(
    { opType: 'Gemm', inputs: [...node.inputs], name: node.name },
    [{ type: node.output().type }],
    { before: node },
  );
  graph.replaceAllUses(node.output(), gemm.output());
  graph.remove(node);
  return gemm;
}

async function numbersOf(value: Value): Promise<Float32Array> {
  const source = constantOf(value);
  return source === undefined ? new Float32Array() : float32Data(await source.load(), `"${value.name}"`);
}

/** Weights and bias with the normalization in them. */
async function foldedNumbers({
  layer,
  parts,
}: Foldable): Promise<{ readonly weight: Tensor; readonly bias: Tensor }> {
  const [gamma, beta, mean, variance] = await Promise.all(
    [parts.gamma, parts.beta, parts.mean, parts.variance].map(numbersOf),
  );
  const own = parts.bias === null ? undefined : await numbersOf(parts.bias);
  const factors = gamma!.map((value, at) => value / Math.fround(Math.sqrt(variance![at]! + parts.epsilon)));
  const bias = beta!.map((value, at) => value + ((own?.[at] ?? 0) - mean![at]!) * factors[at]!);
  const shape = parts.weight.initializer?.shape ?? constantOf(parts.weight)?.shape ?? [];
  const data = (await numbersOf(parts.weight)).slice();
  const { groups, axis } = channelLayout(layer);
  const channels = shape[axis] ?? 1;
  const inner = shape.slice(axis + 1).reduce((left, right) => left * right, 1);
  const outer = shape.slice(0, axis).reduce((left, right) => left * right, 1);
  const perGroup = outer / groups;
  for (let row = 0, at = 0; row < outer; row++) {
    const first = Math.floor(row / perGroup) * channels;
    for (let channel = 0; channel < channels; channel++) {
      const factor = factors[first + channel]!;
      for (const end = at + inner; at < end; at++) data[at] = data[at]! * factor;
    }
  }
  return { weight: Tensor.from('float32', shape, data), bias: Tensor.from('float32', [bias.length], bias) };
}

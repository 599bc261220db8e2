import { constantOf, type Model, type Node, type ReportBuilder, type Value } from '@lithe/core';
import { layerLeftOut } from '../structured/hidden-layers.ts';
import { isLayer, isLinear, type LinearLayer, linearLayer, weightRows } from './linear-layer.ts';
import { matchRows } from './match-rows.ts';
import type { LayerPair } from './residual-moments.ts';

/** Sums of products that are held for one layer at most: 512 MiB in float64. */
const LARGEST_MOMENTS = 1 << 26;

/** The bias vector of a layer: its numbers, zeros where one could be added, or `undefined` where there is no place. */
export async function biasOf(layer: LinearLayer, signal?: AbortSignal): Promise<Float64Array | undefined> {
  const { bias, groups, outputs } = layer;
  if (bias === undefined) return undefined;
  const value = bias.node.input(bias.index);
  if (value === null) return new Float64Array(groups * outputs);
  const source = constantOf(value);
  if (source?.dtype !== 'float32' || source.shape.length !== 1 || source.shape[0] !== groups * outputs)
    return undefined;
  return (await source.load(signal)).toFloat64Array();
}

/**
 * The values of a pruned model that can differ from those of the original: what reads a constant that was cut or
 * exchanged, and all behind it.
 */
function changedValues(pruned: Model, original: Model): ReadonlySet<Value> {
  const changed = new Set<Value>();
  const isChanged = (value: Value): boolean => {
    const source = constantOf(value);
    if (source === undefined) return changed.has(value);
    return source !== constantOf(original.graph.value(value.name));
  };
  for (const node of pruned.graph.nodes()) {
    const before = original.graph.value(node.output().name)?.producer;
    const isOther = before === null || before === undefined || before.op !== node.op;
    const isMoved = !isOther && node.inputs.some((value, index) => value?.name !== before.input(index)?.name);
    const reads = node.inputs.some((value) => value !== null && isChanged(value));
    const holdsGraphs = node.subgraphs.length > 0;
    if (isOther || isMoved || reads || holdsGraphs) for (const output of node.outputs) changed.add(output);
  }
  return changed;
}

/**
 * Finds the layers of a pruned model whose inputs are no longer what they were, each with the layer of the original that
 * it was made from: the one whose output has the same name.
 */
export async function layerPairs(
  pruned: Model,
  original: Model,
  options: { readonly report: ReportBuilder; readonly signal: AbortSignal },
): Promise<readonly LayerPair[]> {
  const { report, signal } = options;
  const changed = changedValues(pruned, original);
  const pairs: LayerPair[] = [];
  for (const node of pruned.graph.nodesDeep()) {
    if (!isLinear(node)) {
      const leftOut = layerLeftOut(node);
      const read = node.input(0);
      if (leftOut !== undefined && read !== null && changed.has(read))
        report.skip(leftOut.target, leftOut.code, leftOut.reason);
      continue;
    }
    if (node.graph !== pruned.graph) {
      report.skip(node.name, 'subgraph', 'it is inside a subgraph, whose activations are not seen');
      continue;
    }
    const input = node.input(0);
    // A product of two activations has nothing to refit.
    if (constantOf(node.input(1)) === undefined || input === null || !changed.has(input)) continue;
    const pair = await pairOf(node, original, signal);
    if ('layer' in pair) pairs.push(pair);
    else report.skip(node.name, pair.code, pair.reason);
  }
  return pairs;
}

async function pairOf(
  node: Node,
  original: Model,
  signal: AbortSignal,
): Promise<LayerPair | { readonly code: string; readonly reason: string }> {
  const layer = linearLayer(node);
  if (!isLayer(layer)) return layer;
  const { groups, inputs } = layer;
  if (groups * inputs * inputs > LARGEST_MOMENTS)
    return { code: 'too-wide', reason: `it has ${inputs} inputs, whose products would not fit in memory` };
  const before = original.graph.value(node.output().name)?.producer;
  if (before?.op !== node.op)
    return { code: 'no-counterpart', reason: 'the original has no such layer with an output of this name' };
  const whole = linearLayer(before);
  if (!isLayer(whole)) return { code: 'no-counterpart', reason: `in the original ${whole.reason}` };
  const rank = node.output().shape?.length;
  if (rank === undefined || rank < 2 || before.output().shape?.length !== rank)
    return { code: 'rank', reason: 'the rank of its output is not known' };
  const rows = await rowsLeft(layer, whole, signal);
  return rows === undefined
    ? { code: 'weights-changed', reason: 'its weight is not a part of the weight of the original' }
    : { layer, original: before, rows };
}

async function rowsLeft(
  layer: LinearLayer,
  whole: LinearLayer,
  signal: AbortSignal,
): Promise<Int32Array | undefined> {
  const count = layer.groups * layer.outputs;
  const before = whole.groups * whole.outputs;
  if (count === before) return Int32Array.from({ length: count }, (_, row) => row);
  const rows = async (of: LinearLayer): Promise<Parameters<typeof matchRows>[0]> => ({
    data: await weightRows(of, signal),
    count: of.groups * of.outputs,
    length: of.inputs,
    block: of.op === 'Conv' ? of.weight.shape.slice(2).reduce((product, size) => product * size, 1) : 1,
    extra: await biasOf(of, signal),
  });
  return matchRows(await rows(layer), await rows(whole));
}

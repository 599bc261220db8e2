import { attribute, type Dim, type Value } from '@lithe/core';
import type { ResidualBlock } from '../structured/residual-blocks.ts';
import type { CriterionContext } from './criterion.ts';
import { averageOutputs, type ProbeGraph, probeGraph } from './probe.ts';

/** How {@link blockInfluence} looks. */
export interface InfluenceOptions {
  /** At most this many samples; 256 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
}

/**
 * How much each residual block changes what passes it: one minus the cosine between its input and its output, averaged
 * over the samples. A block that changes little can go. Needs no labels.
 *
 * @returns one number per block, from 0 (it changes nothing) to 2
 * @throws {LitheError} PASS_NEEDS without data and backend; DATA_INVALID when there are no samples
 * @see Men and others, "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024, equation 1;
 *   over a whole sample where they look at each token
 */
export async function blockInfluence(
  blocks: readonly ResidualBlock[],
  context: CriterionContext,
  options: InfluenceOptions = {},
): Promise<Float64Array> {
  const model = context.model.clone();
  const { probe, outputs } = probeGraph(model);
  for (const block of blocks) {
    const [before, after] = [probe.value(block.shortcut), probe.value(block.output)];
    const dot = sumOfSample(probe, probe.each('Mul', [before, after]), before.shape as readonly Dim[]);
    const squares = [before, after].map((value) =>
      sumOfSample(probe, probe.each('Mul', [value, value]), before.shape as readonly Dim[]),
    );
    const norms = probe.op('Sqrt', [probe.each('Mul', squares)]);
    const cosine = probe.op('Div', [dot, norms]);
    probe.give(block.output, probe.op('ReduceMean', [cosine], { keepdims: attribute.int(0) }));
  }
  const { samples = 256, batchSize } = options;
  if (blocks.length === 0) return new Float64Array();
  const means = await averageOutputs(model, outputs, context, {
    task: 'block-influence',
    samples,
    batchSize,
  });
  return Float64Array.from(blocks, (block) => 1 - (means.get(block.output)?.[0] ?? 0));
}

/** The sum over all axes but the first. */
function sumOfSample(probe: ProbeGraph, value: Value, shape: readonly Dim[]): Value {
  const axes = Array.from({ length: Math.max(0, shape.length - 1) }, (_, axis) => axis + 1);
  return axes.length === 0
    ? value
    : probe.op('ReduceSum', [value, probe.ints(axes)], { keepdims: attribute.int(0) });
}

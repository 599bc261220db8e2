import { attribute, type Dim, inferShapes, Tensor, type Value } from '@lithe/core';
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

/** What norms are at least: the cosine with a sample of zeros is 0, not undefined. */
const TINY = 1e-30;

/**
 * How much each residual block changes what passes it: one minus the cosine between its input and its output, averaged
 * over the samples. A block that changes little can go. Needs no labels. Of a sample that is zero throughout before or
 * after the block, the cosine counts as 0.
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
  await inferShapes(model, { opset: context.opset, signal: context.signal, strict: false });
  const { probe, outputs } = probeGraph(model);
  const tiny = probe.graph.addInitializer(
    probe.graph.uniqueName('probe/tiny'),
    Tensor.from('float32', [], Float32Array.of(TINY)),
  );
  for (const block of blocks) {
    const shape = probe.value(block.shortcut).shape as readonly Dim[];
    const [before, after] = [block.shortcut, block.output].map((name) => wide(probe, probe.value(name))) as [
      Value,
      Value,
    ];
    const dot = sumOfSample(probe, probe.each('Mul', [before, after]), shape);
    // Roots before the product, which could be beyond float32.
    const norms = [before, after].map((value) =>
      probe.op('Sqrt', [sumOfSample(probe, probe.each('Mul', [value, value]), shape)]),
    );
    const cosine = probe.op('Div', [dot, probe.op('Max', [probe.each('Mul', norms), tiny])]);
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

/** A value in float32: sums of squares are beyond float16. */
function wide(probe: ProbeGraph, value: Value): Value {
  return value.dtype === 'float32' ? value : probe.op('Cast', [value], { to: attribute.int(1) });
}

/** The sum over all axes but the first. */
function sumOfSample(probe: ProbeGraph, value: Value, shape: readonly Dim[]): Value {
  const axes = Array.from({ length: Math.max(0, shape.length - 1) }, (_, axis) => axis + 1);
  return axes.length === 0
    ? value
    : probe.op('ReduceSum', [value, probe.ints(axes)], { keepdims: attribute.int(0) });
}

import {
  attribute,
  constantOf,
  definePass,
  errors,
  inferShapes,
  type Model,
  type Node,
  opsetAtLeast,
  type Pass,
  ReportBuilder,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { z } from 'zod';
import { intAttribute, removeUnneeded, replaceInput } from './linear-layer.ts';
import { openBatchSize, runBatches, type Source } from './run-batches.ts';

const name = 'pruning/batch-norm-reestimation';

/** Options of {@link batchNormReestimation}. */
export interface BatchNormReestimationOptions {
  /** Samples of the context's data; 1,024 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch where the model leaves that open; 64 by default. The result hardly depends on it. */
  readonly batchSize?: number | undefined;
}

const schema: z.ZodType<BatchNormReestimationOptions, BatchNormReestimationOptions> = z.strictObject({
  samples: z.int().min(1).optional(),
  batchSize: z.int().min(1).optional(),
});

/** Mean and variance of each channel, merged from those of batches. */
class ChannelMoments {
  count = 0;
  readonly mean: Float64Array;
  /** Sum of squared differences from the mean. */
  readonly squares: Float64Array;

  constructor(channels: number) {
    this.mean = new Float64Array(channels);
    this.squares = new Float64Array(channels);
  }

  /** Adds the moments of `count` numbers a channel (Chan, Golub and LeVeque, 1979). */
  add(mean: Float64Array, variance: Float64Array, count: number): void {
    const total = this.count + count;
    for (let channel = 0; channel < this.mean.length; channel++) {
      const difference = mean[channel]! - this.mean[channel]!;
      this.mean[channel]! += (difference * count) / total;
      this.squares[channel]! +=
        variance[channel]! * count + (difference * difference * this.count * count) / total;
    }
    this.count = total;
  }
}

/** A copy of the model up to what a normalization reads, giving its mean, variance and size. */
function probeOf(draft: Model, node: Node): Model {
  const model = draft.clone();
  const { graph } = model;
  const input = graph.value(node.input(0)?.name ?? '') as Value;
  const rank = input.shape?.length ?? 4;
  const axes = BigInt64Array.from({ length: rank - 1 }, (_, index) => BigInt(index === 0 ? 0 : index + 1));
  const others = graph.addInitializer(graph.uniqueName('probe/axes'), Tensor.from('int64', [rank - 1], axes));
  // ReduceMean takes its axes as an attribute before opset 18.
  const mean = (value: Value, keepdims: number): Value => {
    const isInput = (model.opsetImports.get('') ?? 0) >= 18;
    const attributes = { keepdims: attribute.int(keepdims) };
    return graph
      .addNode({
        opType: 'ReduceMean',
        inputs: isInput ? [value, others] : [value],
        attributes: isInput ? attributes : { ...attributes, axes: attribute.ints([...axes]) },
      })
      .output();
  };
  const centred = graph.addNode({ opType: 'Sub', inputs: [input, mean(input, 1)] }).output();
  const squares = graph.addNode({ opType: 'Mul', inputs: [centred, centred] }).output();
  const results = [
    mean(input, 0),
    mean(squares, 0),
    graph.addNode({ opType: 'Size', inputs: [input] }).output(),
  ];
  const channels = constantOf(node.input(3))?.shape[0] ?? null;
  for (const [index, value] of results.entries())
    value.type = index < 2 ? tensorType('float32', [channels]) : tensorType('int64', []);
  graph.setOutputs(results);
  removeUnneeded(graph);
  return model;
}

async function measure(draft: Model, node: Node, source: Source): Promise<ChannelMoments> {
  const probe = probeOf(draft, node);
  const channels = constantOf(node.input(3))?.shape[0] ?? 0;
  const moments = new ChannelMoments(channels);
  const names = probe.graph.outputs.map((output) => output.name) as [string, string, string];
  await runBatches([probe], source, async (run) => {
    const results = await run(0, {});
    const [mean, variance, size] = names.map((key) => results[key]?.toFloat64Array() ?? new Float64Array(1));
    moments.add(mean as Float64Array, variance as Float64Array, (size?.[0] ?? 0) / channels);
  });
  return moments;
}

function problemOf(draft: Model, node: Node): readonly [string, string] | undefined {
  if (node.graph !== draft.graph)
    return ['subgraph', 'it is inside a subgraph, whose activations are not seen'];
  if (intAttribute(node, 'training_mode', 0) !== 0)
    return ['training', 'it takes its statistics from each batch'];
  if ([3, 4].some((index) => constantOf(node.input(index))?.dtype !== 'float32'))
    return ['not-constant', 'its statistics are not float32 constants'];
  const rank = node.input(0)?.shape?.length;
  return rank === undefined || rank < 2 ? ['rank', 'the rank of its input is not known'] : undefined;
}

/**
 * Measures mean and variance of every `BatchNormalization` anew on real inputs, for a pruned model: what is left behind
 * has other statistics than what was there. In order, so that each normalization sees what those before it, measured
 * anew, make. No gradients, no labels, constant memory; a run of the model up to it for each normalization.
 *
 * Prune before normalization is folded into convolutions: afterwards there is nothing to measure.
 *
 * @throws {LitheError} DATA_INVALID when the data are empty or lack an input; VALUE_OUT_OF_RANGE when activations are not
 *   finite
 * @see Li, Wu, Su and Wang, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020, section
 *   3.3 (adaptive batch normalization)
 * @example
 * ```ts
 * import { batchNormReestimation } from '@lithe/pruning';
 *
 * batchNormReestimation({ samples: 256 }).needs; // => ['data', 'backend']
 * ```
 */
export const batchNormReestimation: Pass<BatchNormReestimationOptions, BatchNormReestimationOptions> =
  definePass({
    name,
    version: 1,
    summary: 'Measures the statistics of batch normalization anew on real inputs.',
    options: schema,
    needs: ['data', 'backend'],
    preserves: 'accuracy',
    requires: [opsetAtLeast(13)],
    run: async (draft, settings, context) => {
      const { data, backend, opset, signal } = context;
      if (data === undefined || backend === undefined) throw errors.passNeeds(name, ['data', 'backend']);
      const report = new ReportBuilder();
      await inferShapes(draft, { opset, signal, strict: false });
      const batchSize = openBatchSize(draft, settings.batchSize ?? 64);
      const source: Source = { backend, data, context, samples: settings.samples ?? 1024, batchSize };
      const nodes = [...draft.graph.nodesDeep()].filter((node) => node.is('BatchNormalization'));
      for (const [index, node] of nodes.entries()) {
        context.progress({ task: name, done: index, total: nodes.length, label: node.name });
        const problem = problemOf(draft, node);
        if (problem !== undefined) {
          report.skip(node.name, ...problem);
          continue;
        }
        const { mean, squares, count } = await measure(draft, node, source);
        const sum = mean.reduce((total, value, channel) => total + Math.abs(value) + squares[channel]!, 0);
        if (!Number.isFinite(sum)) {
          const what = `A sum over the activations that "${node.name}" reads`;
          throw errors.valueOutOfRange(what, sum, 'the finite numbers');
        }
        const shape = [mean.length];
        replaceInput(node, 3, Tensor.from('float32', shape, new Float32Array(mean)));
        const variance = squares.map((value) => value / count);
        replaceInput(node, 4, Tensor.from('float32', shape, new Float32Array(variance)));
        report.apply(`measure BatchNormalization "${node.name}"`);
      }
      context.progress({ task: name, done: nodes.length, total: nodes.length });
      return report.build();
    },
  });

import {
  definePass,
  errors,
  inferShapes,
  type Model,
  modelCost,
  opsetAtLeast,
  type Pass,
  type PassContext,
  type PassReport,
  ReportBuilder,
} from '@lithe/core';
import { z } from 'zod';
import { blockInfluence } from '../criteria/block-influence.ts';
import { symbolSizes } from './cut-cost.ts';
import { dropBlocks, type ResidualBlock, residualBlocks } from './residual-blocks.ts';

const name = 'pruning/depth';

/** Options of {@link depthPruning}. */
export interface DepthPruningOptions {
  /** How many residual blocks go, those that change least first; or the names of those that go. */
  readonly blocks: number | readonly string[];
  /** Samples that influence is measured on; 256 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
  /** Names of nodes, values and weights that stay, with the blocks they are in. */
  readonly protect?: readonly string[] | undefined;
  /** Sizes that symbols stand for when multiplications are counted. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
}

/** A block that {@link depthPruning} dropped. */
export interface DroppedBlock {
  /** Its name. */
  readonly block: string;
  /** How much it changed what passed it, from 0 to 2; `undefined` where it was named. */
  readonly influence: number | undefined;
  /** Nodes that went with it. */
  readonly nodes: number;
}

/** What {@link depthPruning} reports, beside what every pass does. */
export interface DepthPruningReport extends PassReport {
  /** The blocks that were dropped, in order. */
  readonly blocks: readonly DroppedBlock[];
}

const schema: z.ZodType<DepthPruningOptions, DepthPruningOptions> = z.strictObject({
  blocks: z.union([z.int().min(1), z.array(z.string()).min(1)]),
  samples: z.int().min(1).optional(),
  batchSize: z.int().min(1).optional(),
  protect: z.array(z.string()).optional(),
  dims: z.record(z.string(), z.int().min(1)).optional(),
});

async function dropNamed(
  draft: Model,
  names: readonly string[],
  found: readonly ResidualBlock[],
  context: PassContext,
): Promise<readonly DroppedBlock[]> {
  const unknown = names.filter((wanted) => !found.some((block) => block.name === wanted));
  if (unknown.length > 0)
    throw errors.optionsInvalid(
      name,
      unknown.map((wanted) => `There is no residual block "${wanted}".`),
      found.length === 0 ? 'It has none.' : `Blocks: ${found.map((block) => block.name).join(', ')}.`,
    );
  const blocks = found.filter((block) => names.includes(block.name));
  await dropBlocks(draft, blocks, { opset: context.opset });
  return blocks.map((block) => ({ block: block.name, influence: undefined, nodes: block.nodes.length }));
}

/** Drops the block that changes least, and looks again: what is left has other activations, and maybe other blocks. */
async function dropLeast(
  draft: Model,
  count: number,
  options: DepthPruningOptions,
  context: PassContext,
): Promise<readonly DroppedBlock[]> {
  const { protect, samples, batchSize, dims } = options;
  const missing = [
    ...(context.data === undefined ? ['data'] : []),
    ...(context.backend === undefined ? ['backend'] : []),
  ];
  if (missing.length > 0) throw errors.passNeeds(`${name} by influence`, missing);
  const dropped: DroppedBlock[] = [];
  while (dropped.length < count) {
    context.signal.throwIfAborted();
    const label = `${dropped.length} of ${count} blocks`;
    context.progress({ task: name, done: dropped.length, total: count, label });
    const blocks = await residualBlocks(draft, { protect, dims, opset: context.opset });
    const influence = await blockInfluence(blocks, { ...context, model: draft }, { samples, batchSize });
    let least: number | undefined;
    for (const [index, value] of influence.entries())
      if (least === undefined || value < influence[least]!) least = index;
    const block = least === undefined ? undefined : blocks[least];
    if (block === undefined) break;
    await dropBlocks(draft, [block], { opset: context.opset });
    dropped.push({ block: block.name, influence: influence[least ?? 0], nodes: block.nodes.length });
  }
  context.progress({ task: name, done: count, total: count });
  return dropped;
}

async function run(
  draft: Model,
  options: DepthPruningOptions,
  context: PassContext,
): Promise<DepthPruningReport> {
  const { blocks: wanted, protect } = options;
  const { opset, signal } = context;
  const report = new ReportBuilder();
  // Files need not say what shapes values have, and what a model costs follows from them.
  await inferShapes(draft, { opset, signal, strict: false });
  const dims = symbolSizes(draft, options.dims);
  const before = modelCost(draft, { opset, dims });
  const dropped =
    typeof wanted === 'number'
      ? await dropLeast(draft, wanted, options, context)
      : await dropNamed(draft, wanted, await residualBlocks(draft, { protect, dims, opset }), context);
  const after = modelCost(draft, { opset, dims });
  for (const { block, nodes } of dropped) report.apply(`drop residual block "${block}" of ${nodes} nodes`);
  if (typeof wanted === 'number' && dropped.length < wanted)
    report.skip('blocks', 'no-more-blocks', `there are ${dropped.length}, and ${wanted} were asked for`);
  report.metric('multiplications before', before.macs, 'macs');
  report.metric('multiplications after', after.macs, 'macs');
  report.metric('parameters before', before.parameters, 'elements');
  report.metric('parameters after', after.parameters, 'elements');
  if (dropped.length > 0)
    report.table('blocks', {
      title: 'Residual blocks that were dropped',
      columns: ['block', 'influence', 'nodes'].map((column) => ({ name: column, unit: '' })),
      rows: dropped.map(({ block, influence, nodes }) => [block, influence ?? '', nodes]),
    });
  return { ...report.build(), blocks: dropped };
}

/**
 * Drops whole residual blocks (see {@link residualBlocks}): the model becomes less deep, which every runtime feels. By
 * number, the block that changes least what passes it goes, and the rest is measured anew, on the context's data and
 * without labels; or those that are named go. Recover what is lost by `leastSquaresRefit` or by training on.
 *
 * @throws {LitheError} OPTIONS_INVALID when a block is not there; PASS_NEEDS when blocks are to be found and the context
 *   has no data and backend
 * @see Men and others, "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024
 * @example
 * ```ts
 * import { optimize } from '@lithe/core';
 * import { depthPruning, residualBlocks } from '@lithe/pruning';
 * import { resnet20 } from '@lithe/training';
 *
 * const original = await resnet20();
 * const names = (await residualBlocks(original)).slice(0, 2).map((block) => block.name);
 * const { model } = await optimize(original, [depthPruning({ blocks: names })]);
 * (await residualBlocks(model)).length; // => 5
 * ```
 */
export const depthPruning: Pass<DepthPruningOptions, DepthPruningOptions> = definePass({
  name,
  version: 1,
  summary: 'Drops the residual blocks that change least.',
  options: schema,
  preserves: 'accuracy',
  requires: [opsetAtLeast(13)],
  run,
});

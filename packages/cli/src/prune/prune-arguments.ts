import type { Model } from '@lithe/core';
import {
  type CriterionName,
  criterionNames,
  type NamedCriterionOptions,
  normalizers,
  type PruneOptions,
  reductions,
  type Scope,
} from '@lithe/pruning';
import { crossEntropy } from '@lithe/training';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../exit-codes.ts';
import {
  addMeasureOptions,
  type MeasureArguments,
  parseInteger,
  parseNumber,
  samplesOption,
} from '../options.ts';

/** What `lithe prune` is given. */
export interface PruneArguments extends MeasureArguments {
  readonly output?: string;
  readonly ratio?: number;
  readonly targetLatency?: number;
  readonly macs?: number;
  readonly parameters?: number;
  readonly weightBytes?: number;
  readonly criterion: CriterionName;
  readonly logits?: string;
  readonly reduction?: NamedCriterionOptions['reduction'];
  readonly normalizer?: NamedCriterionOptions['normalizer'];
  readonly scope: Scope;
  readonly roundTo?: number;
  readonly minimumWidth?: number;
  readonly largestRatio?: number;
  readonly attention: 'heads' | 'width';
  readonly protect?: readonly string[];
  readonly calibrate?: string;
  readonly evaluate?: string;
  readonly samples: number;
  readonly batchSize: number;
  readonly journal?: string;
  readonly simplify: boolean;
  readonly dryRun?: boolean;
}

/** Reads `0.6x`, `0.6` or `60%`: a share of the original. */
export function parseShare(text: string): number {
  const match = /^(\d*\.?\d+)(x|%)?$/i.exec(text.trim());
  const share = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (!(share > 0 && share < 1))
    throw new InvalidArgumentError('It must be a share of the original between 0 and 1, such as 0.6x.');
  return share;
}

const units: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** Reads a share, as {@link parseShare}, or an amount such as `1.5M`. */
export function parseAmount(text: string): number {
  const match = /^(\d*\.?\d+)([kmg]?)$/i.exec(text.trim());
  const amount = match === null ? 0 : Number(match[1]) * (units[(match[2] ?? '').toLowerCase()] as number);
  return amount > 1 ? amount : parseShare(text);
}

/** Reads one `--protect`; the option may be repeated. */
const collect = (text: string, previous: readonly string[] = []): readonly string[] => [...previous, text];

/** Adds the options of {@link PruneArguments}. */
export function addPruneOptions(command: Command): Command {
  command
    .option('-o, --output <file>', 'where to write the result (default: MODEL.pruned.onnx)')
    .addOption(
      new Option(
        '--ratio <share>',
        'share of channels, neurons and heads to remove (default: 0.5 without a budget)',
      ).argParser(parseShare),
    )
    .addOption(
      new Option(
        '--target-latency <share>',
        'latency to reach on the target, measured there, such as 0.6x',
      ).argParser(parseShare),
    )
    .addOption(
      new Option('--macs <amount>', 'multiplications to keep: a share (0.5x) or an amount (120M)').argParser(
        parseAmount,
      ),
    )
    .addOption(
      new Option('--parameters <amount>', 'weights to keep: a share (0.5x) or an amount (1.5M)').argParser(
        parseAmount,
      ),
    )
    .addOption(
      new Option(
        '--weight-bytes <amount>',
        'bytes of weights to keep: a share (0.5x) or an amount (4M)',
      ).argParser(parseAmount),
    )
    .addOption(
      new Option('--criterion <name>', 'what tells how much a unit matters')
        .choices(criterionNames)
        .default('l2'),
    )
    .option(
      '--logits <name>',
      'output with scores before softmax, for the loss of taylor and fisher (default: the first)',
    )
    .addOption(
      new Option('--reduction <name>', 'how the weights of a group make one score').choices(reductions),
    )
    .addOption(
      new Option('--normalizer <name>', 'how scores of groups are made comparable').choices(normalizers),
    )
    .addOption(
      new Option(
        '--scope <name>',
        'which units compete: those of a group, all, or those of groups built alike',
      )
        .choices(['local', 'global', 'isomorphic'])
        .default('local'),
    )
    .addOption(
      new Option('--round-to <n>', "multiple that channels are kept at (default: the target's)").argParser(
        parseInteger(1, 1024),
      ),
    )
    .addOption(
      new Option('--minimum-width <n>', 'least channels of any layer').argParser(parseInteger(1, 1_000_000)),
    )
    .addOption(
      new Option('--largest-ratio <share>', 'most that any group loses (default: 0.9)').argParser(
        parseNumber(0, 0.999),
      ),
    )
    .addOption(
      new Option('--attention <unit>', 'cut attention by whole heads, or by the width of each')
        .choices(['heads', 'width'])
        .default('heads'),
    )
    .addOption(
      new Option('--protect <name>', 'node or value that stays as it is (repeat for more)').argParser(
        collect,
      ),
    )
    .option(
      '--calibrate <data>',
      'real inputs for criteria, latency and drift: .npy, .npz, IDX, an image, or a folder of them; with labels for taylor and fisher',
    )
    .option('--evaluate <data>', 'labelled inputs, for the accuracy before and after')
    .addOption(samplesOption())
    .addOption(
      new Option('--batch-size <n>', 'samples per run where latency is searched for')
        .argParser(parseInteger(1, 65_536))
        .default(1),
    )
    .option('--journal <file>', 'keep measurements in a file, so that a search that was stopped goes on')
    .option('--no-simplify', 'prune the graph as it is')
    .option('--dry-run', 'say what would be removed and saved, and write nothing');
  return addMeasureOptions(command);
}

/** The options of the pass. */
export function pruneOptions(options: PruneArguments, model: Model): PruneOptions {
  const { targetLatency: latency, macs, parameters, weightBytes: bytes, ratio } = options;
  const hasBudget = [latency, macs, parameters, bytes].some((one) => one !== undefined);
  if (hasBudget && ratio !== undefined)
    throw new UsageError(
      'Give either --ratio or budgets (--target-latency, --macs, --parameters, --weight-bytes).',
    );
  const { criterion, reduction, normalizer, samples, batchSize, threads, rounds } = options;
  return {
    criterion,
    criterionOptions: { reduction, normalizer, samples, loss: lossOf(options, model) },
    scope: options.scope,
    ...(hasBudget ? { budget: { latency, macs, parameters, bytes } } : { ratio: ratio ?? 0.5 }),
    roundTo: options.roundTo,
    minimumWidth: options.minimumWidth,
    largestRatio: options.largestRatio,
    attention: options.attention,
    protect: options.protect,
    latency: { batchSize, threads, rounds },
  };
}

/** Cross-entropy of the scores with the labels, for criteria that look at gradients. */
function lossOf(
  { criterion, logits, calibrate }: PruneArguments,
  model: Model,
): NamedCriterionOptions['loss'] {
  if (criterion !== 'taylor' && criterion !== 'fisher') return undefined;
  if (calibrate === undefined)
    throw new UsageError(
      `Criterion "${criterion}" looks at gradients: give labelled inputs with --calibrate.`,
    );
  return crossEntropy({ logits: logits ?? model.graph.outputs[0]?.name ?? '' });
}

import type { CriterionName, NamedCriterionOptions, Scope, SparsityPattern } from '@lithe/pruning';
import { InvalidArgumentError } from 'commander';
import type { EvaluateArguments, MeasureArguments } from '../options.ts';

/** How ranks are given: by the energy that each layer keeps, by a share of the full rank, or by what is left. */
export type RankArgument =
  | { readonly energy: number }
  | { readonly ratio: number }
  | { readonly budget: { readonly macs?: number; readonly parameters?: number } };

/** What `lithe prune` is given. */
export interface PruneArguments extends MeasureArguments, EvaluateArguments {
  readonly output?: string;
  readonly ratio?: number;
  readonly targetLatency?: number;
  readonly macs?: number;
  readonly parameters?: number;
  readonly weightBytes?: number;
  readonly sparsity?: number;
  readonly pattern?: SparsityPattern;
  readonly lowRank?: RankArgument;
  readonly dropBlocks?: number | readonly string[];
  readonly criterion?: CriterionName | 'sparse-gpt';
  readonly logits?: string;
  readonly reduction?: NamedCriterionOptions['reduction'];
  readonly normalizer?: NamedCriterionOptions['normalizer'];
  readonly scope?: Scope | 'row';
  readonly roundTo?: number;
  readonly minimumWidth?: number;
  readonly largestRatio?: number;
  readonly attention?: 'heads' | 'width';
  readonly protect?: readonly string[];
  readonly refit?: boolean;
  readonly reestimateBatchNorm?: boolean;
  readonly recoverySamples?: number;
  readonly calibrate?: string;
  readonly samples: number;
  readonly batchSize?: number;
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

/** Reads `unstructured`, `2:4` or `4x1`. */
export function parsePatternArgument(text: string): SparsityPattern {
  const [, kept, of] = /^(\d+):(\d+)$/.exec(text) ?? [];
  const isGroups = kept !== undefined && Number(kept) >= 1 && Number(kept) < Number(of);
  const isBlock = /^[1-9]\d*x[1-9]\d*$/.test(text);
  if (text !== 'unstructured' && !isGroups && !isBlock)
    throw new InvalidArgumentError(
      'Write "unstructured", N:M such as 2:4 (2 of 4 neighbours stay), or a block of outputs by inputs such as 4x1.',
    );
  return text as SparsityPattern;
}

/** Reads `0.95` (energy), `rank=0.25`, `macs=0.6x` or `parameters=1.5M`. */
export function parseRank(text: string): RankArgument {
  const [, key, value] = /^(energy|rank|macs|parameters)=(.+)$/.exec(text) ?? [];
  if (key === 'macs' || key === 'parameters') return { budget: { [key]: parseAmount(value ?? '') } };
  const share = Number(value ?? text);
  if (!(share > 0 && share <= 1))
    throw new InvalidArgumentError(
      'Write the energy that layers keep (0.95), a share of their rank (rank=0.25), or a budget (macs=0.6x, parameters=0.5x).',
    );
  return key === 'rank' ? { ratio: share } : { energy: share };
}

/** Reads a number of blocks, or their names with commas between. */
export function parseBlocks(text: string): number | readonly string[] {
  if (!/^\d+$/.test(text)) return text.split(',').map((name) => name.trim());
  if (Number(text) < 1) throw new InvalidArgumentError('It must be 1 or more, or names of blocks.');
  return Number(text);
}

/** Reads one `--protect`; the option may be repeated. */
export const collect = (text: string, previous: readonly string[] = []): readonly string[] => [
  ...previous,
  text,
];

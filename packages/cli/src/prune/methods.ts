import { criterionNames } from '@lithe/pruning';
import { UsageError } from '../exit-codes.ts';
import type { PruneArguments } from './prune-arguments.ts';

/** What may be taken out of a model. */
export type PruneMethod = 'channels' | 'zeros' | 'low-rank' | 'blocks';

const structured = ['channels'] as const;

/** Options that mean something to some methods only. */
const takers = {
  ratio: structured,
  targetLatency: structured,
  macs: structured,
  parameters: structured,
  weightBytes: structured,
  roundTo: structured,
  minimumWidth: structured,
  largestRatio: structured,
  attention: structured,
  logits: structured,
  reduction: structured,
  normalizer: structured,
  batchSize: structured,
  journal: structured,
  criterion: ['channels', 'zeros'],
  scope: ['channels', 'zeros'],
  refit: ['channels', 'low-rank', 'blocks'],
} as const satisfies Partial<Record<keyof PruneArguments, readonly PruneMethod[]>>;

/** How a method is asked for. */
const askedBy: Readonly<Record<PruneMethod, string>> = {
  channels: 'removing channels',
  zeros: '--sparsity',
  'low-rank': '--low-rank',
  blocks: '--drop-blocks',
};

/** What to do instead, where that is known. */
const instead: Readonly<Record<string, string>> = {
  refit: 'It would fill the zeros in again: --criterion sparse-gpt moves the weights that stay.',
  ratio: 'The share of zeros is --sparsity.',
  macs: 'A budget of multiplications is --low-rank macs=0.6x.',
  parameters: 'A budget of weights is --low-rank parameters=0.5x.',
};

const zeroCriteria: ReadonlySet<string> = new Set(['lamp', 'l1', 'l2', 'wanda', 'sparse-gpt']);

const flag = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

function hintOf(name: string, method: PruneMethod): string {
  const fits =
    name === 'macs' || name === 'parameters' ? method === 'low-rank' : method === 'zeros' && name in instead;
  return fits ? ` ${instead[name]}` : '';
}

/** Refuses data-hungry options without data, before anything is read. */
function checkData(options: PruneArguments, method: PruneMethod): void {
  const { calibrate, criterion } = options;
  if (calibrate !== undefined) return;
  const wants = (what: string): never => {
    throw new UsageError(`${what} looks at real inputs: give them with --calibrate.`);
  };
  if (options.refit === true) wants('--refit');
  if (options.reestimateBatchNorm === true) wants('--reestimate-batch-norm');
  if (method === 'zeros' && (criterion === 'wanda' || criterion === 'sparse-gpt'))
    wants(`Criterion "${criterion}"`);
  if (typeof options.dropBlocks === 'number')
    throw new UsageError(
      '--drop-blocks measures which blocks change least: give real inputs with --calibrate, or the names of blocks.',
    );
}

/**
 * What a call takes out.
 *
 * @throws {UsageError} when it asks for two things at once, or gives an option that means nothing to the one
 */
export function methodOf(options: PruneArguments): PruneMethod {
  const asked: PruneMethod[] = [];
  if (options.sparsity !== undefined || options.pattern !== undefined) asked.push('zeros');
  if (options.lowRank !== undefined) asked.push('low-rank');
  if (options.dropBlocks !== undefined) asked.push('blocks');
  const [method = 'channels', second] = asked;
  if (second !== undefined)
    throw new UsageError(
      `${askedBy[method]} and ${askedBy[second]} are two steps: prune once with the one, and the result with the other.`,
    );
  for (const [name, methods] of Object.entries(takers)) {
    const given = options[name as keyof typeof takers];
    if (given === undefined || (methods as readonly PruneMethod[]).includes(method)) continue;
    throw new UsageError(`${flag(name)} means nothing to ${askedBy[method]}.${hintOf(name, method)}`);
  }
  const { recoverySamples, refit, reestimateBatchNorm } = options;
  if (recoverySamples !== undefined && method !== 'zeros' && refit !== true && reestimateBatchNorm !== true)
    throw new UsageError('--recovery-samples is for --refit and --reestimate-batch-norm: give one of them.');
  checkChoices(options, method);
  checkData(options, method);
  return method;
}

function checkChoices({ criterion, scope, pattern, sparsity }: PruneArguments, method: PruneMethod): void {
  if (criterion !== undefined && method === 'zeros' && !zeroCriteria.has(criterion))
    throw new UsageError(
      `Criterion "${criterion}" scores whole channels; for single weights there are ${[...zeroCriteria].join(', ')}.`,
    );
  if (criterion === 'sparse-gpt' && method === 'channels')
    throw new UsageError(
      `Criterion "sparse-gpt" chooses single weights: give --sparsity. For channels there are ${criterionNames.join(', ')}.`,
    );
  if (scope === 'row' && method === 'channels')
    throw new UsageError(
      'Scope "row" is for single weights (--sparsity); channels take local, global or isomorphic.',
    );
  if (scope === 'isomorphic' && method === 'zeros')
    throw new UsageError('Scope "isomorphic" is for channels; single weights take global, local or row.');
  if (pattern?.includes(':') === true && sparsity !== undefined)
    throw new UsageError(
      `Pattern ${pattern} says itself how many weights become zero: leave --sparsity out.`,
    );
}

import type { Skip } from '@lithe/core';
import { EQUAL_SQNR_DB } from '../compress/bench.ts';
import type { LatencyChange } from '../compress/report.ts';
import {
  formatBytes,
  formatCount,
  formatMilliseconds,
  formatNumber,
  formatRatio,
  formatTable,
} from '../terminal/format.ts';
import type { Change, PruneResult } from './result.ts';

const units = { channel: 'channels', head: 'heads', 'head-width': 'columns per head' } as const;

/** Rows of a table that a terminal is filled with; the rest is in the JSON. */
const MOST_ROWS = 60;

const fewer = ({ before, after }: Change): string =>
  after === before
    ? 'the same'
    : `${formatRatio(before / Math.max(1, after))} ${after < before ? 'fewer' : 'of it'}`;

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function cut(rows: readonly (readonly string[])[]): readonly (readonly string[])[] {
  if (rows.length <= MOST_ROWS) return rows;
  const left = rows.length - MOST_ROWS;
  const columns = rows[0]?.length ?? 1;
  return [
    ...rows.slice(0, MOST_ROWS),
    [`… and ${left} more: --json has all`, ...Array.from({ length: columns - 1 }, () => '')],
  ];
}

function groupTable({ groups }: PruneResult): string {
  const rows = groups.map(({ group, kind, layers, before, after }) => {
    const others = layers.filter((layer) => layer !== group);
    const more = others.length > 3 ? `, … (${others.length})` : '';
    return [group, units[kind], String(before), String(after), `${others.slice(0, 3).join(', ')}${more}`];
  });
  return formatTable([['group', 'unit', 'before', 'after', 'with'], ...cut(rows)], [2, 3]);
}

function zeroTable({ zeros }: PruneResult): string {
  const rows = zeros.map(({ weight, op, elements, zeros: count }) => [
    weight,
    op,
    formatCount(elements),
    percent(count / elements),
  ]);
  return formatTable([['weight', 'of', 'elements', 'zeros'], ...cut(rows)], [2, 3]);
}

function rankTable({ ranks }: PruneResult): string {
  const rows = ranks.map(({ layer, kind, rank, fullRank, energy }) => [
    layer,
    kind,
    String(fullRank),
    String(rank),
    percent(energy),
  ]);
  return formatTable(
    [['layer', 'taken apart by', 'rank before', 'after', 'energy'], ...cut(rows)],
    [2, 3, 4],
  );
}

function blockTable({ blocks }: PruneResult): string {
  const rows = blocks.map(({ block, influence, nodes }) => [
    block,
    influence === undefined ? 'named' : formatNumber(influence),
    String(nodes),
  ]);
  return formatTable([['dropped block', 'influence', 'nodes'], ...rows], [1, 2]);
}

function detail(result: PruneResult): string {
  switch (result.method) {
    case 'channels':
      return result.groups.length === 0 ? 'No group of channels can be pruned.' : groupTable(result);
    case 'zeros':
      return result.zeros.length === 0 ? 'No weight can be treated.' : zeroTable(result);
    case 'low-rank':
      return result.ranks.length === 0
        ? 'No layer was taken apart: none would save anything.'
        : rankTable(result);
    default:
      return result.blocks.length === 0 ? 'There is no residual block to drop.' : blockTable(result);
  }
}

const change = (name: string, of: Change, format: (value: number) => string): string[] => [
  name,
  format(of.before),
  format(of.after),
  fewer(of),
];

function timeRow(name: string, { beforeMs, afterMs, speedup, interval }: LatencyChange): string[] {
  const [low, high] = interval;
  // A few rounds say nothing of the spread.
  const spread =
    Number.isFinite(low) && Number.isFinite(high) ? ` (${formatRatio(low)} to ${formatRatio(high)})` : '';
  return [
    name,
    formatMilliseconds(beforeMs),
    formatMilliseconds(afterMs),
    `${formatRatio(speedup)} as fast${spread}`,
  ];
}

function figures(result: PruneResult): string {
  const { parameters, macs, weightBytes, size, latency, compressed } = result;
  const smaller = (name: string, of: Change): string[] => [
    name,
    formatBytes(of.before),
    formatBytes(of.after),
    `${formatRatio(of.before / of.after)} smaller`,
  ];
  const rows = [
    ['', 'before', 'after', 'change'],
    change('parameters', parameters, formatCount),
    change('multiplications', macs, formatCount),
    size === null ? change('weights', weightBytes, formatBytes) : smaller('size', size),
  ];
  if (compressed !== null)
    rows.push(smaller(size === null ? 'weights, compressed' : 'size, gzip', compressed));
  if (latency !== null) rows.push(timeRow('latency', latency));
  if (result.pruningLatency !== null && result.pruningLatency !== latency)
    rows.push(timeRow('of it by pruning', result.pruningLatency));
  if (result.accuracy !== null) {
    const { before, after } = result.accuracy;
    rows.push(['accuracy', percent(before), percent(after), `${(100 * (after - before)).toFixed(2)} points`]);
  }
  return formatTable(rows, [1, 2]);
}

/** What was decided how, and where it was measured. */
function setting(result: PruneResult): string {
  const { name, runtime, threads } = result.target;
  const by =
    result.criterion === null
      ? ''
      : `criterion ${result.criterion}${result.ratio === null || result.ratio === 0 ? '' : `, ratio ${formatNumber(result.ratio)}`}; `;
  return `${by}${name}: ${runtime}, ${threads} thread${threads === 1 ? '' : 's'}`;
}

function zerosBuy({ pruningLatency: latency }: PruneResult): string {
  const measured = latency === null ? '' : ` (measured: ${formatRatio(latency.speedup)})`;
  return `Zeros make the download smaller where it is compressed. They make nothing faster${measured}: runtimes multiply them like any other number. For speed remove channels.`;
}

function recovered({ recovery }: PruneResult): string[] {
  if (recovery === null) return [];
  const { refitted, error, normalizations } = recovery;
  const lines: string[] = [];
  if (error !== null)
    lines.push(
      `refit: ${refitted} layers; their mean squared error against the original fell from ${percent(error.before)} to ${percent(error.after)} of the variance`,
    );
  if (normalizations > 0) lines.push(`measured anew: ${normalizations} batch normalizations`);
  return lines;
}

function advice({ method, recovery, data }: PruneResult): string {
  const train = 'train it on, or distil it from the original';
  if (method === 'zeros')
    return 'Win back what was lost: train on with zeros held (holdZeros of @lithe/pruning).';
  if (recovery?.error != null) return `For more ${train}.`;
  const without = data.random ? '--refit with real inputs (--calibrate)' : '--refit';
  return `Win back what was lost without training by ${without}; for more ${train}.`;
}

/** Reasons why places were left alone: one line a reason. */
function skipLines(skips: readonly Skip[]): string[] {
  const groups = new Map<string, Skip[]>();
  for (const skip of skips) {
    const key = `${skip.code}: ${skip.reason.replaceAll(/"[^"]*"/g, '"…"').replaceAll(/\d+/g, '#')}`;
    groups.set(key, [...(groups.get(key) ?? []), skip]);
  }
  return [...groups.values()].map((all) => {
    const [first] = all as [Skip];
    if (all.length === 1) return `left alone: ${first.target}: ${first.reason}`;
    const names = all.slice(0, 3).map(({ target }) => target);
    const list = `${names.join(', ')}${all.length > 3 ? ', …' : ''} (${all.length})`;
    const isSame = all.every(({ reason }) => reason === first.reason);
    return isSame
      ? `left alone: ${list}: ${first.reason}`
      : `left alone: ${list}; the first: ${first.reason}`;
  });
}

/** Prints a result for people. */
export function printPruned(result: PruneResult): string {
  const lines = [
    result.output === null ? `${result.model}: nothing was written` : `${result.model} → ${result.output}`,
    '',
    detail(result),
    '',
    figures(result),
    '',
    setting(result),
    ...recovered(result),
  ];
  if (result.zeros.length > 0) lines.push(zerosBuy(result));
  const { drift, data } = result;
  if (drift !== null) {
    const isLossless = drift.sqnrDb >= EQUAL_SQNR_DB;
    const what = isLossless ? 'the same as' : `${formatNumber(drift.sqnrDb)} dB against`;
    lines.push(`outputs: ${what} the original on ${data.source}.${isLossless ? '' : ` ${advice(result)}`}`);
  }
  lines.push(...skipLines(result.skipped));
  if (!result.met) lines.push('What was asked for is not met: this is the closest that was found.');
  return `${lines.join('\n')}\n`;
}

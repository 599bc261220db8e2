import {
  formatBytes,
  formatCount,
  formatMilliseconds,
  formatNumber,
  formatRatio,
  formatTable,
} from '../terminal/format.ts';
import type { Change, PruneResult } from './prune-file.ts';

const units = { channel: 'channels', head: 'heads', 'head-width': 'columns per head' } as const;

const less = ({ before, after }: Change): string => `${formatRatio(before / Math.max(1, after))} fewer`;

/** The groups, widest loss first in the order of the model. */
function groupTable(result: PruneResult): string {
  const rows = [['group', 'unit', 'before', 'after', 'layers']];
  for (const { group, kind, layers, before, after } of result.groups) {
    const shown = layers.slice(0, 3).join(', ');
    const more = layers.length > 3 ? `, … (${layers.length})` : '';
    rows.push([group, units[kind], String(before), String(after), `${shown}${more}`]);
  }
  return formatTable(rows, [2, 3]);
}

function figures(result: PruneResult): string {
  const { parameters, macs, weightBytes, size, latency } = result;
  const rows = [
    ['', 'before', 'after', 'change'],
    ['parameters', formatCount(parameters.before), formatCount(parameters.after), less(parameters)],
    ['multiplications', formatCount(macs.before), formatCount(macs.after), less(macs)],
    size === null
      ? ['weights', formatBytes(weightBytes.before), formatBytes(weightBytes.after), less(weightBytes)]
      : [
          'size',
          formatBytes(size.before),
          formatBytes(size.after),
          `${formatRatio(size.before / size.after)} smaller`,
        ],
  ];
  if (latency !== null) {
    const [low, high] = latency.interval;
    rows.push([
      'latency',
      formatMilliseconds(latency.beforeMs),
      formatMilliseconds(latency.afterMs),
      `${formatRatio(latency.speedup)} (${formatRatio(low)} to ${formatRatio(high)})`,
    ]);
  }
  if (result.accuracy !== null) {
    const { before, after } = result.accuracy;
    rows.push(['accuracy', before.toFixed(4), after.toFixed(4), (after - before).toFixed(4)]);
  }
  return formatTable(rows, [1, 2]);
}

/** Prints a result for people. */
export function printPruned(result: PruneResult): string {
  const lines = [
    result.output === null ? `${result.model}: nothing was written` : `${result.model} → ${result.output}`,
    '',
    groupTable(result),
    '',
    figures(result),
    '',
  ];
  const { name, runtime, threads } = result.target;
  lines.push(
    `criterion ${result.criterion}, ratio ${formatNumber(result.ratio)}; ${name}: ${runtime}, ${threads} thread${threads === 1 ? '' : 's'}`,
  );
  if (result.drift !== null) {
    lines.push(
      `outputs: ${formatNumber(result.drift.sqnrDb)} dB against the original on ${result.data.source}. Recover what was lost by training on, or by distilling from the original.`,
    );
  }
  for (const { target, reason } of result.skipped) lines.push(`left alone: ${target}: ${reason}`);
  if (!result.met) lines.push('The budget is not met: this is the closest that was found.');
  return `${lines.join('\n')}\n`;
}

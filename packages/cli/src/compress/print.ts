import {
  formatBytes,
  formatMilliseconds,
  formatNumber,
  formatRatio,
  formatTable,
} from '../terminal/format.ts';
import type { CandidateResult, CompressReport } from './report.ts';

function candidateRow(result: CandidateResult): string[] {
  const { size, latency, drift, accuracy } = result;
  return [
    result.chosen ? `▸ ${result.name}` : `  ${result.name}`,
    size === undefined ? '–' : formatBytes(size.after),
    size === undefined ? '–' : formatRatio(size.ratio),
    latency === undefined ? '–' : formatMilliseconds(latency.afterMs),
    latency === undefined ? '–' : formatRatio(latency.speedup),
    drift === undefined ? '–' : `${formatNumber(drift.sqnrDb)} dB`,
    ...(accuracy === undefined ? [] : [`${(accuracy.after * 100).toFixed(2)} %`]),
    result.chosen ? 'chosen' : (result.reason ?? ''),
  ];
}

/** The evidence of a compression as text: a before/after table, then what was tried and why it lost. */
export function printCompression(report: CompressReport): string {
  const { size, latency, drift, accuracy, target } = report;
  const summary = [
    ['', 'before', 'after', 'change'],
    ['size', formatBytes(size.before), formatBytes(size.after), `${formatRatio(size.ratio)} smaller`],
    [
      'latency',
      formatMilliseconds(latency.beforeMs),
      formatMilliseconds(latency.afterMs),
      `${formatRatio(latency.speedup)} as fast (95 %: ${formatRatio(latency.interval[0])} to ${formatRatio(latency.interval[1])})`,
    ],
    ['drift', '', `${formatNumber(drift.sqnrDb)} dB`, driftText(report)],
    ...(accuracy === undefined
      ? []
      : [
          [
            accuracy.metric,
            percent(accuracy.before),
            percent(accuracy.after),
            `${((accuracy.after - accuracy.before) * 100).toFixed(2)} points`,
          ],
        ]),
  ];
  const head = [
    'candidate',
    'size',
    'smaller',
    'latency',
    'speed',
    'SQNR',
    ...(accuracy === undefined ? [] : [accuracy.metric]),
    'verdict',
  ];
  return [
    `${report.model} → ${report.output ?? '(nothing written)'}`,
    `${report.chosen}, for ${target.name} (${target.runtime}, ${target.threads} thread${target.threads === 1 ? '' : 's'}), objective ${report.objective}, on ${report.data.samples} sample${report.data.samples === 1 ? '' : 's'} of ${report.data.source}`,
    '',
    formatTable(summary, [1, 2]),
    '',
    formatTable([head, ...report.candidates.map(candidateRow)], [1, 2, 3, 4, 5]),
    ...(report.notTried.length === 0
      ? []
      : ['', 'not tried', ...report.notTried.map(({ name, reason }) => `  ${name}: ${reason}`)]),
    '',
  ].join('\n');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

function driftText({ drift }: CompressReport): string {
  const parts = [`cosine ${drift.cosine.toFixed(6)}`, `largest difference ${formatNumber(drift.maxAbs)}`];
  if (drift.top1Agreement !== undefined) parts.push(`same best class in ${percent(drift.top1Agreement)}`);
  return parts.join(', ');
}

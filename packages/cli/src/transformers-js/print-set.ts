import { basename } from 'node:path';
import {
  formatBytes,
  formatMilliseconds,
  formatNumber,
  formatRatio,
  formatTable,
} from '../terminal/format.ts';
import { groupSkips } from '../terminal/skips.ts';
import type { SetFile, SetReport, Verification } from './report.ts';

const dash = '–';

function cellsOf(verification: Verification, top1: boolean): string[] {
  if (verification.state !== 'measured') {
    const text = verification.state === 'unverified' ? 'not verified here' : 'does not run';
    return [verification.target, text, dash, ...(top1 ? [dash] : []), dash, dash];
  }
  const { target, drift, latency } = verification;
  const agreement = drift.top1Agreement;
  return [
    target,
    `${formatNumber(drift.sqnrDb)} dB`,
    drift.cosine.toFixed(5),
    ...(top1 ? [agreement === undefined ? dash : `${(agreement * 100).toFixed(1)} %`] : []),
    formatMilliseconds(latency.afterMs),
    formatRatio(latency.speedup),
  ];
}

function rowsOf(file: SetFile, top1: boolean): string[][] {
  const { size } = file;
  const name =
    file.state === 'refused' || file.state === 'skipped' ? `(${basename(file.path)})` : basename(file.path);
  const own = [
    file.dtype,
    name,
    size === undefined ? dash : formatBytes(size.after),
    size === undefined ? dash : formatRatio(size.ratio),
  ];
  const cells = file.verifications.map((one) => cellsOf(one, top1));
  if (cells.length === 0) return [[...own, dash, dash, dash, ...(top1 ? [dash] : []), dash, dash]];
  return cells.map((cell, index) => [...(index === 0 ? own : ['', '', '', '']), ...cell]);
}

/** Why places stayed as they were, the most frequent reason first, with the dtypes that it holds for. */
function leftAlone(files: readonly SetFile[]): string[] {
  const found = new Map<string, { count: number; readonly dtypes: string[] }>();
  for (const { dtype, passes } of files) {
    for (const { text, count } of groupSkips(passes.flatMap(({ skipped }) => skipped))) {
      const known = found.get(text);
      if (known === undefined) found.set(text, { count, dtypes: [dtype] });
      else {
        known.count = Math.max(known.count, count);
        known.dtypes.push(dtype);
      }
    }
  }
  const sorted = [...found].sort(([, left], [, right]) => right.count - left.count);
  const lines = sorted.map(([why, { count, dtypes }]) => `  ${count} × ${why} (${dtypes.join(', ')})`);
  const shown = 12;
  return lines.length <= shown
    ? lines
    : [...lines.slice(0, shown), `  and ${lines.length - shown} more reasons; --json has all`];
}

/** What became of a set, as text: a table, then what was refused and what stayed float. */
export function printSet(report: SetReport): string {
  const top1 = report.files.some(({ verifications }) =>
    verifications.some((one) => one.state === 'measured' && one.drift.top1Agreement !== undefined),
  );
  const head = [
    'dtype',
    'file',
    'size',
    'smaller',
    'runtime',
    'SQNR',
    'cosine',
    ...(top1 ? ['same best'] : []),
    'latency',
    'speed',
  ];
  const runtimes = report.targets.map(
    ({ name, runtime, threads }) => `${name} (${runtime}, ${threads} thread${threads === 1 ? '' : 's'})`,
  );
  const refused = report.files.filter(({ state }) => state === 'refused');
  const skipped = report.files.filter(({ state }) => state === 'skipped');
  const kept = report.files.filter(({ state }) => state === 'kept');
  const unverified = report.files.flatMap(({ dtype, verifications }) =>
    verifications.flatMap((one) =>
      one.state === 'unverified' ? [`${dtype} was not verified in ${one.target}: ${one.reason}`] : [],
    ),
  );
  const float = leftAlone(report.files);
  return [
    `${report.model} → ${report.output}${report.modelType === undefined ? '' : ` (model type ${report.modelType})`}`,
    `in ${runtimes.join(', ')}, on ${report.data.samples} samples of ${report.data.source}`,
    '',
    formatTable(
      [head, ...report.files.flatMap((file) => rowsOf(file, top1))],
      top1 ? [2, 3, 5, 6, 7, 8, 9] : [2, 3, 5, 6, 7, 8],
    ),
    '',
    ...(kept.length === 0 ? [] : ['fp32 is the model that was given; it was left as it is.']),
    ...unverified,
    ...skipped.map(({ dtype, reason }) => `${dtype} was left out: ${reason ?? ''}`),
    ...refused.map(({ dtype, reason }) => `${dtype} was NOT written: ${reason ?? ''}`),
    ...(float.length === 0 ? [] : ['left as it was:', ...float]),
    ...report.configuration.map((path) => `wrote ${path}`),
    '',
  ].join('\n');
}

import Table from 'cli-table3';

/** Bytes for people, rounded to at most two decimals: `4.75 MB`, `94.3 kB`. (`pretty-bytes` cuts decimals off instead.) */
export function formatBytes(bytes: number): string {
  for (const [size, unit] of [
    [1e12, 'TB'],
    [1e9, 'GB'],
    [1e6, 'MB'],
    [1e3, 'kB'],
  ] as const) {
    // What the unit below would round to 1000 is one of this unit.
    if (bytes >= size * 0.999995) return `${Number((bytes / size).toFixed(2))} ${unit}`;
  }
  return `${Math.round(bytes)} B`;
}

/** Milliseconds with three significant digits: `0.612 ms`. */
export function formatMilliseconds(milliseconds: number): string {
  return `${formatNumber(milliseconds)} ms`;
}

/** A number with about three significant digits, without an exponent where one can read it. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '-∞';
  if (value === 0) return '0';
  const magnitude = Math.abs(value);
  if (magnitude >= 1e15 || magnitude < 1e-3) return value.toExponential(2);
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(magnitude)));
  return value.toLocaleString('en-US', { maximumFractionDigits: decimals });
}

/** A ratio: `3.91x`. */
export function formatRatio(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
}

/** A count for people: `1.25 M`. */
export function formatCount(count: number): string {
  for (const [size, suffix] of [
    [1e12, ' T'],
    [1e9, ' G'],
    [1e6, ' M'],
    [1e3, ' k'],
  ] as const) {
    if (count >= size) return `${(count / size).toFixed(2)}${suffix}`;
  }
  return String(count);
}

/** Aligned columns without lines; the first row is the heading. */
export function formatTable(
  rows: readonly (readonly string[])[],
  alignRight: readonly number[] = [],
): string {
  const columns = rows[0]?.length ?? 0;
  const blank = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  };
  const table = new Table({
    chars: blank,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colAligns: Array.from({ length: columns }, (_, index) => (alignRight.includes(index) ? 'right' : 'left')),
  });
  for (const row of rows) table.push([...row]);
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

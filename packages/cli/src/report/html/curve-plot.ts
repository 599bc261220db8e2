import type { Markish, ScaleOptions } from '@observablehq/plot';
import { formatNumber } from '../../terminal/format.ts';
import type { Words } from './bar-plot.ts';
import type { Drawing } from './drawing.ts';
import type { Html } from './markup.ts';
import { amountScale } from './scales.ts';
import { extentOf, type SeriesRow, seedCount, seriesMeans } from './series.ts';

type Row = SeriesRow & { readonly x: number };

/** Points of a line that have a dot each. */
const MOST_DOTS = 40;
/** Amounts that differ by more than this are drawn on a logarithmic scale. */
const WIDE = 50;

function lineMarks({ library: Plot }: Drawing, rows: readonly Row[]): Markish[] {
  const means = [...seriesMeans(rows)].sort((left, right) => left.x - right.x);
  const seeds = seedCount(rows);
  const thin = { x: 'x', y: 'y', z: 'seed', stroke: 'var(--series-1)', strokeOpacity: 0.35, strokeWidth: 1 };
  const thick = { stroke: 'var(--series-1)', strokeWidth: 2 };
  // Several values of one seed at one place have no mean: they are a line as they come.
  if (means.length * seeds < rows.length) return [Plot.line(rows, { ...thin, ...thick, strokeOpacity: 1 })];
  return [
    ...(seeds > 1 ? [Plot.line(rows, thin)] : []),
    Plot.line(means, { x: 'x', y: 'y', ...thick }),
    ...(means.length <= MOST_DOTS
      ? [Plot.dot(means, { x: 'x', y: 'y', r: 2.4, fill: 'var(--series-1)' })]
      : []),
  ];
}

/** A range with some room where all its values are one. */
function openRange([low, high]: readonly [number, number]): readonly [number, number] {
  return low === high
    ? [low - Math.max(1, Math.abs(low) / 2), high + Math.max(1, Math.abs(high) / 2)]
    : [low, high];
}

function valueScale(values: readonly number[]): ScaleOptions & { readonly ticks?: number[] } {
  const [low, high] = extentOf(values);
  if (low <= 0 || high <= WIDE * low) return { domain: openRange([low, high]), nice: low !== high };
  const { type, domain, ticks } = amountScale(values);
  return { type, domain, ...(ticks === undefined ? {} : { ticks }) };
}

/** Numbers over a number, as a line through the means of the seeds with a thin line for each seed, or as points. */
export function curvePlot(
  drawing: Drawing,
  kind: 'line' | 'points',
  { rows, words }: { readonly rows: readonly SeriesRow[]; readonly words: Words },
): Html {
  const { library: Plot } = drawing;
  const numbers = rows.filter((row): row is Row => typeof row.x === 'number');
  const xs = numbers.map(({ x }) => x);
  const [first, last] = extentOf(xs);
  const { ticks = 5, ...y } = valueScale(numbers.map((row) => row.y));
  const places = xs.every(Number.isInteger) ? Math.max(1, Math.min(6, last - first)) : 5;
  return drawing.svg({
    label: words.label,
    width: words.width,
    height: Math.round(words.width * 0.52),
    margins: { marginLeft: 58, marginTop: 26, marginBottom: 40, marginRight: 16 },
    x: { domain: openRange([first, last]), inset: 8, label: null },
    y: { ...y, inset: 4, label: null },
    marks: [
      Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks }),
      Plot.axisX({
        ...{ ticks: places, tickSize: 0, tickFormat: formatNumber, fill: 'var(--muted)' },
        ...{ label: `${words.place} →`, labelArrow: 'none' },
      }),
      Plot.axisY({
        ...{ ticks, tickSize: 0, tickFormat: formatNumber, fill: 'var(--muted)' },
        ...{ label: `↑ ${words.value}`, labelArrow: 'none' },
      }),
      ...(kind === 'line'
        ? lineMarks(drawing, numbers)
        : [Plot.dot(numbers, { x: 'x', y: 'y', r: 3, fill: 'var(--series-1)', fillOpacity: 0.75 })]),
    ],
  });
}

import type { ReportTable } from '@lithe/core';
import type { Markish } from '@observablehq/plot';
import { formatNumber } from '../../terminal/format.ts';
import type { Drawing } from './drawing.ts';
import { type Html, html } from './markup.ts';
import { amountScale } from './scales.ts';

/** A table of one seed. */
export interface SeedTable {
  /** The seed. */
  readonly seed: number;
  /** The table. */
  readonly table: ReportTable;
}

interface Row {
  readonly seed: number;
  readonly x: string | number;
  readonly y: number;
}

const WIDTH = 460;
/** Rows that a plot shows; a table may have any number. */
const MOST_ROWS = 5000;
/** Names that have a bar with a label each; more of them have narrow bars without. */
const MOST_NAMES = 48;
const LONGEST_NAME = 30;

function rowsOf(tables: readonly SeedTable[], x: string, y: string): Row[] {
  return tables.flatMap(({ seed, table }) => {
    const along = table.columns.findIndex(({ name }) => name === x);
    const up = table.columns.findIndex(({ name }) => name === y);
    const names = table.rows.map((row) => row[along]);
    const repeated = new Set(names).size < names.length;
    return table.rows.flatMap((row, index) => {
      const [at, value] = [names[index], row[up]];
      if (at === undefined || typeof value !== 'number' || !Number.isFinite(value)) return [];
      // A layer in several formats, say: all its words together tell the rows apart.
      const words = row.filter((cell) => typeof cell === 'string');
      return [{ seed, x: repeated && typeof at === 'string' ? words.join(' · ') : at, y: value }];
    });
  });
}

/** The mean over the seeds at each place, in the order of the places. */
function meansOf(rows: readonly Row[]): { readonly x: string | number; readonly y: number }[] {
  const groups = new Map<string | number, number[]>();
  for (const { x, y } of rows) {
    const group = groups.get(x);
    if (group === undefined) groups.set(x, [y]);
    else group.push(y);
  }
  return [...groups].map(([x, values]) => ({
    x,
    y: values.reduce((sum, value) => sum + value, 0) / values.length,
  }));
}

function shortName(name: string | number): string {
  const text = String(name);
  // The end tells layers apart.
  return text.length > LONGEST_NAME ? `…${text.slice(1 - LONGEST_NAME)}` : text;
}

function barsOf(drawing: Drawing, rows: readonly Row[], label: string, axis: string): Html {
  const { library: Plot } = drawing;
  const means = meansOf(rows).map(({ x, y }, index) => ({ place: index, name: String(x), y }));
  const place = new Map(means.map(({ name }, index) => [name, index]));
  const several = new Set(rows.map(({ seed }) => seed)).size > 1;
  const dots = several ? rows.map(({ x, y }) => ({ place: place.get(String(x)) ?? 0, y })) : [];
  const named = means.length <= MOST_NAMES;
  const longest = Math.max(...means.map(({ name }) => shortName(name).length));
  const value = {
    tickSize: 0,
    label: axis,
    labelArrow: 'none',
    fill: 'var(--muted)',
    tickFormat: formatNumber,
    ticks: 5,
  } as const;
  const bar = { fill: 'var(--series-1)', fillOpacity: 0.85 };
  const dot = { r: 1.8, fill: 'var(--ink)', fillOpacity: 0.6 };
  const grid = { stroke: 'var(--line)', strokeOpacity: 1, ticks: 5 };
  if (!named)
    return drawing.svg({
      label,
      width: 2 * WIDTH,
      height: 220,
      margins: { marginLeft: 56, marginTop: 24, marginBottom: 28 },
      x: { type: 'linear', domain: [-0.5, means.length - 0.5], label: null },
      y: { label: null },
      marks: [
        Plot.gridY(grid),
        Plot.axisX({
          tickSize: 0,
          ticks: 8,
          label: 'place in the table →',
          labelArrow: 'none',
          fill: 'var(--muted)',
        }),
        Plot.axisY(value),
        Plot.rectY(means, {
          x1: ({ place: at }: { place: number }) => at - 0.4,
          x2: ({ place: at }: { place: number }) => at + 0.4,
          y: 'y',
          ...bar,
        }),
        Plot.dot(dots, { x: 'place', y: 'y', ...dot }),
        Plot.ruleY([0], { stroke: 'var(--muted)' }),
      ],
    });
  return drawing.svg({
    label,
    width: WIDTH,
    height: 44 + 17 * means.length,
    margins: {
      marginLeft: Math.min(210, 14 + 6.6 * longest),
      marginTop: 6,
      marginBottom: 36,
      marginRight: 20,
    },
    x: { label: null },
    y: { type: 'band', domain: means.map(({ place: at }) => at), padding: 0.25, label: null },
    marks: [
      Plot.gridX(grid),
      Plot.axisX(value),
      Plot.axisY({ tickSize: 0, label: null, tickFormat: (at: number) => shortName(means[at]?.name ?? '') }),
      Plot.barX(means, { x: 'y', y: 'place', ...bar }),
      Plot.dot(dots, { x: 'y', y: 'place', ...dot }),
      Plot.ruleX([0], { stroke: 'var(--muted)' }),
    ],
  });
}

function curveOf(
  drawing: Drawing,
  kind: 'line' | 'points',
  rows: readonly Row[],
  words: { readonly label: string; readonly x: string; readonly y: string },
): Html {
  const { library: Plot } = drawing;
  const numbers = rows.filter((row): row is Row & { readonly x: number } => typeof row.x === 'number');
  const means = meansOf(numbers);
  const several = new Set(numbers.map(({ seed }) => seed)).size > 1;
  const values = numbers.map(({ y }) => y);
  const wide = Math.min(...values) > 0 && Math.max(...values) > 50 * Math.min(...values);
  const scale = wide ? amountScale(values) : undefined;
  const marks: Markish[] =
    kind === 'points'
      ? [Plot.dot(numbers, { x: 'x', y: 'y', r: 3, fill: 'var(--series-1)', fillOpacity: 0.75 })]
      : [
          ...(several
            ? [
                Plot.line(numbers, {
                  x: 'x',
                  y: 'y',
                  z: 'seed',
                  stroke: 'var(--series-1)',
                  strokeOpacity: 0.35,
                  strokeWidth: 1,
                }),
              ]
            : []),
          Plot.line(means, { x: 'x', y: 'y', stroke: 'var(--series-1)', strokeWidth: 2 }),
          ...(means.length <= 40
            ? [Plot.dot(means, { x: 'x', y: 'y', r: 2.2, fill: 'var(--series-1)' })]
            : []),
        ];
  const xs = numbers.map(({ x }) => x);
  const steps = xs.every(Number.isInteger) ? Math.max(...xs) - Math.min(...xs) : 6;
  return drawing.svg({
    label: words.label,
    width: WIDTH,
    height: 230,
    margins: { marginLeft: 58, marginTop: 26, marginBottom: 38, marginRight: 16 },
    x: {
      label: null,
      inset: 8,
      ...(xs.every((x) => x === xs[0]) ? { domain: [(xs[0] ?? 0) - 1, (xs[0] ?? 0) + 1] } : {}),
    },
    y: {
      label: null,
      inset: 4,
      ...(scale === undefined ? {} : { type: scale.type, domain: scale.domain }),
      ...(values.every((y) => y === values[0])
        ? { domain: [(values[0] ?? 0) - 1, (values[0] ?? 0) + 1] }
        : {}),
    },
    marks: [
      Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: scale?.ticks ?? 5 }),
      Plot.axisX({
        tickSize: 0,
        ticks: Math.max(1, Math.min(6, steps)),
        label: `${words.x} →`,
        labelArrow: 'none',
        fill: 'var(--muted)',
      }),
      Plot.axisY({
        tickSize: 0,
        ticks: scale?.ticks ?? 5,
        tickFormat: formatNumber,
        label: `↑ ${words.y}`,
        labelArrow: 'none',
        fill: 'var(--muted)',
      }),
      ...marks,
    ],
  });
}

/**
 * The plots that a table asks for, one figure for each column that it draws: columns differ in what they count, and an
 * axis has one scale. Over several seeds a line or bar is the mean; thin lines and dots are the seeds.
 */
export function tablePlots(drawing: Drawing, tables: readonly SeedTable[], step: string): readonly Html[] {
  const [first] = tables;
  const plot = first?.table.plot;
  if (first === undefined || plot === undefined) return [];
  return plot.y.flatMap((column) => {
    const rows = rowsOf(tables, plot.x, column);
    const shown = rows.slice(0, MOST_ROWS);
    if (shown.length === 0 || (plot.kind !== 'bars' && !shown.some(({ x }) => typeof x === 'number')))
      return [];
    const unit = first.table.columns.find(({ name }) => name === column)?.unit ?? '';
    const named = unit === '' || unit === column ? column : `${column} (${unit})`;
    const label = `${first.table.title}, ${step}: ${named} by ${plot.x}, ${shown.length} values from ${formatNumber(lowest(shown))} to ${formatNumber(highest(shown))}`;
    const svg =
      plot.kind === 'bars'
        ? barsOf(drawing, shown, label, `${named} →`)
        : curveOf(drawing, plot.kind, shown, { label, x: plot.x, y: named });
    const seeds = tables.length > 1 ? ` Mean of ${tables.length} seeds, and each of them.` : '';
    const cut =
      rows.length > shown.length ? ` Only the first ${MOST_ROWS} of ${rows.length} values are drawn.` : '';
    return [
      html`<figure class="table-plot">${svg}<figcaption>${first.table.title}: ${named} by ${plot.x}.${seeds}${cut}</figcaption></figure>`,
    ];
  });
}

function lowest(rows: readonly Row[]): number {
  return rows.reduce((low, { y }) => Math.min(low, y), Number.POSITIVE_INFINITY);
}

function highest(rows: readonly Row[]): number {
  return rows.reduce((high, { y }) => Math.max(high, y), Number.NEGATIVE_INFINITY);
}

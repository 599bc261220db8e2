import { formatNumber } from '../../terminal/format.ts';
import { barPlot } from './bar-plot.ts';
import { curvePlot } from './curve-plot.ts';
import type { Drawing } from './drawing.ts';
import { type Html, html } from './markup.ts';
import { extentOf, type SeedTable, seriesOf } from './series.ts';

/** How a table is drawn. */
export interface TablePlotOptions {
  /** Name of the step, for those who do not see the plot. */
  readonly step: string;
  /** Width in pixels; 460 by default. */
  readonly width?: number | undefined;
}

/** Values that a plot shows; a table may have any number. */
const MOST_VALUES = 5000;

/**
 * The plots that a table asks for, one figure for each column that it draws: columns differ in what they count, and an
 * axis has one scale. Over several seeds a line or bar is the mean; thin lines and dots are the seeds.
 */
export function tablePlots(
  drawing: Drawing,
  tables: readonly SeedTable[],
  { step, width = 460 }: TablePlotOptions,
): readonly Html[] {
  const [first] = tables;
  const plot = first?.table.plot;
  if (first === undefined || plot === undefined) return [];
  const { title, columns } = first.table;
  return plot.y.flatMap((column) => {
    const rows = seriesOf(tables, plot.x, column);
    const shown = rows.slice(0, MOST_VALUES);
    if (shown.length === 0) return [];
    const kind = plot.kind === 'bars' || !shown.every(({ x }) => typeof x === 'number') ? 'bars' : plot.kind;
    const unit = columns.find(({ name }) => name === column)?.unit ?? '';
    const value = unit === '' || unit === column ? column : `${column} (${unit})`;
    const [low, high] = extentOf(shown.map(({ y }) => y));
    const words = {
      label: `${title}, ${step}: ${value} by ${plot.x}, ${shown.length} values from ${formatNumber(low)} to ${formatNumber(high)}`,
      value,
      place: plot.x,
      width,
    };
    const svg =
      kind === 'bars' ? barPlot(drawing, shown, words) : curvePlot(drawing, kind, { rows: shown, words });
    const seeds =
      tables.length === 1
        ? ''
        : kind === 'points'
          ? ` ${tables.length} seeds.`
          : ` Mean of ${tables.length} seeds, and each of them.`;
    const cut =
      rows.length > shown.length ? ` Only the first ${MOST_VALUES} of ${rows.length} values are drawn.` : '';
    return [
      html`<figure class="table-plot">${svg}<figcaption>${title}: ${value} by ${plot.x}.${seeds}${cut}</figcaption></figure>`,
    ];
  });
}

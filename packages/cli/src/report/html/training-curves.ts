import type { RunReport } from '../run-report.ts';
import type { RunSummary, StepSummary } from '../run-summary.ts';
import { metricWords } from '../run-words.ts';
import type { Drawing } from './drawing.ts';
import { placeLabels } from './label-layout.ts';
import { type Html, html } from './markup.ts';
import { type SeedTable, type SeriesPoint, type SeriesRow, seriesMeans, seriesOf } from './series.ts';
import { tablesOf } from './step-details.ts';
import { tablePlots } from './table-plot.ts';

/** Name of the table that passes that train leave. */
const EPOCHS = 'epochs';
/** Name of the column of that table that is comparable between steps. */
const METRIC = 'metric';

interface Curve {
  readonly name: string;
  readonly control: boolean;
  readonly colour: string;
  readonly tables: readonly SeedTable[];
  /** Mean over the seeds, by epoch. */
  readonly points: readonly SeriesPoint<number>[];
}

const WIDTH = 780;
const HEIGHT = 300;
const MARGINS = { marginTop: 26, marginRight: 120, marginBottom: 40, marginLeft: 56 } as const;
const COLOURS = 6;

function curvePoints(tables: readonly SeedTable[]): Curve['points'] {
  const x = tables[0]?.table.plot?.x ?? tables[0]?.table.columns[0]?.name ?? '';
  const rows = seriesOf(tables, x, METRIC).filter(
    (row): row is SeriesRow & { readonly x: number } => typeof row.x === 'number',
  );
  return [...seriesMeans(rows)].sort((left, right) => left.x - right.x);
}

function curvesOf(steps: readonly StepSummary[]): Curve[] {
  return steps
    .map((step) => ({ step, tables: tablesOf(step).get(EPOCHS) ?? [] }))
    .map(({ step, tables }, index) => ({
      name: step.name,
      control: step.control,
      colour: `var(--series-${(index % COLOURS) + 1})`,
      tables,
      points: curvePoints(tables),
    }))
    .filter(({ points }) => points.length > 0);
}

/** The metric of all steps that measured it while they trained, in one plot. */
function metricFigure(drawing: Drawing, curves: readonly Curve[], report: RunReport): Html {
  const { library: Plot } = drawing;
  const words = metricWords(report);
  const name = report.metric ?? METRIC;
  const values = curves.flatMap(({ points }) => points.map(({ y }) => y));
  const best = Math.max(...values);
  const last = Math.min(...curves.map(({ points }) => points.at(-1)?.y ?? best));
  // First epochs may lie far below what is to be compared.
  const floor = best - Math.max(5 * (best - last), 0.1 * Math.abs(best));
  const low = Math.min(...values.filter((value) => value >= floor));
  const span = Math.max(best - low, 0.004 * Math.max(Math.abs(best), 1e-9));
  const y = [low - 0.06 * span, best + 0.08 * span] as const;
  const epochs = curves.flatMap(({ points }) => points.map((point) => point.x));
  const [first, final] = [Math.min(...epochs), Math.max(...epochs)];
  const x = first === final ? ([first - 1, final + 1] as const) : ([first, final] as const);
  const scale = (type: 'x' | 'y', domain: readonly number[], range: readonly number[]) => {
    const made = Plot.scale({ [type]: { type: 'linear', domain, range } });
    return (value: number): number => Number(made?.apply(value));
  };
  const across = scale('x', x, [MARGINS.marginLeft + 8, WIDTH - MARGINS.marginRight]);
  const up = scale('y', y, [HEIGHT - MARGINS.marginBottom, MARGINS.marginTop]);
  const ends = curves.map((curve) => {
    const end = curve.points.at(-1) ?? { x: first, y: best };
    const text = curve.name.length > 24 ? `${curve.name.slice(0, 23)}…` : curve.name;
    return { x: across(end.x), y: up(Math.max(end.y, y[0])), text, colour: curve.colour };
  });
  const placed = placeLabels(ends, { left: 0, top: 4, right: WIDTH, bottom: HEIGHT - 4 });
  const raw = (value: string): { readonly value: string; readonly scale: null } => ({ value, scale: null });
  const shown = curves.map((curve) => ({
    ...curve,
    points: curve.points.filter((point) => point.y >= floor),
  }));
  const label = `${name} by epoch: ${curves.map((curve) => `${curve.name} ends at ${words.tick(curve.points.at(-1)?.y ?? Number.NaN)} after ${curve.points.length}`).join('; ')}`;
  const svg = drawing.svg({
    label,
    width: WIDTH,
    height: HEIGHT,
    margins: { ...MARGINS },
    x: { domain: x, range: [MARGINS.marginLeft + 8, WIDTH - MARGINS.marginRight], label: null },
    y: { domain: y, label: null },
    marks: [
      Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: 5 }),
      Plot.axisX({
        tickSize: 0,
        ticks: Math.max(1, Math.min(10, final - first)),
        label: 'epoch →',
        labelArrow: 'none',
        fill: 'var(--muted)',
      }),
      Plot.axisY({
        tickSize: 0,
        ticks: 5,
        tickFormat: words.tick,
        label: `↑ ${name}`,
        labelArrow: 'none',
        fill: 'var(--muted)',
      }),
      ...shown.flatMap(({ points, colour, control }) => [
        Plot.line(points, {
          x: 'x',
          y: 'y',
          stroke: colour,
          strokeWidth: 2,
          ...(control ? { strokeDasharray: '5 3' } : {}),
        }),
        Plot.dot(points.length <= 40 ? points : points.slice(-1), { x: 'x', y: 'y', r: 2.4, fill: colour }),
      ]),
      Plot.text(
        placed.map((place, index) => ({
          x: place.x,
          y: place.y,
          text: ends[index]?.text ?? '',
          colour: ends[index]?.colour ?? '',
        })),
        { x: raw('x'), y: raw('y'), text: 'text', fill: 'colour', stroke: 'var(--paper)', strokeWidth: 3 },
      ),
    ],
  });
  const below = values.some((value) => value < floor)
    ? ` Values below ${words.tick(floor)} are not drawn.`
    : '';
  const dashed = curves.some(({ control }) => control) ? ' Dashed: controls.' : '';
  const seeds = curves.some(({ tables }) => tables.length > 1) ? ' Means over the seeds.' : '';
  return html`<figure class="curves"><div class="scroll" role="region" aria-label="Training curves" tabindex="0">${svg}</div><figcaption>${name} by epoch, as the passes measured it while training.${dashed}${seeds}${below}</figcaption></figure>`;
}

/** Training curves: the metric of all steps in one plot, the other columns of each step in small ones. */
export function trainingCurves(drawing: Drawing, report: RunReport, summary: RunSummary): Html | undefined {
  const trained = summary.steps.filter((step) => tablesOf(step).has(EPOCHS));
  if (trained.length === 0) return undefined;
  const curves = curvesOf(trained);
  const small = trained.flatMap((step) => {
    const tables = (tablesOf(step).get(EPOCHS) ?? []).map(({ seed, table }) => ({
      seed,
      table: {
        ...table,
        title: step.name,
        plot: {
          kind: 'line' as const,
          x: table.plot?.x ?? 'epoch',
          y: (table.plot?.y ?? ['loss']).filter((column) => column !== METRIC),
        },
      },
    }));
    return tablePlots(drawing, tables, { step: step.name, width: 330 });
  });
  return html`${curves.length > 0 && metricFigure(drawing, curves, report)}<div class="figures three">${small}</div>`;
}

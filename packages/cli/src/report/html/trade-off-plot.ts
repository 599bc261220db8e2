import type { Markish } from '@observablehq/plot';
import type { StepSummary } from '../run-summary.ts';
import type { Drawing } from './drawing.ts';
import { placeLabels } from './label-layout.ts';
import { type Html, html } from './markup.ts';
import { type AmountScale, amountScale, type MetricScale, metricScale } from './scales.ts';

/** What a point of a trade-off is. */
export type PointRole = 'original' | 'baseline' | 'result' | 'control' | 'step';

/** Points among which every name finds its place, with a line to it where need be. */
export const FEW_POINTS = 15;

/** A model among others: what it costs, and what it is worth. */
export interface TradeOffPoint {
  /** Name. */
  readonly name: string;
  /** What it is. */
  readonly role: PointRole;
  /** What it costs. */
  readonly cost: number;
  /** Ends of the interval of its cost. */
  readonly interval?: readonly [number, number] | undefined;
  /** What it is worth. */
  readonly value: number;
  /** The same for each seed, where there are several. */
  readonly seeds: readonly { readonly cost: number; readonly value: number }[];
}

/** A plot of worth against cost. */
export interface TradeOff {
  /** What it shows, in words. */
  readonly label: string;
  /** Models. */
  readonly points: readonly TradeOffPoint[];
  /** Names of models that a line leads through, in order. */
  readonly path: readonly string[];
  /** Name of the horizontal axis. */
  readonly costName: string;
  /** Text of a cost. */
  readonly formatCost: (cost: number) => string;
  /** Name of the vertical axis. */
  readonly valueName: string;
  /** Text of a value. */
  readonly formatValue: (value: number) => string;
  /** Text of a value beside a name. */
  readonly briefValue: (value: number) => string;
  /** How values are spread out: a metric near its best, or amounts of any size. */
  readonly valueScale: 'metric' | 'amount';
}

const looks: Readonly<
  Record<
    PointRole,
    {
      readonly symbol: string;
      readonly fill: string;
      readonly stroke: string;
      readonly r: number;
    }
  >
> = {
  step: { symbol: 'circle', fill: 'var(--series-1)', stroke: 'var(--series-1)', r: 4 },
  result: { symbol: 'star', fill: 'var(--series-1)', stroke: 'var(--series-1)', r: 6.5 },
  baseline: { symbol: 'square', fill: 'var(--series-1)', stroke: 'var(--series-1)', r: 4 },
  original: { symbol: 'circle', fill: 'var(--paper)', stroke: 'var(--series-1)', r: 4 },
  control: { symbol: 'diamond', fill: 'var(--paper)', stroke: 'var(--series-2)', r: 4.5 },
};

/** What a step is in a plot. */
export function roleOf(step: StepSummary, baseline: StepSummary, result: StepSummary): PointRole {
  if (step === result) return 'result';
  if (step === baseline) return 'baseline';
  if (step.use === null) return 'original';
  return step.control ? 'control' : 'step';
}

function symbolOf({ library: Plot, svg }: Drawing, role: PointRole): Html {
  const { symbol, fill, stroke, r } = looks[role];
  return svg({
    label: null,
    width: 16,
    height: 16,
    margins: { marginTop: 0, marginRight: 0, marginBottom: 0, marginLeft: 0 },
    x: { axis: null },
    y: { axis: null },
    marks: [
      Plot.dot([role], {
        frameAnchor: 'middle',
        symbol: symbol as 'circle',
        fill,
        stroke,
        r: Math.min(r, 4.5),
        strokeWidth: 1.6,
      }),
    ],
  });
}

/** What each symbol of a plot means, in words. */
export type RoleNames = Readonly<Partial<Record<PointRole, string>>>;

/** What the symbols of plots mean, as a list. */
export function symbolLegend(drawing: Drawing, names: RoleNames, notes: readonly string[]): Html {
  return html`<ul class="legend">${(['result', 'baseline', 'original', 'step', 'control'] as const).map(
    (role) =>
      names[role] !== undefined &&
      html`<li><span class="key">${symbolOf(drawing, role)}</span> ${names[role]}</li>`,
  )}${notes.map((note) => html`<li>${note}</li>`)}</ul>`;
}

interface Placed extends TradeOffPoint {
  /** Height at which it is drawn. */
  readonly at: number;
  /** Whether it lies below what is shown. */
  readonly below: boolean;
}

const LONGEST_NAME = 26;
const MOST_LABELS = 40;
const order: readonly PointRole[] = ['result', 'baseline', 'step', 'control', 'original'];

function labelText({ name, value, below }: Placed, format: (value: number) => string): string {
  const short = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;
  return below ? `${short} (${format(value)})` : short;
}

const WIDTH = 460;
const HEIGHT = 320;
const MARGINS = { marginTop: 26, marginRight: 14, marginBottom: 40, marginLeft: 52 } as const;

interface Pixels {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
}

/**
 * Names beside points, with a line to those that are further away. A name that finds no room is left out; among many
 * points, so is one that is not beside its own, but for those of the result and the baseline.
 */
function labelMarks(drawing: Drawing, points: readonly Placed[], pixels: Pixels, trade: TradeOff): Markish[] {
  const { library: Plot } = drawing;
  const named = [...points]
    .sort((left, right) => order.indexOf(left.role) - order.indexOf(right.role))
    .slice(0, MOST_LABELS)
    .map((point) => ({
      x: pixels.x(point.cost),
      y: pixels.y(point.at),
      text: labelText(point, trade.briefValue),
      isFocus: point.role === 'result' || point.role === 'baseline',
    }));
  const area = {
    left: MARGINS.marginLeft + 2,
    right: WIDTH - 2,
    top: MARGINS.marginTop - 8,
    bottom: HEIGHT - MARGINS.marginBottom - 2,
  };
  const seeds = points.flatMap((point) =>
    point.seeds.map(({ cost, value }) => ({ x: pixels.x(cost), y: pixels.y(value) })),
  );
  const isMany = named.length > FEW_POINTS;
  const placed = placeLabels(named, area, seeds).flatMap(({ crowded, ...label }, index) => {
    const point = named[index];
    if (point === undefined || crowded || (isMany && label.far && !point.isFocus)) return [];
    return [{ ...label, point, text: point.text }];
  });
  const leaders = placed
    .filter(({ far }) => far)
    .map(({ x, y, point }) => ({ x1: point.x, y1: point.y, x2: x, y2: y + (y < point.y ? 6 : -6) }));
  const raw = (value: string): { readonly value: string; readonly scale: null } => ({ value, scale: null });
  return [
    Plot.link(leaders, {
      x1: raw('x1'),
      y1: raw('y1'),
      x2: raw('x2'),
      y2: raw('y2'),
      stroke: 'var(--muted)',
      strokeWidth: 0.75,
    }),
    Plot.text(placed, {
      x: raw('x'),
      y: raw('y'),
      text: 'text',
      fill: 'var(--ink)',
      stroke: 'var(--paper)',
      strokeWidth: 3,
      textAnchor: 'middle',
    }),
  ];
}

function pointMarks(drawing: Drawing, points: readonly Placed[], trade: TradeOff): Markish[] {
  const { library: Plot } = drawing;
  const several = points.filter((point) => point.seeds.length > 1);
  const seeds = several.flatMap((point) =>
    point.seeds.map((seed) => ({ ...seed, fill: looks[point.role].stroke })),
  );
  return [
    Plot.link(
      points.filter(({ interval }) => interval !== undefined && interval[0] !== interval[1]),
      {
        x1: (point: Placed) => point.interval?.[0],
        x2: (point: Placed) => point.interval?.[1],
        y1: 'at',
        y2: 'at',
        stroke: (point: Placed) => looks[point.role].stroke,
        strokeOpacity: 0.45,
        strokeWidth: 2,
      },
    ),
    Plot.dot(seeds, { x: 'cost', y: 'value', r: 1.6, fill: 'fill', fillOpacity: 0.55, className: 'seeds' }),
    Plot.dot(points, {
      x: 'cost',
      y: 'at',
      r: (point: Placed) => looks[point.role].r,
      symbol: (point: Placed) => looks[point.role].symbol,
      fill: (point: Placed) => looks[point.role].fill,
      stroke: (point: Placed) => looks[point.role].stroke,
      strokeWidth: 1.6,
      title: (point: Placed) =>
        `${point.name}: ${trade.formatValue(point.value)} at ${trade.formatCost(point.cost)}`,
    }),
    Plot.text(
      points.filter(({ below }) => below),
      { x: 'cost', y: 'at', text: () => '↓', dy: 12, fill: 'var(--ink)' },
    ),
  ];
}

function worthScale(trade: TradeOff, values: readonly number[]): MetricScale & AmountScale {
  if (trade.valueScale === 'amount') return { ...amountScale(values), floor: Number.NEGATIVE_INFINITY };
  const focus = trade.points.filter(({ role }) => role === 'baseline' || role === 'result');
  const scale = metricScale(
    values,
    focus.map(({ value }) => value),
  );
  return { ...scale, type: 'linear' };
}

/** Worth against cost: a named point per model, a line along the way to the result, a small point per seed. */
export function tradeOffPlot(drawing: Drawing, trade: TradeOff): Html {
  const { library: Plot } = drawing;
  const costs = trade.points.flatMap(({ cost, interval }) => [cost, ...(interval ?? [])]);
  const values = trade.points.map(({ value }) => value);
  const worth = worthScale(trade, values);
  const x = amountScale(costs);
  const bottom = worth.domain[0] + 0.07 * (worth.domain[1] - worth.domain[0]);
  const points = trade.points.map((point): Placed => {
    const below = point.value < worth.floor;
    return { ...point, below, at: below ? bottom : point.value, seeds: below ? [] : point.seeds };
  });
  const pixels: Pixels = {
    x: (value) =>
      Number(
        Plot.scale({
          x: { type: x.type, domain: x.domain, range: [MARGINS.marginLeft, WIDTH - MARGINS.marginRight] },
        })?.apply(value),
      ),
    y: (value) =>
      Number(
        Plot.scale({
          y: {
            type: worth.type,
            domain: worth.domain,
            range: [HEIGHT - MARGINS.marginBottom, MARGINS.marginTop],
          },
        })?.apply(value),
      ),
  };
  const path = trade.path.flatMap((name) => points.filter((point) => point.name === name));
  return drawing.svg({
    label: trade.label,
    width: WIDTH,
    height: HEIGHT,
    margins: MARGINS,
    x: { type: x.type, domain: x.domain, label: null },
    y: { type: worth.type, domain: worth.domain, label: null },
    marks: [
      Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: worth.ticks ?? 6 }),
      Plot.gridX({ stroke: 'var(--line)', strokeOpacity: 1, ticks: x.ticks ?? 4 }),
      Plot.axisX({
        ticks: x.ticks ?? 4,
        tickFormat: trade.formatCost,
        tickSize: 0,
        label: `${trade.costName}${x.type === 'log' ? ', log scale' : ''} →`,
        labelArrow: 'none',
        fill: 'var(--muted)',
      }),
      Plot.axisY({
        ticks: worth.ticks ?? 6,
        tickFormat: trade.formatValue,
        tickSize: 0,
        label: `↑ ${trade.valueName}`,
        labelArrow: 'none',
        fill: 'var(--muted)',
      }),
      Plot.line(path, {
        x: 'cost',
        y: 'at',
        stroke: 'var(--series-1)',
        strokeOpacity: 0.35,
        strokeWidth: 1.5,
      }),
      ...pointMarks(drawing, points, trade),
      ...labelMarks(drawing, points, pixels, trade),
    ],
  });
}

import { formatNumber } from '../../terminal/format.ts';
import type { Drawing } from './drawing.ts';
import type { Html } from './markup.ts';
import { type SeriesRow, seedCount, seriesMeans } from './series.ts';

/** Names that have a bar with a label each; more of them have narrow bars without. */
const MOST_NAMES = 48;
const LONGEST_NAME = 30;

interface Bar {
  readonly place: number;
  readonly name: string;
  readonly y: number;
}

function shortName(name: string): string {
  // The end tells layers apart.
  return name.length > LONGEST_NAME ? `…${name.slice(1 - LONGEST_NAME)}` : name;
}

const grid = { stroke: 'var(--line)', strokeOpacity: 1, ticks: 5 };
const look = { fill: 'var(--series-1)', fillOpacity: 0.85 };
const seedLook = { r: 1.8, fill: 'var(--ink)', fillOpacity: 0.6 };

function namedBars(drawing: Drawing, bars: readonly Bar[], seeds: readonly Bar[], words: Words): Html {
  const { library: Plot } = drawing;
  const longest = Math.max(...bars.map(({ name }) => shortName(name).length));
  return drawing.svg({
    label: words.label,
    width: words.width,
    height: 44 + 17 * bars.length,
    margins: { marginLeft: Math.min(215, 16 + 7 * longest), marginTop: 6, marginBottom: 38, marginRight: 20 },
    x: { label: null },
    y: { type: 'band', domain: bars.map(({ place }) => place), padding: 0.25, label: null },
    marks: [
      Plot.gridX(grid),
      Plot.axisX({
        ...{ ticks: 5, tickSize: 0, tickFormat: formatNumber, fill: 'var(--muted)' },
        ...{ label: `${words.value} →`, labelArrow: 'none' },
      }),
      Plot.axisY({
        ...{ tickSize: 0, label: null, fill: 'var(--ink)' },
        tickFormat: (place: number) => shortName(bars[place]?.name ?? ''),
      }),
      Plot.barX(bars, { x: 'y', y: 'place', ...look }),
      Plot.dot(seeds, { x: 'y', y: 'place', ...seedLook }),
      Plot.ruleX([0], { stroke: 'var(--muted)' }),
    ],
  });
}

function narrowBars(drawing: Drawing, bars: readonly Bar[], seeds: readonly Bar[], words: Words): Html {
  const { library: Plot } = drawing;
  return drawing.svg({
    label: words.label,
    width: words.width,
    height: 220,
    margins: { marginLeft: 56, marginTop: 26, marginBottom: 38 },
    x: { type: 'linear', domain: [-0.5, bars.length - 0.5], label: null },
    y: { label: null },
    marks: [
      Plot.gridY(grid),
      Plot.axisX({
        ...{ ticks: 6, tickSize: 0, fill: 'var(--muted)' },
        ...{ label: 'row of the table →', labelArrow: 'none', tickFormat: (row: number) => String(row + 1) },
      }),
      Plot.axisY({
        ...{ ticks: 5, tickSize: 0, tickFormat: formatNumber, fill: 'var(--muted)' },
        ...{ label: `↑ ${words.value}`, labelArrow: 'none' },
      }),
      Plot.rectY(bars, {
        x1: ({ place }: Bar) => place - 0.4,
        x2: ({ place }: Bar) => place + 0.4,
        y: 'y',
        ...look,
      }),
      Plot.dot(seeds, { x: 'place', y: 'y', ...seedLook }),
      Plot.ruleY([0], { stroke: 'var(--muted)' }),
    ],
  });
}

/** What is written on a plot. */
export interface Words {
  /** What it shows, for those who do not see it. */
  readonly label: string;
  /** Name of the axis of values. */
  readonly value: string;
  /** Name of the axis of places. */
  readonly place: string;
  /** Width in pixels. */
  readonly width: number;
}

/** A bar for the mean of each name, and a dot for each seed where there are several. */
export function barPlot(drawing: Drawing, rows: readonly SeriesRow[], words: Words): Html {
  const means = seriesMeans(rows.map(({ x, y }) => ({ x: String(x), y })));
  const bars = means.map(({ x, y }, place): Bar => ({ place, name: x, y }));
  const places = new Map(bars.map(({ name, place }) => [name, place]));
  const seeds =
    seedCount(rows) > 1
      ? rows.map(({ x, y }): Bar => ({ place: places.get(String(x)) ?? 0, name: String(x), y }))
      : [];
  return (bars.length <= MOST_NAMES ? namedBars : narrowBars)(drawing, bars, seeds, words);
}

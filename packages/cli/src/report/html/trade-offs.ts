import { formatBytes, formatMilliseconds } from '../../terminal/format.ts';
import type { RunReport } from '../run-report.ts';
import { compareSteps, type RunSummary, type StepSummary } from '../run-summary.ts';
import { metricWords } from '../run-words.ts';
import type { Drawing } from './drawing.ts';
import { type Html, html } from './markup.ts';
import {
  FEW_POINTS,
  type PointRole,
  roleOf,
  symbolLegend,
  type TradeOffPoint,
  tradeOffPlot,
} from './trade-off-plot.ts';

/** A figure of a step that can be drawn along an axis. */
interface Quantity {
  readonly name: string;
  readonly scale: 'metric' | 'amount';
  readonly format: (value: number) => string;
  readonly brief: (value: number) => string;
  /** Over the seeds; `undefined` where it is unknown. */
  of(
    step: StepSummary,
  ): { readonly value: number; readonly interval?: readonly [number, number] } | undefined;
  /** For one seed. */
  ofSeed(step: StepSummary, seed: number): number | undefined;
}

function seedOf(step: StepSummary, seed: number): StepSummary['seeds'][number] | undefined {
  return step.seeds.find((one) => one.seed === seed);
}

const size: Quantity = {
  name: 'size of the file',
  scale: 'amount',
  format: formatBytes,
  brief: formatBytes,
  of: ({ bytes }) => (bytes === undefined ? undefined : { value: bytes.mean }),
  ofSeed: (step, seed) => seedOf(step, seed)?.bytes,
};

function metricOf(report: RunReport, name: string): Quantity {
  const words = metricWords(report);
  return {
    name,
    scale: 'metric',
    format: words.tick,
    brief: words.brief,
    of: ({ metric }) => (metric === undefined ? undefined : { value: metric.mean }),
    ofSeed: (step, seed) => seedOf(step, seed)?.metric,
  };
}

/** Milliseconds: the median of the original divided by the speedup, as that was measured in turns. */
function latencyAt(batch: number, summary: RunSummary): Quantity {
  const milliseconds = summary.originalMilliseconds.get(batch) ?? Number.NaN;
  const [original] = summary.steps;
  return {
    name: `latency at batch ${batch}`,
    scale: 'amount',
    format: formatMilliseconds,
    brief: formatMilliseconds,
    of: (step) => {
      const speedup = compareSteps(step, original ?? step).speedups.find((one) => one.batch === batch);
      if (speedup === undefined) return undefined;
      const [low, high] = speedup.interval;
      return { value: milliseconds / speedup.ratio, interval: [milliseconds / high, milliseconds / low] };
    },
    ofSeed: (step, seed) => {
      const ratio = seedOf(step, seed)?.speedups.find((one) => one.batch === batch)?.ratio;
      return ratio === undefined ? undefined : milliseconds / ratio;
    },
  };
}

function pointsOf(summary: RunSummary, cost: Quantity, worth: Quantity): TradeOffPoint[] {
  return summary.steps.flatMap((step) => {
    const along = cost.of(step);
    const up = worth.of(step);
    if (along === undefined || up === undefined) return [];
    const seeds = step.seeds.flatMap(({ seed }) => {
      const own = { cost: cost.ofSeed(step, seed), value: worth.ofSeed(step, seed) };
      return own.cost === undefined || own.value === undefined ? [] : [{ cost: own.cost, value: own.value }];
    });
    const role = roleOf(step, summary.baseline, summary.result);
    return [{ name: step.name, role, cost: along.value, interval: along.interval, value: up.value, seeds }];
  });
}

function tradeOffFigure(drawing: Drawing, summary: RunSummary, cost: Quantity, worth: Quantity): Html {
  const points = pointsOf(summary, cost, worth);
  const told = points.map(
    ({ name, cost: own, value }) => `${name} ${worth.format(value)} at ${cost.format(own)}`,
  );
  const svg = tradeOffPlot(drawing, {
    label: `${worth.name} against ${cost.name}: ${told.join('; ')}`,
    points,
    path: pathOf(summary),
    costName: cost.name,
    formatCost: cost.format,
    valueName: worth.name,
    formatValue: worth.format,
    briefValue: worth.brief,
    valueScale: worth.scale,
  });
  return html`<figure class="trade-off">${svg}<figcaption>${capital(worth.name)} against ${cost.name}</figcaption></figure>`;
}

function capital(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

const roleNames: Readonly<Record<PointRole, string>> = {
  result: 'the result',
  baseline: 'the baseline',
  original: 'the model of the recipe',
  step: 'another step',
  control: 'a control, only made to compare with',
};

/** The way to the result: from the baseline on, as what lies before it is only the start. */
function pathOf({ path, baseline }: RunSummary): readonly string[] {
  return path.slice(Math.max(0, path.indexOf(baseline))).map(({ name }) => name);
}

/**
 * The metric against size and latency. Without a metric latency against size; without either nothing can be drawn,
 * which is said.
 */
export function tradeOffs(drawing: Drawing, report: RunReport, summary: RunSummary): Html {
  const latencies = summary.batches.map((batch) => latencyAt(batch, summary));
  const pairs =
    report.metric === null
      ? latencies.map((latency) => [size, latency] as const)
      : [size, ...latencies].map((cost) => [cost, metricOf(report, report.metric ?? '')] as const);
  const notes = [
    report.metric === null && 'Without labelled data there is no metric to weigh against size and latency.',
    latencies.length === 0 && 'No latency was measured.',
  ].filter((note) => note !== false);
  const drawn = pairs.filter(([cost, worth]) => pointsOf(summary, cost, worth).length > 0);
  if (drawn.length === 0) return html`<p class="note">${notes.join(' ')} There is nothing to draw.</p>`;
  const present = new Set(summary.steps.map((step) => roleOf(step, summary.baseline, summary.result)));
  const names = Object.fromEntries(
    Object.entries(roleNames).filter(([role]) => present.has(role as PointRole)),
  );
  const legend = symbolLegend(drawing, names, [
    report.metric === null ? 'Better is down and to the left.' : 'Better is up and to the left.',
    ...(summary.path.length > 2 ? ['The line leads to the result.'] : []),
    ...(latencies.length > 0 ? ['A bar is the 95 % interval of a latency.'] : []),
    ...(report.seeds.length > 1 ? ['Small dots are seeds, large symbols their means.'] : []),
    ...(report.metric === null ? [] : ['↓ A value below the axis, given with the name.']),
    ...(summary.steps.length > FEW_POINTS
      ? ['Names that find no room are left out; a point tells its own.']
      : []),
  ]);
  return html`${notes.length > 0 && html`<p class="note">${notes.join(' ')}</p>`}<div class="figures">${drawn.map(
    ([cost, worth]) => tradeOffFigure(drawing, summary, cost, worth),
  )}${legend}</div>`;
}

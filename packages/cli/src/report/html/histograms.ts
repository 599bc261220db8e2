import { formatNumber } from '../../terminal/format.ts';
import type { WeightHistogram } from '../run-report.ts';
import type { Drawing } from './drawing.ts';
import { type Html, html } from './markup.ts';

/** The weights of one model, under its name. */
export interface NamedWeights {
  /** Name of the step. */
  readonly name: string;
  /** Histograms by layer. */
  readonly weights: readonly WeightHistogram[];
}

interface Outline {
  readonly x: number;
  readonly y: number;
}

const WIDTH = 220;
const HEIGHT = 96;
/** Weights that differ in size by more than this, such as codes of 8 bits and floats, share no axis. */
const SAME_SCALE = 8;

function total(histogram: WeightHistogram): number {
  return histogram.counts.reduce((sum, count) => sum + count, 0);
}

function reach({ range }: WeightHistogram): number {
  return Math.max(Math.abs(range[0]), Math.abs(range[1]));
}

/** Weights by value, as a share by unit of width, without those that are exactly 0: what was pruned would hide the rest. */
function outlineOf(histogram: WeightHistogram, unit: number): Outline[] {
  const [low, high] = [histogram.range[0] / unit, histogram.range[1] / unit];
  const bins = histogram.counts.length;
  const width = high > low ? (high - low) / bins : 1;
  const zeroBin = low <= 0 && high >= 0 ? Math.min(bins - 1, Math.max(0, Math.floor((0 - low) / width))) : -1;
  const all = Math.max(1, total(histogram) - histogram.zeros);
  const heights = histogram.counts.map(
    (count, bin) => Math.max(0, bin === zeroBin ? count - histogram.zeros : count) / all / width,
  );
  const start = high > low ? low : low - 0.5;
  return [
    { x: start, y: 0 },
    ...heights.flatMap((y, bin) => [
      { x: start + bin * width, y },
      { x: start + (bin + 1) * width, y },
    ]),
    { x: start + bins * width, y: 0 },
  ];
}

function zerosText(histogram: WeightHistogram): string {
  const all = total(histogram);
  if (histogram.zeros === 0 || all === 0) return 'no zeros';
  return `${((100 * histogram.zeros) / all).toFixed(1)} % zeros`;
}

function usable(histogram: WeightHistogram | undefined): histogram is WeightHistogram {
  return (
    histogram !== undefined &&
    histogram.counts.length > 0 &&
    histogram.range.every(Number.isFinite) &&
    reach(histogram) > 0
  );
}

function layerFigure(drawing: Drawing, before: WeightHistogram | undefined, after: WeightHistogram): Html {
  const { library: Plot } = drawing;
  const shared =
    before === undefined ||
    Math.max(reach(before), reach(after)) <= SAME_SCALE * Math.min(reach(before), reach(after));
  const unitOf = (histogram: WeightHistogram): number => (shared ? 1 : reach(histogram));
  const above = before === undefined ? [] : outlineOf(before, unitOf(before));
  const below = outlineOf(after, unitOf(after));
  const count = total(after);
  const label = `weights of ${after.weight}: ${count} values from ${formatNumber(after.range[0])} to ${formatNumber(after.range[1])}, ${zerosText(after)}${
    before === undefined
      ? ''
      : `; before ${total(before)} values from ${formatNumber(before.range[0])} to ${formatNumber(before.range[1])}, ${zerosText(before)}`
  }`;
  const svg = drawing.svg({
    label,
    width: WIDTH,
    height: HEIGHT,
    margins: { marginTop: 4, marginBottom: 20, marginLeft: 8, marginRight: 8 },
    x: { label: null },
    y: { axis: null },
    marks: [
      Plot.areaY(above, { x: 'x', y1: 0, y2: 'y', fill: 'var(--before)', fillOpacity: 0.55 }),
      Plot.line(below, { x: 'x', y: 'y', stroke: 'var(--series-1)', strokeWidth: 1.5 }),
      Plot.ruleY([0], { stroke: 'var(--muted)', strokeWidth: 0.75 }),
      ...(shared
        ? [Plot.axisX({ ticks: 3, tickSize: 3, tickFormat: formatNumber, fill: 'var(--muted)' })]
        : []),
    ],
  });
  const scale =
    shared || before === undefined
      ? ''
      : ` Each on its own scale: up to ${formatNumber(reach(before))} before, ${formatNumber(reach(after))} after.`;
  return html`<figure>${svg}<figcaption><code>${after.weight}</code> ${zerosText(after)}${before === undefined ? ', new' : ''}.${scale}</figcaption></figure>`;
}

/**
 * The histogram before of each layer: that of its own name, or of what its name begins with, as in
 * `conv.weight_quantized`. Where several begin alike (the scales of `conv.weight` among them) the one with the most
 * weights has it.
 */
function pairLayers(
  layers: readonly WeightHistogram[],
  before: readonly WeightHistogram[],
): ReadonlyMap<WeightHistogram, WeightHistogram> {
  const free = new Map(before.map((histogram) => [histogram.weight, histogram]));
  const pairs = new Map<WeightHistogram, WeightHistogram>();
  const take = (layer: WeightHistogram, name: string): boolean => {
    const found = free.get(name);
    if (found !== undefined) pairs.set(layer, found);
    return free.delete(name);
  };
  const rest = layers.filter((layer) => !take(layer, layer.weight));
  for (const layer of rest.sort((left, right) => total(right) - total(left))) {
    const { weight } = layer;
    for (let end = weight.lastIndexOf('_'); end > 0; end = weight.lastIndexOf('_', end - 1))
      if (take(layer, weight.slice(0, end))) break;
  }
  return pairs;
}

/**
 * A small figure per layer: the weights before as an area, those after as a line.
 *
 * @param most layers that are drawn, those with the most weights; the others are counted
 */
export function histogramFigures(
  drawing: Drawing,
  {
    before,
    after,
    seed,
  }: {
    readonly before: NamedWeights;
    readonly after: NamedWeights;
    /** Seed that they are of, where there are several. */
    readonly seed?: number | undefined;
  },
  most: number,
): Html | undefined {
  const layers = after.weights.filter(usable);
  if (layers.length === 0) return undefined;
  const earlier = before.weights.filter(usable);
  const pairs = pairLayers(layers, earlier);
  const largest = new Set([...layers].sort((left, right) => total(right) - total(left)).slice(0, most));
  const left = layers.length - largest.size;
  const gone = earlier.length - pairs.size;
  return html`<p class="note"><span class="key key-before">■</span> ${before.name} <span class="key key-after">▬</span> ${after.name}. Share of the weights by value; exact zeros are counted in words and left out of the curves.${seed !== undefined && html` Of seed ${seed}.`}${
    left > 0 && html` The ${most} layers with the most weights; ${left} more are not drawn.`
  }${gone > 0 && html` ${gone} of the layers before ${gone === 1 ? 'is gone, or has' : 'are gone, or have'} another name.`}</p>
<div class="small-figures">${layers.filter((layer) => largest.has(layer)).map((layer) => layerFigure(drawing, pairs.get(layer), layer))}</div>`;
}

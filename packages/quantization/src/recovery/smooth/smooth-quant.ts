import {
  constantOf,
  definePass,
  elementsOf,
  inferShapes,
  type Model,
  type Node,
  type Pass,
  type PassContext,
  ReportBuilder,
  Tensor,
} from '@lithe/core';
import { z } from 'zod';
import { opsetAtLeast } from '../../graph/opset-at-least.ts';
import { editedConstant, loadFloat32, setConstant } from '../layers/constants.ts';
import type { LinearLayer } from '../layers/linear-layer.ts';
import { scaleChannels } from '../layers/weight-layout.ts';
import { freeBatchSize, probeSource } from '../probe/run-over.ts';
import { seeActivations } from './activations.ts';
import type { DividedConstant } from './fold-target.ts';
import { type SmoothGroup, smoothGroups } from './groups.ts';
import { type ChosenAlpha, type SmoothProblem, searchAlpha, smoothingScales, smoothJudge } from './search.ts';

const NAME = 'quantization/smooth-quant';

/** Options of {@link smoothQuant}. */
export interface SmoothQuantOptions {
  /**
   * How much of the difficulty goes from activations to weights: 0 none, 1 all. `auto` (default): for each group of
   * products the value of a grid with the least error of its result in 8 bits, or none where none helps.
   */
  readonly alpha?: 'auto' | number | undefined;
  /** Step of the grid from 0 to 1; 0.1 by default. */
  readonly step?: number | undefined;
  /**
   * Whether a `Mul` is added where the division cannot be folded into what makes the activations (a value that is added
   * again behind the block, a GELU): it costs time and is done where it takes off a tenth of the error. On by default.
   */
  readonly insert?: boolean | undefined;
  /** Samples of the context's data; 64 by default. */
  readonly samples?: number | undefined;
  /** Rows (tokens) of each group that alpha is searched with; 512 by default. */
  readonly rows?: number | undefined;
}

/** Options of {@link smoothQuant} with defaults filled in. */
export interface SmoothQuantSettings {
  /** See {@link SmoothQuantOptions.alpha}. */
  readonly alpha: 'auto' | number;
  /** See {@link SmoothQuantOptions.step}. */
  readonly step: number;
  /** See {@link SmoothQuantOptions.insert}. */
  readonly insert: boolean;
  /** See {@link SmoothQuantOptions.samples}. */
  readonly samples: number;
  /** See {@link SmoothQuantOptions.rows}. */
  readonly rows: number;
}

const schema = z.strictObject({
  alpha: z.union([z.literal('auto'), z.number().min(0).max(1)]).default('auto'),
  step: z.number().min(0.01).max(1).default(0.1),
  insert: z.boolean().default(true),
  samples: z.int().min(1).default(64),
  rows: z.int().min(1).default(512),
});

/** Shares of the error that must go for a change that costs nothing, and for one that adds a node. */
const WORTH = { folded: 0.01, inserted: 0.1 } as const;

/** The weights of a group side by side, `[channels, outputs of all]`. */
async function weightsOf(group: SmoothGroup, signal: AbortSignal): Promise<Float32Array<ArrayBuffer>> {
  const total = group.layers.reduce((sum, { layout }) => sum + layout.outputs, 0);
  const joined = new Float32Array(group.channels * total);
  let first = 0;
  for (const { source, weight, layout } of group.layers) {
    const data = await loadFloat32(source, `weight "${weight.name}"`, signal);
    const { rows, columns, outputs } = layout;
    const flipped = layout.output.step === 0;
    for (let row = 0, at = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, at++) {
        const [input, output] = flipped ? [column, row] : [row, column];
        joined[input * total + first + output] = data[at]!;
      }
    }
    first += outputs;
  }
  return joined;
}

async function scaleWeight(
  layer: LinearLayer,
  side: 'input' | 'output',
  factors: Float64Array,
): Promise<void> {
  const { node, weight, layout } = layer;
  const source = constantOf(node.input(1)) ?? layer.source;
  const edited = await editedConstant(source, `weight "${weight.name}"`, (data) => {
    scaleChannels(data, layout, { side, factors });
  });
  setConstant(node, 1, weight.name, edited);
}

/** Multiplies a constant along the last axis; one number for all becomes one per channel. */
async function scaleConstant(
  { node, index }: DividedConstant,
  factors: Float64Array,
  signal: AbortSignal,
): Promise<void> {
  const value = node.input(index);
  const source = constantOf(value);
  if (value === null || source === undefined) return;
  const data = await loadFloat32(source, `constant "${value.name}"`, signal);
  const scaled = Float32Array.from(
    factors,
    (factor, channel) => data[data.length > 1 ? channel : 0]! * factor,
  );
  const shape = elementsOf(source.shape) > 1 ? source.shape : [factors.length];
  setConstant(node, index, value.name, Tensor.from('float32', shape, scaled));
}

function insertMul(group: SmoothGroup, factors: Float64Array): void {
  const { value, channels } = group;
  const { graph } = value;
  const constant = Tensor.from('float32', [channels], Float32Array.from(factors));
  const inputs = [value, graph.addInitializer(graph.uniqueName(`${value.name}_smoothing`), constant)];
  const first = [...graph.nodes()].find((node) => group.layers.some((layer) => layer.node === node)) as Node;
  const place = value.producer === null ? { before: first } : { after: value.producer };
  const output = { name: graph.uniqueName(`${value.name}_smoothed`), type: value.type };
  const made = graph.addNode({ opType: 'Mul', inputs }, [output], place);
  for (const { node } of group.layers) graph.setInput(node, 0, made.output());
}

async function applyScales(group: SmoothGroup, scales: Float64Array, signal: AbortSignal): Promise<void> {
  const inverse = scales.map((scale) => 1 / scale);
  for (const layer of group.layers) await scaleWeight(layer, 'input', scales);
  if (group.fold === undefined) {
    insertMul(group, inverse);
    return;
  }
  for (const constant of group.fold.constants) await scaleConstant(constant, inverse, signal);
  for (const layer of group.fold.layers) {
    await scaleWeight(layer, 'output', inverse);
    if (layer.bias !== null) await scaleConstant({ node: layer.node, index: 2 }, inverse, signal);
  }
}

const labelOf = (group: SmoothGroup): string => group.layers.map(({ node }) => `"${node.name}"`).join(', ');

function alphasOf(settings: SmoothQuantSettings): readonly number[] {
  if (settings.alpha !== 'auto') return [settings.alpha];
  const steps = Math.round(1 / settings.step);
  return Array.from({ length: steps + 1 }, (_, index) => Math.min(1, index * settings.step));
}

/** Whether a group is left as it is, and why. */
function reasonAgainst(
  group: SmoothGroup,
  chosen: ChosenAlpha,
  settings: SmoothQuantSettings,
): readonly [string, string] | undefined {
  if (group.fold === undefined && !settings.insert)
    return ['no-fold', 'what makes its input takes no factors, and no node shall be added'];
  if (settings.alpha !== 'auto') return undefined;
  const least = group.fold === undefined ? WORTH.inserted : WORTH.folded;
  return chosen.alpha === undefined || chosen.after > (1 - least) * chosen.before
    ? ['no-gain', 'smoothing takes too little off its error']
    : undefined;
}

async function smoothAll(
  draft: Model,
  groups: readonly SmoothGroup[],
  settings: SmoothQuantSettings,
  tools: { readonly context: PassContext; readonly report: ReportBuilder },
): Promise<void> {
  const { context, report } = tools;
  const { signal } = context;
  const source = { ...probeSource(NAME, context, settings.samples), batchSize: freeBatchSize(draft, 8) };
  const rng = context.rng.fork(NAME);
  const seen = await seeActivations(draft, groups, { source, rows: settings.rows, rng });
  const rows: (readonly (string | number)[])[] = [];
  await using judge = await smoothJudge(source.backend, signal);
  for (const [index, group] of groups.entries()) {
    signal.throwIfAborted();
    context.progress({ task: NAME, done: index, total: groups.length, label: labelOf(group) });
    const found = seen[index];
    if (found === undefined) continue;
    const weights = await weightsOf(group, signal);
    const { channels } = group;
    const outputs = weights.length / channels;
    const { rows: kept } = found;
    const problem: SmoothProblem = { weights, channels, outputs, extremes: found.others, rows: kept };
    const chosen = await searchAlpha(judge, problem, alphasOf(settings));
    const against = reasonAgainst(group, chosen, settings);
    rows.push([labelOf(group), chosen.alpha ?? 'none', 10 * Math.log10(chosen.before / chosen.after)]);
    if (against !== undefined) {
      for (const { node } of group.layers) report.skip(node.name, ...against);
      continue;
    }
    const alpha = settings.alpha === 'auto' ? (chosen.alpha ?? 0) : settings.alpha;
    await applyScales(group, smoothingScales({ ...problem, extremes: found.all }, alpha), signal);
    const how = group.fold === undefined ? 'with a Mul' : 'folded';
    report.apply(`smooth ${labelOf(group)}, alpha ${alpha.toFixed(2)}, ${how}`);
  }
  report.table('smoothing', {
    title: 'Exponent of each group of products, and what it takes off the error of their result in 8 bits',
    columns: [
      { name: 'products', unit: '' },
      { name: 'alpha', unit: '' },
      { name: 'gain', unit: 'dB' },
    ],
    rows,
    plot: { kind: 'bars', x: 'products', y: ['gain'] },
  });
}

/**
 * SmoothQuant of a float model, to be run before quantization: channels of activations that are far larger than the
 * others are divided by a factor that the weights behind them are multiplied by, so that one scale for the tensor
 * holds them all. Results stay what they are. The division is folded into the normalization, product, scale or shift
 * that makes the activations where nothing else reads them; products that read the same activations share it.
 *
 * @see Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", 2023
 *
 * @example
 * ```ts
 * import { smoothQuant } from '@lithe/quantization';
 *
 * smoothQuant({ alpha: 0.5 }).preserves; // => 'numerics'
 * ```
 */
export const smoothQuant: Pass<SmoothQuantOptions, SmoothQuantSettings> = definePass({
  name: NAME,
  version: 1,
  summary: 'Moves outlier channels of activations into the weights behind them.',
  options: schema,
  needs: ['data', 'backend'],
  preserves: 'numerics',
  requires: [opsetAtLeast(18)],
  run: async (draft, settings, context) => {
    const report = new ReportBuilder();
    await inferShapes(draft, { opset: context.opset, signal: context.signal, strict: false });
    const groups = smoothGroups(draft.graph, report);
    if (groups.length > 0) await smoothAll(draft, groups, settings, { context, report });
    return report.build();
  },
});

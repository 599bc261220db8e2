import { constantOf, type Model, type ReportBuilder, type Tensor, type Value } from '@lithe/core';
import { dequantizeGroups, type IntegerArray, integerArray } from '../../parameters/kernels.ts';
import { readBias } from '../bias/set-bias.ts';
import { joinModels } from '../draft/join.ts';
import { restrictTo } from '../draft/prune.ts';
import {
  type LoadedConstant,
  loadQuantizedConstant,
  type QuantizedConstant,
  readQuantizedConstant,
  replaceQuantizedConstant,
} from '../draft/quantized-constant.ts';
import { floatBias, type QuantizedLayer } from '../draft/quantized-layer.ts';
import { clipBounds } from '../equalization/clips.ts';
import { loadFloat32 } from '../layers/constants.ts';
import { type ProbeSource, runOver } from '../probe/run-over.ts';
import { type LearnedRounding, type LearnOptions, learnRounding } from './learn-rounding.ts';
import type { RoundingProblem } from './rounding-graph.ts';
import { addRows, type LayerRows, layerRows, type MatrixView, matrixView } from './rows.ts';

/** How {@link adaptRounding} works. */
export interface AdaptRoundingOptions extends LearnOptions {
  /** Rows (positions of samples) that a layer learns from, at most. */
  readonly rows: number;
  /** Bytes that the rows of one layer may take. */
  readonly memoryBytes: number;
}

/** What one layer gained. */
export interface RoundingGain {
  /** Name of the node. */
  readonly name: string;
  /** Mean squared error of its result on rows held out, rounded to nearest. */
  readonly nearest: number;
  /** The same, rounded as learned. */
  readonly learned: number;
}

/** What goes along with {@link adaptRounding}. */
export interface AdaptRoundingRun {
  /** Real inputs. */
  readonly source: ProbeSource;
  /** How it works. */
  readonly options: AdaptRoundingOptions;
  /** Receives layers left alone. */
  readonly report: ReportBuilder;
  /** Integers learned before, by {@link QuantizedLayer.index}; new ones are added. */
  readonly known: Map<number, IntegerArray>;
}

/** The activation function that is the only reader of a layer of the float model, as bounds. */
async function activationOf(
  layer: QuantizedLayer,
  signal: AbortSignal,
): Promise<RoundingProblem['activation']> {
  const none = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  const result = (layer.floatAdd?.node ?? layer.float.node).output();
  const [use] = result.uses;
  if (use === undefined || result.useCount > 1 || result.outputOf.length > 0) return none;
  if (use.node.is('Relu')) return { low: 0, high: Number.POSITIVE_INFINITY };
  return (use.node.is('Clip') ? await clipBounds(use.node, signal) : undefined) ?? none;
}

/** Gathers what a layer reads in the quantized model and what it makes in the float model, on the same samples. */
async function gatherRows(
  reference: Model,
  quantized: Model,
  layer: QuantizedLayer,
  work: { readonly view: MatrixView; readonly run: AdaptRoundingRun },
): Promise<LayerRows | undefined> {
  const { view, run } = work;
  const { source, options } = run;
  const bytes = 4 * view.groups * (view.length + view.outputs);
  const capacity = Math.max(1, Math.min(options.rows, Math.floor(options.memoryBytes / bytes)));
  const rows = layerRows(view, capacity);
  const perSample = Math.max(
    1,
    Math.ceil(capacity / Math.min(source.samples, source.data.size ?? source.samples)),
  );
  const joined = joinModels(reference, quantized);
  const input = joined.quantized(layer.node.input(0) as Value);
  const output = joined.float(layer.float.output);
  restrictTo(joined.model.graph, [input, output]);
  const rng = source.context.rng.fork(`rows of ${layer.index}`);
  let readable = true;
  await runOver(joined.model, source, {
    task: 'gather rows',
    visit: (results) => {
      const batch = { input: results[input.name] as Tensor, output: results[output.name] as Tensor };
      readable = readable && addRows(layer.float, view, batch, { rows, perSample, rng });
    },
  });
  return readable ? rows : undefined;
}

const reorder = (data: Float32Array, view: MatrixView): Float32Array<ArrayBuffer> =>
  view.order === undefined ? new Float32Array(data) : Float32Array.from(view.order, (index) => data[index]!);

/** Scale of every element. */
function elementScales(loaded: LoadedConstant): Float32Array {
  const ones = new Int32Array(loaded.values.length).fill(1);
  const { scales } = loaded.parameters;
  return dequantizeGroups(ones, loaded.layout, { scales, zeroPoints: undefined, middle: 0 });
}

/** Zero point of every element. */
function elementZeroPoints(loaded: LoadedConstant): Float32Array {
  const { zeroPoints } = loaded.parameters;
  const ones = new Int32Array(loaded.values.length);
  if (zeroPoints === undefined) return new Float32Array(ones.length);
  const scales = Float32Array.from(zeroPoints);
  return dequantizeGroups(ones.fill(1), loaded.layout, { scales, zeroPoints: undefined, middle: 0 });
}

/** The integers that a weight may take: as far on both sides as it goes now, so that a narrow range stays narrow. */
function boundsOf(
  loaded: LoadedConstant,
  constant: QuantizedConstant,
  zeros: Float32Array,
): readonly [number, number] {
  let [low, high] = [0, 0];
  const { values } = loaded;
  for (let index = 0; index < values.length; index++) {
    const level = values[index]! - zeros[index]!;
    if (level < low) low = level;
    if (level > high) high = level;
  }
  const { range } = constant;
  const asymmetric = zeros.some((zero) => zero !== 0);
  if (asymmetric) return [range.low - range.high, range.high - range.low];
  const reach = Math.max(-low, high);
  return [Math.max(range.low, -reach), Math.min(range.high, reach)];
}

/** Integers of a weight, in its own order, from levels in the order of its matrices. */
function integersOf(
  learned: LearnedRounding,
  view: MatrixView,
  parts: {
    readonly constant: QuantizedConstant;
    readonly zeros: Float32Array;
    readonly bounds: readonly [number, number];
  },
): IntegerArray {
  const { constant, zeros, bounds } = parts;
  const { range } = constant;
  const values = integerArray(range, learned.levels.length);
  for (let place = 0; place < values.length; place++) {
    const index = view.order === undefined ? place : view.order[place]!;
    const level = Math.min(bounds[1], Math.max(bounds[0], learned.levels[place]!)) + zeros[index]!;
    values[index] = Math.min(range.high, Math.max(range.low, level));
  }
  return values;
}

async function adaptLayer(
  reference: Model,
  quantized: Model,
  layer: QuantizedLayer,
  run: AdaptRoundingRun,
): Promise<RoundingGain | undefined> {
  const { source, options, report, known } = run;
  const { signal } = source.context;
  const { float, name } = layer;
  const constant = readQuantizedConstant(layer.node.input(1)) ?? layer.weight;
  const view = matrixView(float);
  const rows = await gatherRows(reference, quantized, layer, { view, run });
  if (rows === undefined) {
    report.skip(name, 'window', 'the padding of its window cannot be told, so its rounding is to nearest');
    return undefined;
  }
  const loaded = await loadQuantizedConstant(constant, signal);
  const scales = reorder(elementScales(loaded), view);
  const zeros = elementZeroPoints(loaded);
  const bounds = boundsOf(loaded, constant, zeros);
  const weights = reorder(await loadFloat32(float.source, `weight "${float.weight.name}"`, signal), view);
  const activation = await activationOf(layer, signal);
  const inside = layer.bias.kind !== 'float' || layer.bias.node === layer.node;
  // The result is compared behind the bias: the float layer's own, and the one that the quantized layer adds.
  const bias = new Float32Array(await readBias(layer, signal));
  const outer = layer.floatAdd === undefined ? undefined : floatBias(layer);
  const added = outer === undefined ? undefined : await loadFloat32(outer, `bias of "${name}"`, signal);
  finishTargets(rows, view, { added, activation });
  const learned = await learnRounding(
    weights,
    rows,
    {
      sizes: view,
      bias: inside || added !== undefined ? bias : new Float32Array(bias.length),
      scales,
      floors: Float32Array.from(weights, (weight, index) => Math.floor(weight / scales[index]!)),
      bounds,
      activation,
    },
    {
      options,
      run: {
        backend: source.backend,
        rng: source.context.rng.fork(`rounding of ${layer.index}`),
        context: source.context,
        label: name,
      },
    },
  );
  if (learned.learned < learned.nearest) {
    const values = integersOf(learned, view, { constant, zeros, bounds });
    replaceQuantizedConstant(layer.node, 1, constant, { values });
    known.set(layer.index, values);
  }
  return { name, nearest: learned.nearest, learned: Math.min(learned.learned, learned.nearest) };
}

/** Adds the bias that an `Add` behind the float layer adds, and applies the activation. */
function finishTargets(
  rows: LayerRows,
  view: MatrixView,
  parts: { readonly added: Float32Array | undefined; readonly activation: RoundingProblem['activation'] },
): void {
  const { targets, capacity } = rows;
  const { low, high } = parts.activation;
  for (let index = 0; index < targets.length; index++) {
    const channel = Math.floor(index / (capacity * view.outputs)) * view.outputs + (index % view.outputs);
    const sum = targets[index]! + (parts.added?.[channel] ?? 0);
    targets[index] = sum < low ? low : sum > high ? high : sum;
  }
}

/**
 * Learns the rounding of the weights of a quantized model, layer after layer: each sees the inputs that the layers
 * before it, already rounded, give it, and is to make what the float layer makes of the float inputs, behind its
 * activation function. Weights move by at most one integer; scales, sizes and speed stay.
 *
 * @param quantized is changed
 * @see Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020, section 3.5 on asymmetric
 *   reconstruction
 */
export async function adaptRounding(
  reference: Model,
  quantized: Model,
  layers: readonly QuantizedLayer[],
  run: AdaptRoundingRun,
): Promise<readonly RoundingGain[]> {
  const { source, report, known } = run;
  const { context } = source;
  const gains: RoundingGain[] = [];
  let done = 0;
  for (const layer of layers) {
    context.signal.throwIfAborted();
    context.progress({ task: 'adaptive rounding', done: done++, total: layers.length, label: layer.name });
    const constant = readQuantizedConstant(layer.node.input(1));
    const values = known.get(layer.index);
    if (constant === undefined || constantOf(layer.node.input(0)) !== undefined) continue;
    if (
      values !== undefined &&
      values.length === constant.values.shape.reduce((product, dim) => product * dim, 1)
    ) {
      replaceQuantizedConstant(layer.node, 1, constant, { values });
    } else if (layer.float.weight.useCount > 1) {
      report.skip(layer.name, 'shared-weight', 'its weight is shared, so that its rounding is to nearest');
    } else {
      const gain = await adaptLayer(reference, quantized, layer, run);
      if (gain !== undefined) gains.push(gain);
    }
  }
  return gains;
}

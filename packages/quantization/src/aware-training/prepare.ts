import {
  constantOf,
  type Graph,
  inferShapes,
  type Model,
  type Node,
  type PassContext,
  type ReportBuilder,
  type Value,
} from '@lithe/core';
import { Emitter, findWeights, sortNodes, trainedModel } from '@lithe/training';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { reportUnknown } from '../graph/report-unknown.ts';
import type { AffineParameters } from '../parameters/affine.ts';
import { type IntegerRange, integerRange } from '../parameters/integer-range.ts';
import { dataInputs, operatorKind } from '../passes/static/operator-kinds.ts';
import { prepareProductBiases } from '../passes/static/product-bias.ts';
import { float32Data } from '../weights/lazy-parts.ts';
import { emitFolded } from './emit-folded.ts';
import { emitPairs } from './emit-pairs.ts';
import {
  type ActivationScale,
  EMITTED,
  learnedScale,
  learnedSteps,
  movingScale,
  type Step,
} from './emit-scales.ts';
import { channelAxis, emitOperand, emitWeights, type IntegerBias } from './emit-weights.ts';
import { channelLayout, type FoldedNorm, foldNorms } from './folded-norm.ts';
import { type AwarePlan, planAware } from './plan-aware.ts';
import type { MovingRange, NormedLayer, Prepared } from './prepared.ts';
import { type AwareRanges, type RangeGroup, rangeGroups } from './range-groups.ts';
import type { AwareQuantizationSettings } from './settings.ts';
import { firstSteps, meanMagnitude } from './step-start.ts';

/** What preparation works with. */
export interface PrepareRequest {
  /** Options. */
  readonly settings: AwareQuantizationSettings;
  /** Target, operators, cancellation. */
  readonly context: PassContext;
  /** Finds statistics of the model with folded normalizations; not called where activations stay float. */
  observe(model: Model): Promise<CalibrationStats>;
  /** Receives what was done and what stays float. */
  readonly report: ReportBuilder;
}

const notFolded =
  'no layer with constant weights stands before it alone: it goes by the batch to the end of training';

/** Turns a float model into one with pairs, in place: the inference form of what is trained. */
export async function prepare(model: Model, request: PrepareRequest): Promise<Prepared> {
  const { settings, context, report } = request;
  const { graph } = model;
  const { opset, signal } = context;
  const { exclude, eightBits } = settings;
  reportUnknown(
    graph.nodes(),
    { exclude, eightBits: typeof eightBits === 'string' ? [] : eightBits },
    report,
  );
  await inferShapes(model, { opset, signal, strict: false });
  const closed = prepareProductBiases(graph);
  await inferShapes(model, { opset, signal, strict: false });
  const weights = (await findWeights(graph)).map(({ name }) => name);
  const norms = await foldNorms(graph);
  for (const [node, { weight }] of norms)
    report.apply(`fold the batch normalization behind ${node.opType} "${node.name}" into "${weight.name}"`);
  for (const node of graph.nodes()) {
    if (node.is('BatchNormalization')) report.skip(node.name, 'not-folded', notFolded);
  }
  const stats = settings.activationBits === 'none' ? undefined : await request.observe(model);
  const plan = planAware(graph, { settings, stats, closed, context, report });
  const ranges = await rangeGroups(plan, stats, { graph, settings, context });
  const work = new Preparation(model, { plan, ranges, norms, request });
  await work.run();
  sortNodes(graph);
  await inferShapes(model, { opset, signal, strict: false });
  return work.prepared(weights);
}

class Preparation {
  readonly #graph: Graph;
  readonly #emit: Emitter;
  readonly #plan: AwarePlan;
  readonly #ranges: AwareRanges;
  readonly #norms: ReadonlyMap<Node, FoldedNorm>;
  readonly #request: PrepareRequest;
  readonly #scales = new Map<AffineParameters, ActivationScale>();
  readonly #moving: MovingRange[] = [];
  readonly #steps: { step: Step; magnitude: number }[] = [];
  readonly #normed: NormedLayer[] = [];
  readonly #biases: { node: Node; bias: Value }[] = [];
  #pairs: Prepared['pairs'] = [];
  readonly #constants: Value[] = [];
  #magnitude = 0;

  constructor(
    model: Model,
    parts: {
      readonly plan: AwarePlan;
      readonly ranges: AwareRanges;
      readonly norms: ReadonlyMap<Node, FoldedNorm>;
      readonly request: PrepareRequest;
    },
  ) {
    this.#graph = model.graph;
    this.#emit = new Emitter(model.graph, parts.request.context.opset, EMITTED);
    this.#plan = parts.plan;
    this.#ranges = parts.ranges;
    this.#norms = parts.norms;
    this.#request = parts.request;
  }

  async run(): Promise<void> {
    const { layers, pairs } = this.#plan;
    const { settings, context, report } = this.#request;
    this.#magnitude = await this.#meanWeight();
    for (const group of this.#ranges.groups) this.#addScale(group);
    for (const readers of this.#byWeights(layers)) {
      context.signal.throwIfAborted();
      await this.#quantizeLayers(readers);
      for (const node of readers) report.apply(`quantize the weights of ${node.opType} "${node.name}"`);
    }
    const done = new Set(layers);
    for (const [node, norm] of this.#norms) if (!done.has(node)) this.#foldLayer(node, norm);
    for (const [node, kind] of pairs.nodes) if (kind === 'follower') this.#quantizeOperands(node);
    this.#pairs = emitPairs(this.#emit, {
      plan: pairs,
      ranges: this.#ranges,
      scales: this.#scales,
      profile: context.target?.profile,
      readersOnly: settings.activationBits === 4,
    });
    report.metric('quantizedLayers', layers.length, 'layers');
    report.metric(
      'quantizedActivations',
      settings.activationBits === 'none' ? 0 : pairs.values.length,
      'values',
    );
  }

  prepared(weights: readonly string[]): Prepared {
    return {
      weights,
      ranges: this.#moving,
      steps: this.#steps,
      norms: this.#normed,
      biases: this.#biases,
      pairs: this.#pairs,
      constants: this.#constants,
    };
  }

  /** Mean magnitude of all weights that are quantized: what learned steps of activations are compared with. */
  async #meanWeight(): Promise<number> {
    if (this.#request.settings.ranges !== 'lsq') return 0;
    let sum = 0;
    for (const node of this.#plan.layers) sum += meanMagnitude(await this.#numbers(node));
    return sum / Math.max(1, this.#plan.layers.length);
  }

  async #numbers(node: Node): Promise<Float32Array> {
    const value = node.input(1) as Value;
    const source = constantOf(value);
    return source === undefined
      ? new Float32Array()
      : float32Data(await source.load(this.#request.context.signal), `weight "${value.name}"`);
  }

  #addScale(group: RangeGroup): void {
    const learns = this.#request.settings.ranges === 'lsq';
    const scale = learns ? learnedScale(this.#emit, group) : movingScale(this.#emit, group);
    this.#scales.set(group.key, scale);
    if (scale.range !== undefined) this.#moving.push({ ...scale.range, roots: group.roots });
    if (scale.step !== undefined) this.#steps.push({ step: scale.step, magnitude: this.#magnitude });
  }

  #weightRange(node: Node): IntegerRange {
    const few = this.#request.settings.weightBits === 4 && !this.#ranges.wide.has(node);
    return integerRange(few ? 'int4' : 'int8', { extent: 'narrow' });
  }

  /** Layers that read the same weights in the same integers: those are quantized once. */
  #byWeights(layers: readonly Node[]): readonly (readonly [Node, ...Node[]])[] {
    const found = new Map<Value, Map<string, [Node, ...Node[]]>>();
    const all: [Node, ...Node[]][] = [];
    for (const node of layers) {
      const weight = node.input(1) as Value;
      const forms = found.get(weight) ?? new Map<string, [Node, ...Node[]]>();
      found.set(weight, forms);
      // A folded normalization makes weights of their own, for one layer each.
      const form = `${this.#axis(node)} ${this.#weightRange(node).high}`;
      const known = forms.get(form);
      if (known !== undefined) known.push(node);
      else {
        const readers: [Node, ...Node[]] = [node];
        forms.set(form, readers);
        all.push(readers);
      }
    }
    return all;
  }

  /** Axis of the scales of weights. Channels of groups that lie one behind the other have one scale together. */
  #axis(node: Node): number | undefined {
    return this.#request.settings.weightScales === 'per-tensor' ? undefined : channelAxis(node);
  }

  /** @param readers layers with the same weights; of one with a folded normalization, only it */
  async #quantizeLayers(readers: readonly [Node, ...Node[]]): Promise<void> {
    const { settings } = this.#request;
    const [node] = readers;
    const data = await this.#numbers(node);
    const stored = node.input(1) as Value;
    const norm = this.#norms.get(node);
    const folded = norm === undefined ? undefined : emitFolded(this.#emit, norm, channelLayout(node));
    const weight = folded?.weight ?? stored;
    const name = norm?.weight.name ?? stored.name;
    const range = this.#weightRange(node);
    const axis = this.#axis(node);
    const biases = readers.map((reader) => folded?.bias ?? this.#constantBias(reader));
    const made = emitWeights(this.#emit, {
      name,
      weight,
      axis,
      range,
      integerBiases: readers.map((reader, at) => this.#integerBias(reader, biases[at])),
      step: settings.ranges === 'lsq' ? this.#learnedSteps(name, { data, weight, axis, range }) : undefined,
    });
    this.#constants.push(...made.constants);
    for (const [at, reader] of readers.entries()) {
      const [bias, whole] = [biases[at], made.biases[at]];
      this.#graph.setInput(reader, 1, made.weight);
      if (bias !== undefined) this.#graph.setInput(reader, 2, whole ?? bias);
      if (norm !== undefined && folded !== undefined) this.#normed.push({ node: reader, norm, folded });
      else if (whole !== undefined && bias !== undefined) this.#biases.push({ node: reader, bias });
    }
  }

  /** What becomes int32 of a bias: where the sums are integers. */
  #integerBias(node: Node, bias: Value | undefined): IntegerBias | undefined {
    const parameters = this.#ranges.byValue.get(node.input(0) as Value);
    const inputScale = parameters === undefined ? undefined : this.#scales.get(parameters)?.scale;
    if (bias === undefined || inputScale === undefined || node.is('ConvTranspose')) return undefined;
    return { value: bias, inputScale };
  }

  #learnedSteps(
    name: string,
    part: {
      readonly data: Float32Array;
      readonly weight: Value;
      readonly axis: number | undefined;
      readonly range: IntegerRange;
    },
  ): Step {
    const { data, axis, range } = part;
    const shape = part.weight.shape as readonly number[];
    const values = firstSteps(data, { shape, axis, levels: range.high });
    const step = learnedSteps(this.#emit, name, {
      values,
      shape: axis === undefined ? [] : [values.length],
      elements: data.length,
      levels: range.high,
    });
    this.#steps.push({ step, magnitude: meanMagnitude(data) });
    return step;
  }

  #constantBias(node: Node): Value | undefined {
    const bias = node.is('MatMul') ? null : node.input(2);
    return bias !== null && constantOf(bias)?.dtype === 'float32' ? bias : undefined;
  }

  /** A layer that stays float: its normalization is folded all the same. */
  #foldLayer(node: Node, norm: FoldedNorm): void {
    const folded = emitFolded(this.#emit, norm, channelLayout(node));
    this.#graph.setInput(node, 1, folded.weight);
    this.#graph.setInput(node, 2, folded.bias);
    this.#normed.push({ node, norm, folded });
  }

  #quantizeOperands(node: Node): void {
    for (const index of dataInputs(node)) {
      const value = node.input(index);
      if (value === null || constantOf(value) === undefined || operatorKind(node) === undefined) continue;
      const { result, constants } = emitOperand(this.#emit, value, this.#ranges.integers);
      this.#constants.push(...constants);
      this.#graph.setInput(node, index, result);
    }
  }
}

/** A copy whose constants are initializers, so that they may learn. */
export function copyForTraining(model: Model): Model {
  return trainedModel(model, {});
}

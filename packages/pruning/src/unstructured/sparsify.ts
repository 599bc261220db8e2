import {
  type Backend,
  type Dataset,
  definePass,
  errors,
  type Graph,
  type Model,
  type Pass,
  type PassContext,
  type PassReport,
  ReportBuilder,
  Tensor,
  type TensorSource,
} from '@lithe/core';
import { layersInFunctions } from '../structured/hidden-layers.ts';
import { CompressedSize } from './compressed-size.ts';
import { collectStatistics, type InputStatistics, statisticsBytes } from './input-statistics.ts';
import { maskLayers } from './mask-layers.ts';
import { maskedSource, packMask } from './masked-source.ts';
import { type ParsedPattern, parsePattern } from './pattern.ts';
import { loadMatrix, type SparseLayer, sparseLayers, toStored } from './sparse-layer.ts';
import {
  type SparsifyOptions,
  type SparsifySettings,
  sparsifySchema,
  sparsityCriterionOf,
} from './sparsify-options.ts';
import type { SolvedWeight, SparsityCriterion } from './sparsity-criterion.ts';
import { lampWeights } from './weight-criteria.ts';

const name = 'pruning/sparsify';

/** What a layer lost. */
export interface LayerSparsity {
  /** Name of the weight. */
  readonly weight: string;
  /** Operator that reads it. */
  readonly op: string;
  /** Its elements. */
  readonly elements: number;
  /** Zeros among them. */
  readonly zeros: number;
  /**
   * What is left of the error of removing the smallest weights, on the calibration data; only of criteria that move
   * weights.
   */
  readonly errorShare: number | undefined;
}

/** What {@link sparsify} reports, beside what every pass does. */
export interface SparsifyReport extends PassReport {
  /** Every weight that was treated. */
  readonly layers: readonly LayerSparsity[];
}

type Changed = readonly [SparseLayer, TensorSource, SolvedWeight | undefined];

interface Work {
  readonly draft: Model;
  readonly layers: readonly SparseLayer[];
  readonly criterion: SparsityCriterion;
  readonly pattern: ParsedPattern;
  readonly settings: SparsifySettings;
  readonly context: PassContext;
}

function ratioOf(layer: SparseLayer, { ratio = 0.5, ratios = {} }: SparsifySettings): number {
  const key = [layer.name, ...layer.nodes].find((candidate) => Object.hasOwn(ratios, candidate));
  return key === undefined ? ratio : (ratios[key] as number);
}

function checkNames(layers: readonly SparseLayer[], { ratios = {} }: SparsifySettings): void {
  const known = new Set(layers.flatMap((layer) => [layer.name, ...layer.nodes]));
  const unknown = Object.keys(ratios).filter((key) => !known.has(key));
  if (unknown.length > 0)
    throw errors.optionsInvalid(
      name,
      unknown.map((key) => `"ratios" names "${key}", which is no weight that can be treated.`),
    );
}

function needs({ criterion, context }: Work): { backend: Backend; data: Dataset } {
  const { backend, data } = context;
  if (backend === undefined || data === undefined) {
    const missing = [...(backend === undefined ? ['backend'] : []), ...(data === undefined ? ['data'] : [])];
    throw errors.passNeeds(`${name} by ${criterion.name}`, missing);
  }
  return { backend, data };
}

async function statisticsOf(
  work: Work,
  layers: readonly SparseLayer[],
): Promise<ReadonlyMap<SparseLayer, InputStatistics>> {
  const { draft, criterion, settings, context } = work;
  const { samples, batchSize } = settings;
  const products = criterion.needs === 'input-products';
  return collectStatistics(draft, layers, { ...needs(work), samples, batchSize, products, context });
}

/** Layers whose statistics are collected together: as many as memory allows, or one after the other. */
function chunksOf({ layers, criterion, settings }: Work): readonly (readonly SparseLayer[])[] {
  if (criterion.sequential === true) return layers.map((layer) => [layer]);
  const chunks: SparseLayer[][] = [];
  let room = 0;
  for (const layer of layers) {
    const bytes = statisticsBytes(layer, criterion.needs === 'input-products');
    if (chunks.length === 0 || bytes > room) {
      chunks.push([]);
      room = settings.memoryBytes;
    }
    chunks[chunks.length - 1]!.push(layer);
    room -= bytes;
  }
  return chunks;
}

/** Share of each layer where the weights of all layers compete. */
async function globalShares({ layers, pattern, settings, context }: Work): Promise<Map<SparseLayer, number>> {
  const share = settings.ratio ?? 0.5;
  const request = { criterion: lampWeights(), pattern, scope: 'global' as const, share };
  const { signal } = context;
  const masks = maskLayers(layers, { ...request, signal, ratio: () => share, statistics: () => undefined });
  const shares = new Map<SparseLayer, number>();
  for await (const [layer, mask] of masks) {
    let kept = 0;
    for (let index = 0; index < mask.length; index++) kept += mask[index]!;
    shares.set(layer, 1 - kept / mask.length);
  }
  return shares;
}

/** Algorithms that move weights: layer after layer, each result put into the draft before the next is calibrated. */
async function* solved(work: Work): AsyncIterable<Changed> {
  const { draft, criterion, pattern, settings, context } = work;
  const { signal } = context;
  const shares = settings.scope === 'global' ? await globalShares(work) : undefined;
  let done = 0;
  for (const chunk of chunksOf(work)) {
    const statistics = criterion.needs === 'weights' ? undefined : await statisticsOf(work, chunk);
    for (const layer of chunk) {
      signal.throwIfAborted();
      context.progress({ task: criterion.name, done: done++, total: work.layers.length, label: layer.name });
      const matrix = await loadMatrix(layer, signal);
      const weight = { layer, matrix, statistics: statistics?.get(layer), signal };
      const ratio = shares?.get(layer) ?? ratioOf(layer, settings);
      const result = await criterion.solve?.(weight, { pattern, ratio });
      if (result === undefined) throw errors.internal(`"${criterion.name}" neither scores nor solves`);
      const stored = toStored(layer, result.matrix, new Float32Array(matrix.length));
      const source = Tensor.from('float32', layer.source.shape, stored);
      setWeight(draft.graph, layer, source);
      yield [layer, source, result];
    }
  }
}

/** Criteria that score: one bit a weight is held, and weights are masked as they are read. The draft stays as it is. */
async function* masked(work: Work): AsyncIterable<Changed> {
  const { layers, criterion, pattern, settings, context } = work;
  const { signal } = context;
  const collected = new Map<SparseLayer, InputStatistics>();
  if (criterion.needs !== 'weights')
    for (const chunk of chunksOf(work))
      for (const [layer, found] of await statisticsOf(work, chunk)) collected.set(layer, found);
  const masks = maskLayers(layers, {
    criterion,
    pattern,
    signal,
    scope: settings.scope ?? criterion.scope,
    share: settings.ratio ?? 0.5,
    ratio: (layer) => ratioOf(layer, settings),
    statistics: (layer) => collected.get(layer),
  });
  let done = 0;
  for await (const [layer, mask] of masks) {
    context.progress({ task: criterion.name, done: done++, total: layers.length, label: layer.name });
    const bits = packMask(toStored(layer, mask, new Uint8Array(mask.length)));
    yield [layer, maskedSource(layer.source, bits), undefined];
  }
}

function setWeight(graph: Graph, layer: SparseLayer, source: TensorSource): void {
  const value = graph.value(layer.name);
  if (value === undefined) throw errors.internal(`the draft has no "${layer.name}"`);
  const { producer } = value;
  if (producer === null) {
    graph.setInitializer(value, source);
    return;
  }
  const replacement = graph.addInitializer(graph.uniqueName(`${layer.name}/sparse`), source);
  graph.replaceAllUses(value, replacement);
  graph.remove(producer);
  graph.rename(replacement, layer.name);
}

const zerosIn = (data: Float32Array): number => {
  let zeros = 0;
  for (let index = 0; index < data.length; index++) if (data[index]! === 0) zeros++;
  return zeros;
};

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

async function run(draft: Model, settings: SparsifySettings, context: PassContext): Promise<SparsifyReport> {
  const report = new ReportBuilder();
  const criterion = sparsityCriterionOf(settings);
  for (const { target, code, reason } of layersInFunctions(draft)) report.skip(target, code, reason);
  const layers = sparseLayers(draft.graph, settings.protect ?? [], report).filter((layer) => {
    const covered = criterion.covers?.(layer.name) ?? true;
    if (!covered) report.skip(layer.name, 'not-scored', `"${criterion.name}" says nothing about it`);
    return covered;
  });
  checkNames(layers, settings);
  const pattern = parsePattern(settings.pattern);
  const work: Work = { draft, layers, criterion, pattern, settings, context };
  const sizes = settings.compressedSize
    ? { before: new CompressedSize(), after: new CompressedSize() }
    : undefined;
  const treated: LayerSparsity[] = [];
  for await (const [layer, source, result] of criterion.solve === undefined ? masked(work) : solved(work)) {
    const before = await layer.source.load(context.signal);
    const after = await source.load(context.signal);
    await sizes?.before.add(before.bytes);
    await sizes?.after.add(after.bytes);
    const zeros = zerosIn(after.data as Float32Array);
    const { own = 0, magnitude = 0 } = result?.error ?? {};
    const errorShare = magnitude > 0 ? own / magnitude : undefined;
    treated.push({ weight: layer.name, op: layer.op, elements: after.size, zeros, errorShare });
    const added = zeros - zerosIn(before.data as Float32Array);
    if (added > 0 && result === undefined) setWeight(draft.graph, layer, source);
    if (added > 0 || result !== undefined)
      report.apply(`set ${added} of ${after.size} weights of "${layer.name}" to zero`);
    else report.skip(layer.name, 'nothing-to-remove', 'the pattern and the ratio leave every weight');
    for (const note of result?.notes ?? []) report.apply(note);
  }
  const elements = treated.reduce((sum, layer) => sum + layer.elements, 0);
  const zeros = treated.reduce((sum, layer) => sum + layer.zeros, 0);
  report.metric('weights treated', elements, 'elements');
  report.metric('sparsity', elements === 0 ? 0 : zeros / elements, 'ratio');
  if (sizes !== undefined && elements > 0) {
    report.metric('compressed before', await sizes.before.finish(), 'bytes');
    report.metric('compressed after', await sizes.after.finish(), 'bytes');
  }
  if (report.appliedCount > 0) {
    report.apply(
      'Zeros make the download smaller where it is compressed; they make nothing faster: no ONNX runtime of today skips them.',
    );
    report.table('layers', {
      title: 'Sparsity by weight',
      columns: [
        { name: 'weight', unit: '' },
        { name: 'elements', unit: '' },
        { name: 'zeros', unit: '' },
        { name: 'sparsity', unit: '' },
        { name: 'error left of that by magnitude', unit: '' },
      ],
      rows: treated.map((layer) => [
        layer.weight,
        layer.elements,
        layer.zeros,
        percent(layer.zeros / layer.elements),
        layer.errorShare === undefined ? '' : percent(layer.errorShare),
      ]),
    });
  }
  return { ...report.build(), layers: treated };
}

/**
 * Sets the weights to zero that matter least, one by one, in N:M groups or in blocks: kernels of convolutions and
 * matrices of products; biases, normalizations and tables stay. The model keeps its size and its speed, since runtimes
 * multiply zeros like any other number; what shrinks is the compressed file. For a faster model remove channels.
 *
 * `wanda` and `sparse-gpt` need data and a backend.
 *
 * @example
 * ```ts
 * import { optimize } from '@lithe/core';
 * import { sparsify } from '@lithe/pruning';
 * import { mlp } from '@lithe/training';
 *
 * const model = await mlp({ inputs: 8, hidden: [16], classes: 4 });
 * const { report } = await optimize(model, [sparsify({ pattern: '2:4' })]);
 * report.steps[0]?.metrics['sparsity']?.value; // => 0.5
 * ```
 */
export const sparsify: Pass<SparsifyOptions, SparsifySettings> = definePass({
  name,
  version: 1,
  summary: 'Sets the weights to zero that matter least.',
  options: sparsifySchema,
  preserves: 'accuracy',
  run,
});

import {
  type Backend,
  createRunContext,
  type Dataset,
  definePass,
  errors,
  inferShapes,
  Model,
  type OpSet,
  opsetAtLeast,
  type Pass,
  type PassReport,
  ReportBuilder,
  type RunContext,
  type RunOptions,
  standardOps,
  Tensor,
} from '@lithe/core';
import { z } from 'zod';
import { chooseRidge } from './choose-ridge.ts';
import { biasOf, layerPairs } from './layer-pairs.ts';
import { replaceInput, setWeightRows, weightRows } from './linear-layer.ts';
import { boundedBatch, type LayerPair, residualMoments } from './residual-moments.ts';
import { solveRidge } from './ridge.ts';
import { openBatchSize } from './run-batches.ts';

const name = 'pruning/least-squares-refit';

/** How {@link refit} and {@link leastSquaresRefit} look at activations. */
export interface RefitSettings {
  /** Samples of the data; 512 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch where the models leave that open; 32 by default, fewer where activations are large. */
  readonly batchSize?: number | undefined;
  /** Positions of each sample that count, drawn at random; 32 by default. */
  readonly positions?: number | undefined;
  /**
   * Pull towards the weights as they are, as a share of the mean square of an input. By default each layer gets the one
   * with which a fit to three batches of four comes closest to the fourth; 1e-4 where all samples are one batch, and for
   * layers of more than 4,096 inputs. At least 1e-2 where there are fewer positions than inputs. The report says what was
   * used.
   */
  readonly ridge?: number | undefined;
}

/** Options of {@link leastSquaresRefit}. */
export interface LeastSquaresRefitOptions extends RefitSettings {
  /**
   * The model before pruning, with the names that the pruned one has; or its name among the models of the context, as a
   * recipe has it. `original`, what the passes started from, by default.
   */
  readonly original?: Model | string | undefined;
}

/** Options of {@link refit}. */
export interface RefitOptions extends RefitSettings, RunOptions {
  /** Real inputs; no labels are needed. */
  readonly data: Dataset;
  /** Runs both models. */
  readonly backend: Backend;
  /** Operators that are known; the standard ones by default. */
  readonly opset?: OpSet | undefined;
}

/** What {@link refit} did to one layer. */
export interface RefitLayer {
  /** Name of the layer. */
  readonly layer: string;
  /** Squared error of its outputs before, as a share of their variance in the original. */
  readonly before: number;
  /** The same afterwards, on the same data. */
  readonly after: number;
  /** The ridge that was used; 0 where the layer was left as it was. */
  readonly ridge: number;
  /** Positions that were summed over. */
  readonly positions: number;
}

/** What {@link refit} reports, beside what every pass does. */
export interface RefitReport extends PassReport {
  /** Every layer that was looked at, in order. */
  readonly layers: readonly RefitLayer[];
}

/** What {@link refit} gives. */
export interface RefitResult {
  /** A new model. */
  readonly model: Model;
  /** What was done to each layer. */
  readonly report: RefitReport;
}

interface Surroundings extends RunContext {
  readonly data: Dataset;
  readonly backend: Backend;
  readonly opset: OpSet;
}

/** A ridge where none can be chosen by data that were held out. */
const SMALL_RIDGE = 1e-4;

/** A ridge for layers with fewer positions than inputs: what the data do not tell stays as it is. */
const RIDGE_OF_FEW = 1e-2;

/** Sums of products of layers whose ridge is searched for: 128 MiB in float64. */
const LARGEST_SEARCH = 1 << 24;

async function refitLayer(
  draft: Model,
  original: Model,
  pair: LayerPair,
  options: { readonly settings: RefitSettings; readonly context: Surroundings },
): Promise<RefitLayer> {
  const { settings, context } = options;
  const { layer } = pair;
  const { data, backend, signal } = context;
  const rng = context.rng.fork(`${name}/${layer.node.name}`);
  const batchSize = openBatchSize(draft, boundedBatch(layer, layer.node.output(), settings.batchSize ?? 32));
  const source = { data, backend, context, samples: settings.samples ?? 512, batchSize };
  const wanted = settings.positions ?? 32;
  const isSearched = layer.groups * layer.inputs * layer.inputs <= LARGEST_SEARCH;
  const holdOut = settings.ridge === undefined && isSearched;
  const models = { pruned: draft, original };
  const split = await residualMoments(models, pair, { source, wanted, rng, holdOut });
  const moments = split.all;
  const bias = await biasOf(layer, signal);
  const rows = await weightRows(layer, signal);
  const hasBias = bias !== undefined;
  const given = settings.ridge ?? chooseRidge(layer, split, { hasBias, signal }) ?? SMALL_RIDGE;
  const ridge = moments.count < layer.inputs ? Math.max(given, RIDGE_OF_FEW) : given;
  const found = solveRidge(layer, moments, { ridge, rows, hasBias });
  const scale = moments.target > 0 ? moments.target : 1;
  const before = moments.residual / scale;
  const entry = { layer: layer.node.name, before, positions: moments.count };
  // No worse than before, by a margin above the rounding of the sums.
  if (!(found.residual < moments.residual * (1 - 1e-6))) return { ...entry, after: before, ridge: 0 };
  for (let index = 0; index < rows.length; index++) rows[index]! += found.weight[index]!;
  setWeightRows(layer, rows);
  if (bias !== undefined && layer.bias !== undefined) {
    for (let index = 0; index < bias.length; index++) bias[index]! += found.bias[index]!;
    const tensor = Tensor.from('float32', [bias.length], new Float32Array(bias));
    replaceInput(layer.bias.node, layer.bias.index, tensor);
  }
  return { ...entry, after: found.residual / scale, ridge: found.ridge };
}

async function refitDraft(
  draft: Model,
  given: Model,
  settings: RefitSettings,
  context: Surroundings,
): Promise<RefitReport> {
  const { signal, opset } = context;
  const report = new ReportBuilder();
  const original = given.clone();
  for (const model of [draft, original]) await inferShapes(model, { opset, signal, strict: false });
  const pairs = await layerPairs(draft, original, { report, signal });
  const layers: RefitLayer[] = [];
  for (const [index, pair] of pairs.entries()) {
    signal.throwIfAborted();
    context.progress({ task: name, done: index, total: pairs.length, label: pair.layer.node.name });
    const done = await refitLayer(draft, original, pair, { settings, context });
    layers.push(done);
    if (done.after < done.before) report.apply(`refit ${pair.layer.op} "${done.layer}"`);
    else report.skip(done.layer, 'no-gain', 'its outputs cannot be brought closer to the original');
  }
  context.progress({ task: name, done: pairs.length, total: pairs.length });
  report.table('layers', {
    title: 'Squared error of the outputs of each layer, as a share of their variance',
    columns: [
      { name: 'layer', unit: '' },
      { name: 'before', unit: 'ratio' },
      { name: 'after', unit: 'ratio' },
      { name: 'ridge', unit: 'ratio' },
      { name: 'positions', unit: '' },
    ],
    rows: layers.map(({ layer, before, after, ridge, positions }) => [
      layer,
      before,
      after,
      ridge,
      positions,
    ]),
    plot: { kind: 'bars', x: 'layer', y: ['before', 'after'] },
  });
  return { ...report.build(), layers };
}

/**
 * Refits the weights of a pruned model to what the original computes, without gradients and labels: layer after layer, in
 * order, the weights and the bias of each `Conv`, `Gemm` and `MatMul` that reads a cut input become those of the
 * regression of the original's outputs on what the pruned model, refitted so far, gives the layer. No layer is changed
 * whose error would not shrink on the data.
 *
 * Each layer takes a run of both models over the samples, up to that layer.
 *
 * @param pruned is not changed
 * @param original the model before pruning; values have the names they have in `pruned`
 * @throws {LitheError} OPTIONS_INVALID; DATA_INVALID when the data are empty or lack an input; VALUE_OUT_OF_RANGE when
 *   activations are not finite
 * @see He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, sections 3.1 and 3.2;
 *   with a ridge that pulls to the weights as they are and is chosen on samples that are held out, and a bias
 * @example
 * ```ts
 * import { optimize, randomDataset } from '@lithe/core';
 * import { referenceBackend } from '@lithe/core/reference';
 * import { prune, refit } from '@lithe/pruning';
 * import { mlp } from '@lithe/training';
 *
 * const original = await mlp({ inputs: 16, hidden: [8], classes: 3 });
 * const { model: pruned } = await optimize(original, [prune({ ratio: 0.5 })]);
 * const data = randomDataset(original, { samples: 64 });
 * const { report } = await refit(pruned, original, { data, backend: referenceBackend() });
 * report.layers.every(({ before, after }) => after <= before); // => true
 * ```
 */
export async function refit(pruned: Model, original: Model, options: RefitOptions): Promise<RefitResult> {
  const { data, backend, opset = standardOps, samples, batchSize, positions, ridge, ...run } = options;
  // The pass checks the settings.
  const settings = schema.parse(
    leastSquaresRefit({ original, samples, batchSize, positions, ridge }).options,
  );
  const model = pruned.clone();
  const report = await refitDraft(model, original, settings, {
    ...createRunContext(run),
    data,
    backend,
    opset,
  });
  return { model, report };
}

const count = z.int().min(1);
const schema: z.ZodType<LeastSquaresRefitOptions, LeastSquaresRefitOptions> = z.strictObject({
  original: z.union([z.instanceof(Model), z.string().min(1)]).optional(),
  samples: count.optional(),
  batchSize: count.optional(),
  positions: count.optional(),
  ridge: z.number().min(0).max(1).optional(),
});

/**
 * {@link refit} as a step behind `prune`: `[prune({ … }), leastSquaresRefit()]`, with `data` and `backend` given to
 * `optimize`.
 *
 * @throws {LitheError} as {@link refit} does
 * @example
 * ```ts
 * import { leastSquaresRefit } from '@lithe/pruning';
 *
 * leastSquaresRefit().needs; // => ['data', 'backend']
 * ```
 */
export const leastSquaresRefit: Pass<LeastSquaresRefitOptions, LeastSquaresRefitOptions> = definePass({
  name,
  version: 1,
  summary: 'Refits the weights of a pruned model to what the original computes.',
  options: schema,
  needs: ['data', 'backend'],
  models: ({ original }) => (typeof original === 'string' ? [original] : []),
  preserves: 'accuracy',
  requires: [opsetAtLeast(13)],
  run: async (draft, settings, context): Promise<RefitReport> => {
    const { data, backend } = context;
    if (data === undefined || backend === undefined) throw errors.passNeeds(name, ['data', 'backend']);
    const { original = 'original' } = settings;
    const before = typeof original === 'string' ? await context.modelNamed(original) : original;
    return refitDraft(draft, before, settings, { ...context, data, backend });
  },
});

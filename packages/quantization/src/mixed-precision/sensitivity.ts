import {
  type Backend,
  createRunContext,
  type Dataset,
  type Model,
  type Node,
  type PassContext,
  passContextIn,
  type RunContext,
} from '@lithe/core';
import { observe } from '../calibration/observe.ts';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { type ApplyContext, type Assignment, applyAssignment } from './apply.ts';
import { type Comparison, comparison, type Deviation } from './comparison.ts';
import { type PrecisionFormat, type PrecisionFormatChoice, precisionFormatOf } from './formats.ts';
import { constantBytes, type PrecisionLayer, weightedLayers } from './layers.ts';

/** How sensitivity is measured. */
export interface SensitivityOptions {
  /** Runs the models. */
  readonly backend: Backend;
  /** Formats to try on each layer; `foldable-int8` and `foldable-int4` by default. */
  readonly formats?: readonly PrecisionFormatChoice[] | undefined;
  /** Samples that drift is measured on; 64 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
  /** Outputs of any rank that hold class scores along their last axis; tables `[N, C]` and distributions are known. */
  readonly scores?: readonly string[] | undefined;
  /** Weights with fewer elements stay float; 256 by default. */
  readonly minimumElements?: number | undefined;
  /** Name of the group that a node belongs to, such as a transformer block: its nodes get one format together. */
  readonly group?: ((node: Node) => string | undefined) | undefined;
  /** Statistics for formats that compute in integers; observed on the same data by default. */
  readonly stats?: CalibrationStats | undefined;
  /** What a model costs; bytes of its constants by default. Measured latency is another choice. */
  readonly cost?: ((model: Model) => number | Promise<number>) | undefined;
  /** Bytes of inputs and expected outputs that are kept; 256 MiB by default. */
  readonly memoryBytes?: number | undefined;
  /** Randomness, progress, cancellation. */
  readonly context?: RunContext | undefined;
}

/** What putting one layer in one format does, the others float. */
export interface LayerSensitivity extends Deviation {
  /** Name of the layer. */
  readonly layer: string;
  /** Names of its nodes. */
  readonly nodes: readonly string[];
  /** Name of the format. */
  readonly format: string;
  /** Cost saved: bytes, unless `cost` says otherwise. Negative where the format costs more. */
  readonly saved: number;
}

/** What {@link sensitivity} found. */
export interface SensitivityReport {
  /** What drift measures. */
  readonly measure: Comparison['measure'];
  /** Samples it was measured on. */
  readonly samples: number;
  /** Cost of the float model. */
  readonly cost: number;
  /** One entry per layer and format that applies to it, layers in order. */
  readonly layers: readonly LayerSensitivity[];
}

/** What the search over assignments shares with the measurement of sensitivity. */
export interface PrecisionTrials extends AsyncDisposable {
  /** Layers that may get a format. */
  readonly layers: readonly PrecisionLayer[];
  /** Formats that are tried. */
  readonly formats: readonly PrecisionFormat[];
  /** The comparison with the float model. */
  readonly compare: Comparison;
  /** Cost of the float model. */
  readonly cost: number;
  /** For {@link applyAssignment}. */
  readonly apply: ApplyContext;
  /** Puts layers in formats; `undefined` when that changes nothing. */
  candidate(assignment: Assignment): Promise<Model | undefined>;
  /** Cost of a model. */
  costOf(model: Model): number | Promise<number>;
}

/** Prepares trials of formats on a model. */
export async function precisionTrials(
  model: Model,
  data: Dataset,
  options: SensitivityOptions & { readonly pass?: PassContext | undefined },
): Promise<PrecisionTrials> {
  const { backend, samples = 64, batchSize, minimumElements = 256, memoryBytes = 2 ** 28 } = options;
  const context = options.context ?? createRunContext();
  const pass: PassContext = options.pass ?? passContextIn(context, { backend, data });
  const costOf = options.cost ?? constantBytes;
  const cost = await costOf(model);
  const compare = await comparison(model, data, {
    backend,
    samples,
    batchSize,
    scores: options.scores ?? [],
    memoryBytes,
    signal: pass.signal,
  });
  let stats: Promise<CalibrationStats> | undefined;
  const layers = weightedLayers(model, { minimumElements, group: options.group });
  const apply: ApplyContext = {
    layers,
    pass,
    stats: () => {
      stats ??=
        options.stats === undefined
          ? observe(model, data, { backend, samples: Math.max(samples, 100), batchSize, context: pass })
          : Promise.resolve(options.stats);
      return stats;
    },
  };
  return {
    layers,
    formats: (options.formats ?? ['foldable-int8', 'foldable-int4']).map(precisionFormatOf),
    compare,
    cost,
    apply,
    costOf,
    candidate: async (assignment) => {
      const draft = model.clone();
      const reports = await applyAssignment(draft, assignment, apply);
      return reports.some((report) => report.changed) ? draft : undefined;
    },
    [Symbol.asyncDispose]: () => compare[Symbol.asyncDispose](),
  };
}

/** Measures every layer in every format, one at a time. */
export async function measureLayers(trials: PrecisionTrials): Promise<readonly LayerSensitivity[]> {
  const { layers, formats, compare, cost, apply } = trials;
  const found: LayerSensitivity[] = [];
  let done = 0;
  for (const layer of layers) {
    for (const format of formats) {
      apply.pass.signal.throwIfAborted();
      const model = await trials.candidate(new Map([[layer.name, format]]));
      if (model !== undefined) {
        const deviation = await compare.measureModel(model);
        const saved = cost - (await trials.costOf(model));
        found.push({ layer: layer.name, nodes: layer.nodes, format: format.name, saved, ...deviation });
      }
      done++;
      apply.pass.progress({
        task: 'sensitivity',
        done,
        total: layers.length * formats.length,
        label: layer.name,
      });
    }
  }
  return found;
}

/**
 * Measures what each layer loses: one layer after the other is quantized, the rest left float, and the outputs compared
 * with those of the float model. Measured divergence ranks the layers of image classifiers almost as full knowledge of
 * the accuracies does, and needs no gradients; the error of the weights themselves ranks them no better than chance.
 *
 * Cost: one compilation and `samples` runs for each layer and format.
 *
 * @param model is not changed
 * @throws {LitheError} DATA_INVALID when the dataset is empty; BACKEND_FAILED when the runtime fails
 *
 * @example
 * ```ts
 * import { GraphBuilder, Tensor, arrayDataset } from '@lithe/core';
 * import { referenceBackend } from '@lithe/core/reference';
 * import { sensitivity } from '@lithe/quantization';
 *
 * const builder = new GraphBuilder();
 * const x = builder.input('x', 'float32', ['N', 16]);
 * const weight = Float32Array.from({ length: 16 * 32 }, (_, index) => Math.sin(index * index));
 * builder.output('y', builder.op.MatMul([x, Tensor.from('float32', [16, 32], weight)]));
 * const data = arrayDataset({ inputs: { x: Tensor.from('float32', [2, 16], new Float32Array(32).fill(0.5)) } });
 * const report = await sensitivity(await builder.build(), data, { backend: referenceBackend() });
 * report.layers.map(({ format }) => format); // => ['foldable-int8', 'foldable-int4']
 * ```
 */
export async function sensitivity(
  model: Model,
  data: Dataset,
  options: SensitivityOptions,
): Promise<SensitivityReport> {
  await using trials = await precisionTrials(model, data, options);
  const layers = await measureLayers(trials);
  return { measure: trials.compare.measure, samples: trials.compare.samples, cost: trials.cost, layers };
}

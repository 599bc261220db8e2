import {
  createPassContext,
  errors,
  type Model,
  type PassContext,
  type PassReport,
  type PassResources,
  ReportBuilder,
  type RunOptions,
} from '@lithe/core';
import type { FitOptions, Optimizer, ParameterGroup } from '@lithe/training';
import { observe } from '../calibration/observe.ts';
import { finishQuantizationAware } from './finish.ts';
import { copyForTraining, prepare } from './prepare.ts';
import type { Prepared } from './prepared.ts';
import {
  type AwareQuantizationOptions,
  type AwareQuantizationSettings,
  type AwareTimes,
  awareSchema,
} from './settings.ts';
import { awareForm, formParts } from './training-form.ts';

/** Options of {@link quantizationAware}: what is quantized, when things settle, and what finds the first ranges. */
export interface QuantizationAwareOptions
  extends AwareQuantizationOptions,
    AwareTimes,
    PassResources,
    RunOptions {}

/** What `fit` and `trainingStep` are given beside the loss. */
export type AwareTraining = Required<Pick<FitOptions, 'optimizer' | 'forms' | 'trainable' | 'groups'>>;

/** A model on its way through quantization-aware training. */
export interface QuantizationAware {
  /**
   * The model with its pairs, weights still floats: train it. It computes what will be shipped, so that its accuracy is
   * the one to look at while training.
   */
  readonly model: Model;
  /**
   * What training needs: spread it into the options of `fit`. Learned scales get gradients and learning rates of their
   * own, by the optimizer.
   *
   * @param trainable which of the model's weights learn; all by default
   */
  training(optimizer: Optimizer, trainable?: (name: string) => boolean): AwareTraining;
  /** The trained model as integers: {@link finishQuantizationAware}. */
  finish(trained: Model): Promise<Model>;
  /** What is quantized, and what stays float. */
  readonly report: PassReport;
}

/**
 * Prepares a float model for training with quantization in it: pairs of `QuantizeLinear` and `DequantizeLinear` stand where
 * static quantization puts them, in front of and behind convolutions and products that the target runs in integers, and
 * behind their weights. Training goes straight through the rounding, so that weights move to where it does no harm; ranges
 * follow the batches or learn; batch normalization is folded into the weights, as it will be in the shipped model.
 *
 * @param model a trained float model, best with its batch normalizations; it is not changed
 * @throws {LitheError} OPTIONS_INVALID; PASS_NEEDS without `stats`, and without data and backend to find them
 * @see Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 *   2018; Esser et al., "Learned Step Size Quantization", 2020
 * @example
 * ```ts
 * import { arrayDataset, Tensor } from '@lithe/core';
 * import { referenceBackend } from '@lithe/core/reference';
 * import { crossEntropy, fit, mlp, sampleTable, sgd } from '@lithe/training';
 * import { quantizationAware } from '@lithe/quantization';
 *
 * const model = await mlp({ inputs: 4, hidden: [64], classes: 2 });
 * const inputs = { x: Tensor.from('float32', [8, 4], Float32Array.from({ length: 32 }, (_, at) => (at % 5) - 2)) };
 * const targets = { label: Tensor.from('int64', [8], BigInt64Array.of(0n, 1n, 0n, 1n, 1n, 0n, 1n, 0n)) };
 * const backend = referenceBackend();
 *
 * const aware = await quantizationAware(model, { data: arrayDataset({ inputs }), backend, weightBits: 4 });
 * const { model: trained } = await fit(aware.model, sampleTable({ inputs, targets }), {
 *   ...aware.training(sgd({ momentum: 0.9 })),
 *   loss: crossEntropy({ logits: 'logits' }),
 *   learningRate: 0.01,
 *   epochs: 2,
 *   batchSize: 4,
 *   backend,
 * });
 * const shipped = await aware.finish(trained);
 * [...shipped.graph.initializers].filter(({ dtype }) => dtype === 'int8').length > 0; // => true
 * ```
 */
export async function quantizationAware(
  model: Model,
  options: QuantizationAwareOptions = {},
): Promise<QuantizationAware> {
  const {
    backend,
    data,
    target,
    trainingData,
    models,
    store,
    opset,
    seed,
    signal,
    onProgress,
    log,
    now,
    ...rest
  } = options;
  const { quantizeActivationsAt, freezeRangesAt, freezeBatchNormAt, ...own } = rest;
  const parsed = awareSchema.safeParse(own);
  if (!parsed.success) {
    throw errors.optionsInvalid(
      'quantizationAware',
      parsed.error.issues.map(({ path, message }) => `"${path.join('.')}": ${message}.`),
    );
  }
  const times = { quantizeActivationsAt, freezeRangesAt, freezeBatchNormAt };
  checkTimes(times);
  const resources = { backend, data, target, trainingData, models, store, opset };
  const context = createPassContext({ ...resources, seed, signal, onProgress, log, now });
  const copy = copyForTraining(model);
  const report = new ReportBuilder();
  const made = await prepareAware(copy, { settings: parsed.data, times, context, report });
  return { model: copy, ...made, finish: finishQuantizationAware, report: report.build() };
}

function checkTimes(times: AwareTimes): void {
  const wrong = Object.entries(times).filter(([, at]) => at !== undefined && !(at >= 0));
  if (wrong.length > 0) {
    throw errors.optionsInvalid(
      'quantizationAware',
      wrong.map(([name]) => `"${name}" must be 0 or more updates.`),
    );
  }
}

/** Prepares a draft in place, and says how it is trained. */
export async function prepareAware(
  draft: Model,
  {
    settings,
    times,
    context,
    report,
    pass = 'quantizationAware',
  }: {
    readonly settings: AwareQuantizationSettings;
    readonly times: AwareTimes;
    readonly context: PassContext;
    readonly report: ReportBuilder;
    readonly pass?: string | undefined;
  },
): Promise<Pick<QuantizationAware, 'training'>> {
  const prepared = await prepare(draft, {
    settings,
    context,
    report,
    observe: async (model) => {
      if (settings.stats !== undefined) return settings.stats;
      const { backend, trainingData, data = trainingData } = context;
      if (backend === undefined || data === undefined) {
        const missing = [
          ...(data === undefined ? ['data'] : []),
          ...(backend === undefined ? ['backend'] : []),
        ];
        throw errors.passNeeds(pass, missing);
      }
      return await observe(model, data, { backend, context, samples: settings.calibrationSamples });
    },
  });
  const forms = [awareForm(formParts(prepared), { ...times, rangeDecay: settings.rangeDecay })];
  const steps = prepared.steps.map(({ step }) => step.raw.name);
  const own = new Set(prepared.weights);
  const learned = new Set(steps);
  return {
    training: (optimizer, trainable = () => true) => ({
      optimizer,
      forms,
      trainable: (name) => learned.has(name) || (own.has(name) && trainable(name)),
      groups: stepGroups(prepared, optimizer),
    }),
  };
}

/**
 * How learned steps move. Their gradients are scaled by 1 / sqrt(N Q) (Esser et al., 2020, section 2.2), so that they
 * change at the pace of the weights. N counts the weights of the layer also where each channel has a step, as torch.ao
 * does; the elements of one channel, which some take, would make these scales sqrt(channels) times larger. Optimizers such as Adam undo any such factor; with them the learning rate is scaled
 * by the size of the step over that of the weights, which has the same aim. Decay would only make steps smaller.
 */
function stepGroups({ steps }: Prepared, optimizer: Optimizer): readonly ParameterGroup[] {
  return steps.map(({ step, magnitude }) => {
    const { elements, levels, first } = step;
    const { name } = step.raw;
    const common = { matches: (other: string): boolean => other === name, weightDecay: 0 };
    if (optimizer.scaleInvariant !== true)
      return { ...common, gradientScale: 1 / Math.sqrt(Math.max(1, elements * levels)) };
    return magnitude > 0 ? { ...common, learningRateScale: first / magnitude } : common;
  });
}

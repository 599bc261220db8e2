import type { StepList } from '@lithe/core';
import {
  batchNormalizationReestimation,
  bfloat16Storage,
  type CalibratorName,
  crossLayerEqualization,
  dynamicInt8,
  float16Compute,
  float16Storage,
  foldableWeights,
  mixedPrecision,
  normalFloat4,
  type PrecisionFormatName,
  type RecoveryOptions,
  smoothQuant,
  staticInt8,
  tableRows,
  type WeightAlgorithmName,
  type WeightOnlyOptions,
  weightOnly,
  withRecovery,
} from '@lithe/quantization';

/** Sizes of blocks that `--block-size` takes. */
export const blockSizes = [16, 32, 64, 128, 256] as const;

/** A size of blocks. */
export type BlockSize = (typeof blockSizes)[number];

/** What a scheme's passes are made of: options of the command that were given. */
export interface SchemeOptions {
  /** Weights per scale, for schemes in blocks. */
  readonly blockSize?: BlockSize;
  /** Whether blocks have zero points. */
  readonly asymmetric?: boolean;
  /** How integers of weights are chosen. */
  readonly algorithm?: WeightAlgorithmName;
  /** `accuracy_level` of `MatMulNBits`. */
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4;
  /** What becomes of tables of embeddings. */
  readonly embeddings?: 'auto' | 'int8' | 'int4' | 'float';
  /** Names of nodes that stay float. */
  readonly exclude?: readonly string[];
  /** Samples to calibrate on. */
  readonly samples?: number;
  /** How ranges follow from what was seen. */
  readonly calibrator?: CalibratorName;
  /** Form of integer operators. */
  readonly format?: 'qdq' | 'qoperator';
  /** Type of activations. */
  readonly activations?: 'auto' | 'uint8' | 'int8' | 'uint16' | 'int16';
  /** 7 bits for signed weights. */
  readonly reduceRange?: boolean | 'auto';
  /** Whether neighbouring layers are equalized first. */
  readonly equalize?: boolean;
  /** Whether outliers of activations move into weights first. */
  readonly smooth?: boolean;
  /** Whether statistics of batch normalizations are taken anew first. */
  readonly reestimateBatchNorm?: boolean;
  /** Which correction of biases follows. */
  readonly biasCorrection?: 'fast' | 'empirical' | 'none';
  /** Whether rounding is learned. */
  readonly adaRound?: boolean;
  /** Whether layers that suffer go back to float: by default limits, or until the outputs keep so many decibels. */
  readonly fallback?: true | number;
  /** Whether convolutions are quantized dynamically. */
  readonly convolutions?: boolean;
  /** Type of inputs and outputs of a float16 model. */
  readonly io?: 'float32' | 'float16';
  /** Operators that stay float32 in a float16 model. */
  readonly keepOperators?: readonly string[];
  /** Drift that a mixed assignment may have. */
  readonly maxDrift?: number;
  /** Formats of a mixed assignment. */
  readonly formats?: readonly PrecisionFormatName[];
}

/** A way to quantize. */
export interface Scheme {
  /** One line for the help. */
  readonly summary: string;
  /** Whether it cannot do without real inputs. */
  readonly calibrated?: boolean;
  /** Whether it multiplies signed weights of 8 bits, whose sums some processors saturate. */
  readonly mayOverflow?: boolean;
  /** The options that mean something to it. */
  readonly takes: readonly (keyof SchemeOptions)[];
  /** Its passes. */
  readonly steps: (options: SchemeOptions) => StepList;
}

const recoveryNames = ['biasCorrection', 'adaRound', 'fallback'] as const;
const beforeNames = ['equalize', 'smooth', 'reestimateBatchNorm'] as const;
const dequantizeNames = ['blockSize', 'asymmetric', 'algorithm', 'embeddings', 'exclude', 'samples'] as const;

/** Recovery as the options ask for it; `undefined` when they do not. */
export function recoveryOf(options: SchemeOptions): RecoveryOptions | undefined {
  const { biasCorrection, adaRound, fallback } = options;
  if (recoveryNames.every((name) => options[name] === undefined)) return undefined;
  return {
    biasCorrection,
    adaRound,
    fallback: fallback === undefined ? 'none' : fallback === true ? 'auto' : { outputSqnrDb: fallback },
  };
}

/** Passes over the model as it is given: simplifying folds batch normalizations away. */
export function beforeSimplifying({ reestimateBatchNorm, samples }: SchemeOptions): StepList {
  const how = samples === undefined ? {} : { samples };
  return [reestimateBatchNorm === true && batchNormalizationReestimation(how)];
}

/** Passes that prepare the simplified float model. */
function before(options: SchemeOptions): StepList {
  const { samples } = options;
  const how = samples === undefined ? {} : { samples };
  return [
    options.equalize === true && crossLayerEqualization(how),
    options.smooth === true && smoothQuant(how),
  ];
}

function foldable(bits: 4 | 8, options: SchemeOptions): StepList {
  const { blockSize, algorithm, samples, exclude = [] } = options;
  const recovery = recoveryOf(options);
  const make = (more: readonly string[]) =>
    foldableWeights({ bits, blockSize, algorithm, samples, exclude: [...exclude, ...more] });
  return [recovery === undefined ? make([]) : withRecovery(make, recovery)];
}

function blocks(base: WeightOnlyOptions, options: SchemeOptions): StepList {
  const { blockSize, asymmetric, algorithm, accuracyLevel, embeddings, exclude, samples } = options;
  const symmetric = asymmetric === undefined ? undefined : !asymmetric;
  return [
    weightOnly({ ...base, blockSize, symmetric, algorithm, accuracyLevel, embeddings, exclude, samples }),
  ];
}

/** Ways to quantize, by the name that `--scheme` takes. */
export const schemes: Readonly<Record<string, Scheme>> = {
  'foldable-int8': {
    summary: 'int8 weights, expanded by the runtime at load; 4x smaller at float speed, everywhere',
    takes: ['blockSize', 'algorithm', 'exclude', 'samples', ...recoveryNames],
    steps: (options) => foldable(8, options),
  },
  'foldable-int4': {
    summary: 'int4 weights, expanded by the runtime at load; about 6x smaller at float speed',
    takes: ['blockSize', 'algorithm', 'exclude', 'samples', ...recoveryNames],
    steps: (options) => foldable(4, options),
  },
  'float16-storage': {
    summary: 'float16 weights, expanded by the runtime at load; 2x smaller, nearly exact',
    takes: [],
    steps: () => [float16Storage()],
  },
  'bfloat16-storage': {
    summary:
      'bfloat16 weights, expanded by the runtime at load; 2x smaller, exact if trained so; not for WebGPU',
    takes: [],
    steps: () => [bfloat16Storage()],
  },
  float16: {
    summary: 'float16 weights and arithmetic, for GPUs; with --calibrate, what overflows stays float32',
    takes: ['exclude', 'samples', 'io', 'keepOperators'],
    steps: ({ exclude, samples, io, keepOperators }) => [
      float16Compute({ exclude, samples, io, keepOperators }),
    ],
  },
  'weight-int8': {
    summary: 'int8 weights of matrix products in blocks behind DequantizeLinear',
    takes: dequantizeNames,
    steps: (options) => blocks({ bits: 8, format: 'dequantize-linear' }, options),
  },
  'weight-int4': {
    summary: 'int4 weights of matrix products in blocks for MatMulNBits: language models on a CPU or GPU',
    takes: [...dequantizeNames, 'accuracyLevel'],
    steps: (options) => blocks({ bits: 4, format: 'matmul-nbits' }, options),
  },
  'weight-int4-dq': {
    summary: 'int4 weights of matrix products in blocks behind DequantizeLinear (opset 21)',
    takes: dequantizeNames,
    steps: (options) => blocks({ bits: 4, format: 'dequantize-linear' }, options),
  },
  'weight-nf4': {
    summary: '4-bit NormalFloat weights for MatMulBnb4, the format of bitsandbytes',
    takes: ['blockSize'],
    steps: ({ blockSize }) => [normalFloat4({ blockSize })],
  },
  'table-int8': {
    summary: 'int8 rows for tables of embeddings; the rest stays float',
    takes: [],
    steps: () => [tableRows()],
  },
  'dynamic-int8': {
    summary: 'int8 matrix products, activations quantized as they come: transformers on a CPU or WASM',
    mayOverflow: true,
    takes: ['reduceRange', 'embeddings', 'convolutions', 'smooth', 'samples'],
    steps: (options) => [
      before(options),
      dynamicInt8({
        reducedRange: options.reduceRange === true,
        embeddings: options.embeddings === 'int8',
        convolutions: options.convolutions,
      }),
    ],
  },
  'static-int8': {
    summary: 'int8 arithmetic with calibrated activations: convolutional networks on a CPU or WASM',
    calibrated: true,
    mayOverflow: true,
    takes: [
      ...(['calibrator', 'format', 'activations', 'reduceRange', 'samples', 'exclude'] as const),
      ...beforeNames,
      ...recoveryNames,
    ],
    steps: (options) => [
      before(options),
      staticInt8({
        calibrator: options.calibrator,
        format: options.format,
        activations: options.activations,
        reducedRange: options.reduceRange,
        samples: options.samples,
        exclude: options.exclude,
        recovery: recoveryOf(options),
      }),
    ],
  },
  mixed: {
    summary: 'a format for each layer: the smallest file whose outputs stay within --max-drift',
    calibrated: true,
    takes: ['maxDrift', 'formats', 'samples'],
    steps: ({ maxDrift, formats, samples }) => [
      mixedPrecision({ budget: maxDrift === undefined ? undefined : { drift: maxDrift }, formats, samples }),
    ],
  },
};

/** Whether a call cannot do without real inputs. */
export function needsInputs(scheme: Scheme, options: SchemeOptions): boolean {
  return (
    scheme.calibrated === true ||
    options.algorithm === 'gptq' ||
    options.algorithm === 'awq' ||
    options.smooth === true ||
    recoveryOf(options) !== undefined
  );
}

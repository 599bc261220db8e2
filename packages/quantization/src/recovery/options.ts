import { z } from 'zod';

/** How the rounding of weights is learned. */
export interface AdaRoundOptions {
  /** Steps per layer; 1,000 by default. More help 4-bit weights a little. */
  readonly iterations?: number | undefined;
  /** Rows (positions of samples) that a layer learns from; 8,192 by default. */
  readonly rows?: number | undefined;
  /** Rows of one step; 256 by default. */
  readonly batchRows?: number | undefined;
  /** Adam's learning rate; 0.01 by default. */
  readonly learningRate?: number | undefined;
  /** Weight of the regularizer that drives each weight to one side; 0.01 by default. */
  readonly regularization?: number | undefined;
}

/** Which layers stay in float. */
export interface FallbackOptions {
  /** Layers whose own error (on the float model's inputs) is worse stay in float; 10 dB by default. */
  readonly minimumSqnrDb?: number | undefined;
  /**
   * Signal to noise that the model's outputs must keep: while they are below, the worst layers go back to float, as
   * long as that helps. Not asked for by default; 20 dB with `auto`.
   */
  readonly outputSqnrDb?: number | undefined;
  /** Share of the layers that may go back at most; 0.5 by default. */
  readonly share?: number | undefined;
}

/** What is done to a model after its weights and activations became integers. */
export interface RecoveryOptions {
  /**
   * What rounding shifts the mean of each channel by is taken off its bias. `fast` (default): each layer alone, in one
   * run of the float model. `empirical`: layer after layer, on the inputs that the layers before it then give. `none`:
   * the default with `adaRound`, which brings means back itself (measured: 23.1 dB alone, 21.9 dB with `fast` behind it).
   */
  readonly biasCorrection?: 'fast' | 'empirical' | 'none' | undefined;
  /** With `empirical`: bring the deviation of each channel back too, where weights have a scale per channel. Off by default. */
  readonly matchVariance?: boolean | undefined;
  /** Learn whether each weight is rounded up or down, layer after layer. Off by default: it takes about a second a layer. */
  readonly adaRound?: boolean | AdaRoundOptions | undefined;
  /** Leave layers that suffer in float. `auto` is `{ outputSqnrDb: 20 }`; `none` by default. */
  readonly fallback?: 'none' | 'auto' | FallbackOptions | undefined;
  /** Whether the error of every layer is measured and reported; on with a fallback, else off by default. */
  readonly layerQuality?: boolean | undefined;
  /** Samples of the context's data that corrections are measured on; 256 by default. */
  readonly samples?: number | undefined;
  /** Samples that rounding is learned on; 1,024 by default. */
  readonly roundingSamples?: number | undefined;
}

/** {@link RecoveryOptions} with defaults filled in. */
export interface RecoverySettings {
  /** See {@link RecoveryOptions.biasCorrection}. */
  readonly biasCorrection: 'fast' | 'empirical' | 'none';
  /** See {@link RecoveryOptions.matchVariance}. */
  readonly matchVariance: boolean;
  /** See {@link RecoveryOptions.adaRound}; `undefined` when off. */
  readonly adaRound: Required<{ [K in keyof AdaRoundOptions]: number }> | undefined;
  /** See {@link RecoveryOptions.fallback}; `undefined` when off. */
  readonly fallback: FallbackSettings | undefined;
  /** See {@link RecoveryOptions.layerQuality}. */
  readonly layerQuality: boolean;
  /** See {@link RecoveryOptions.samples}. */
  readonly samples: number;
  /** See {@link RecoveryOptions.roundingSamples}. */
  readonly roundingSamples: number;
}

/** {@link FallbackOptions} with defaults filled in. */
export interface FallbackSettings {
  /** See {@link FallbackOptions.minimumSqnrDb}. */
  readonly minimumSqnrDb: number;
  /** See {@link FallbackOptions.outputSqnrDb}. */
  readonly outputSqnrDb: number | undefined;
  /** See {@link FallbackOptions.share}. */
  readonly share: number;
}

const adaRound = z.strictObject({
  iterations: z.int().min(1).default(1000),
  rows: z.int().min(8).default(8192),
  batchRows: z.int().min(1).default(256),
  learningRate: z.number().positive().default(0.01),
  regularization: z.number().positive().default(0.01),
});

const fallback = z.strictObject({
  minimumSqnrDb: z.number().default(10),
  outputSqnrDb: z.number().optional(),
  share: z.number().min(0).max(1).default(0.5),
});

/** Schema of {@link RecoveryOptions}. */
export const recoveryOptions: z.ZodType<RecoverySettings, RecoveryOptions> = z
  .strictObject({
    biasCorrection: z.enum(['fast', 'empirical', 'none']).optional(),
    matchVariance: z.boolean().default(false),
    adaRound: z.union([z.boolean(), adaRound]).default(false),
    fallback: z.union([z.enum(['none', 'auto']), fallback]).default('none'),
    layerQuality: z.boolean().optional(),
    samples: z.int().min(1).default(256),
    roundingSamples: z.int().min(1).default(1024),
  })
  .transform((given): RecoverySettings => {
    const whole = given.fallback === 'auto' ? fallback.parse({ outputSqnrDb: 20 }) : given.fallback;
    const found = whole === 'none' ? undefined : { ...whole, outputSqnrDb: whole.outputSqnrDb };
    return {
      ...given,
      biasCorrection: given.biasCorrection ?? (given.adaRound === false ? 'fast' : 'none'),
      adaRound:
        given.adaRound === true ? adaRound.parse({}) : given.adaRound === false ? undefined : given.adaRound,
      fallback: found,
      layerQuality: given.layerQuality ?? found !== undefined,
    };
  });

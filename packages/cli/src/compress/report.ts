import type { Skip } from '@lithe/core';
import type { Objective } from '../options.ts';
import type { NotTried } from './candidates.ts';

/** Bytes of the file before and after. */
export interface SizeChange {
  /** Bytes of the original file, external data included. */
  readonly before: number;
  /** Bytes of the result. */
  readonly after: number;
  /** before / after. */
  readonly ratio: number;
}

/** Latency in the target runtime, original and result measured in turn. */
export interface LatencyChange {
  /** Median milliseconds of the original. */
  readonly beforeMs: number;
  /** Median milliseconds of the result. */
  readonly afterMs: number;
  /** Median of the paired ratios before / after. */
  readonly speedup: number;
  /** 95 % confidence interval of the speedup. */
  readonly interval: readonly [number, number];
}

/** Difference of outputs, original against result. */
export interface DriftFigures {
  /** Signal to noise ratio in decibels, worst output; 200 when the outputs are equal. */
  readonly sqnrDb: number;
  /** Cosine similarity, worst output. */
  readonly cosine: number;
  /** Largest absolute difference. */
  readonly maxAbs: number;
  /** Share of predictions whose best class is the same, where an output holds class scores. */
  readonly top1Agreement?: number | undefined;
  /** Predictions that `top1Agreement` was taken over. */
  readonly rows?: number | undefined;
}

/** Task metric before and after. */
export interface AccuracyChange {
  /** Name of the metric. */
  readonly metric: string;
  /** Value of the original. */
  readonly before: number;
  /** Value of the result. */
  readonly after: number;
}

/** How much a result may differ. */
export interface Limits {
  /**
   * Largest drop of the metric, 0.01 being one point. Where there are no labels, three times this share of predictions
   * may change.
   */
  readonly maxDrop: number;
  /** Smallest signal to noise ratio of the outputs, in decibels, where there are no labels. */
  readonly minSqnrDb: number;
}

/** What a pass did, in short. */
export interface PassSummary {
  /** `namespace/name`. */
  readonly pass: string;
  /** Number of places changed. */
  readonly applied: number;
  /** Places left alone, and why. */
  readonly skipped: readonly Skip[];
}

/** What became of one candidate. */
export interface CandidateResult {
  /** Format. */
  readonly name: string;
  /** One sentence. */
  readonly summary: string;
  /** Size, when it was built. */
  readonly size?: SizeChange | undefined;
  /** Latency, when it ran. */
  readonly latency?: LatencyChange | undefined;
  /** Drift, when it ran. */
  readonly drift?: DriftFigures | undefined;
  /** Accuracy, when there is labelled data. */
  readonly accuracy?: AccuracyChange | undefined;
  /** What its passes did. */
  readonly passes: readonly PassSummary[];
  /** Why it could not be built or run, as a clause. */
  readonly failure?: string | undefined;
  /** Whether it was chosen. */
  readonly chosen: boolean;
  /** Why it was not chosen, as a clause. */
  readonly reason?: string | undefined;
}

/** The evidence of a compression. */
export interface CompressReport {
  /** Path of the model. */
  readonly model: string;
  /** Path of the result; `null` when nothing was written. */
  readonly output: string | null;
  /** Name of the candidate that was written; `original` when nothing was better. */
  readonly chosen: string;
  /** Runtime the figures were taken in. */
  readonly target: {
    /** Name of the target. */
    readonly name: string;
    /** The runtime and its version. */
    readonly runtime: string;
    /** Threads of the runtime. */
    readonly threads: number;
  };
  /** What was asked for. */
  readonly objective: Objective;
  /** How much was allowed. */
  readonly limits: Limits;
  /** Inputs the figures were taken on. */
  readonly data: {
    /** Where they came from. */
    readonly source: string;
    /** How many were used. */
    readonly samples: number;
    /** Whether they are made up. */
    readonly random: boolean;
  };
  /** Size of the file. */
  readonly size: SizeChange;
  /** Latency in the target. */
  readonly latency: LatencyChange;
  /** Difference of outputs. */
  readonly drift: DriftFigures;
  /** Task metric, with labelled data. */
  readonly accuracy?: AccuracyChange | undefined;
  /** Everything that was built and measured. */
  readonly candidates: readonly CandidateResult[];
  /** Formats left out from the start. */
  readonly notTried: readonly NotTried[];
  /** What the user should know. */
  readonly warnings: readonly string[];
}

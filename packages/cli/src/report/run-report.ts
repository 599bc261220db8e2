import type { StepReport } from '@lithe/core';
import type { DriftFigures, LatencyChange } from '../compress/report.ts';

/** Weights of one layer, as a histogram. */
export interface WeightHistogram {
  /** Name of the initializer. */
  readonly weight: string;
  /** Smallest and largest weight: the ends of the bins. */
  readonly range: readonly [number, number];
  /** Weights in each bin of equal width, from the smallest. */
  readonly counts: readonly number[];
  /** Weights that are exactly 0. */
  readonly zeros: number;
}

/** Latency of one step's model at one batch size, beside the original of the run, in turn. */
export interface BatchLatency extends LatencyChange {
  /** Samples at a time. */
  readonly batch: number;
}

/** What one step of a recipe left, for one seed. */
export interface StepResult {
  /** Name of the step, unique in the recipe. */
  readonly name: string;
  /** Pass: `namespace/name`. */
  readonly use: string;
  /** Step that it started from; `null` for the model of the recipe. */
  readonly from: string | null;
  /** Whether it is a control: made to compare with, not on the way to the result. */
  readonly control: boolean;
  /** What the pass did; figures and tables among it. */
  readonly pass: StepReport;
  /** File with its model, relative to the run's folder. */
  readonly file: string;
  /** Bytes of that file. */
  readonly bytes: number;
  /** Weights. */
  readonly parameters: number;
  /** Multiplications for one sample. */
  readonly macs: number;
  /** Metric of the recipe on its test data, where there is any. */
  readonly metric?: number | undefined;
  /** Latency beside the original at each batch size that was asked for; empty when it could not run, see `failure`. */
  readonly latency: readonly BatchLatency[];
  /** Outputs beside those of the step it started from; absent where they cannot be compared. */
  readonly drift?: DriftFigures | undefined;
  /** Weights by layer, for the plots. */
  readonly weights: readonly WeightHistogram[];
  /** Why it could not be run or measured, as a clause. */
  readonly failure?: string | undefined;
  /** Whether its result was there from an earlier run. */
  readonly resumed: boolean;
}

/** One seed of a recipe. */
export interface SeedResult {
  /** The seed. */
  readonly seed: number;
  /** The model before any step, under the name `original`. */
  readonly original: Pick<
    StepResult,
    'file' | 'bytes' | 'parameters' | 'macs' | 'metric' | 'latency' | 'weights'
  >;
  /** Steps in order. */
  readonly steps: readonly StepResult[];
}

/** A limit of the recipe, and how the result stands to it; the mean over seeds counts, of ratios the geometric one. */
export interface LimitCheck {
  /** Such as `loses at most 0.5 points`. */
  readonly limit: string;
  /** What was measured, as a text with its unit. */
  readonly measured: string;
  /** Whether it holds. */
  readonly met: boolean;
}

/** Samples that a run used. */
export interface UsedData {
  /** Where they came from. */
  readonly source: string;
  /** How many. */
  readonly samples: number;
}

/** What a metric compares. */
export interface ScoredParts {
  /** Output of the model that holds the class scores. */
  readonly output: string;
  /** Target of the samples that holds the class numbers. */
  readonly label: string;
}

/** Everything that running a recipe found: what the terminal, JSON and HTML reports show. */
export interface RunReport {
  /** Version of this format. */
  readonly report: 1;
  /** Name of the recipe. */
  readonly name: string;
  /** Text of the recipe, as it was run. */
  readonly recipe: string;
  /** ISO date and time of the report. */
  readonly date: string;
  /** Where it ran. */
  readonly target: {
    /** Name of the target. */
    readonly name: string;
    /** The runtime and its version. */
    readonly runtime: string;
    /** Threads of the runtime. */
    readonly threads: number;
    /** Processor, operating system and Node version. */
    readonly machine: string;
  };
  /** What was measured on. */
  readonly data: {
    /** Samples that were trained on; `null` without training. */
    readonly train: UsedData | null;
    /** Samples that the metric was taken on; `null` where there are no labels. */
    readonly test: UsedData | null;
  };
  /** Name of the metric, `accuracy`; `null` without labelled data. */
  readonly metric: string | null;
  /** What the metric compares; absent without labelled data, and in reports of earlier versions. */
  readonly scored?: ScoredParts | undefined;
  /** Step that the others are compared with: its metric, bytes and latency are 1x. */
  readonly baseline: string;
  /** Step whose model is the result. */
  readonly result: string;
  /** File that the result of the first seed was written to. */
  readonly output: string | null;
  /** One entry per seed. */
  readonly seeds: readonly SeedResult[];
  /** Limits and how they stand. */
  readonly limits: readonly LimitCheck[];
  /** What the user should know, as sentences. */
  readonly warnings: readonly string[];
}

import type { TargetName } from '../options.ts';

/** Samples in a file or folder. */
export interface DataFileSource {
  /** Folder or file: `.npz`, `.npy`, IDX or images, relative to the recipe. */
  readonly path: string;
  /** How many samples are taken, by chance, the same ones each time; all by default. */
  readonly samples?: number | undefined;
  /** Which pair of IDX files, where a folder has several: `train`, `t10k`. */
  readonly part?: string | undefined;
  /** Image preprocessing, or a JSON file with it; `preprocessing.json` beside the images by default. */
  readonly preprocess?: string | Readonly<Record<string, unknown>> | undefined;
}

/** Samples for ranges and checks; without a path some of those to train on. */
export interface CalibrationSource extends Omit<DataFileSource, 'path'> {
  /** Folder or file, relative to the recipe. */
  readonly path?: string | undefined;
}

/** The model that a recipe starts from: an ONNX file, or a ready network. */
export type RecipeModel =
  | string
  | {
      /** ONNX file, relative to the recipe. */
      readonly path: string;
      /** Whole shapes of inputs whose sizes the file leaves open, by name. */
      readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
      /** Contents of inputs that must not be random, by name, where no data is given: a sampling rate, a mask. */
      readonly values?: Readonly<Record<string, number | readonly number[]>> | undefined;
    }
  | {
      /** Ready network of `@lithe/training`, by name. */
      readonly network: string;
      /** Its options. */
      readonly with?: Readonly<Record<string, unknown>> | undefined;
    };

/** Runtime to compress for and to measure in. */
export interface RecipeTarget {
  /** Its name. */
  readonly name: TargetName;
  /** Threads of the runtime. */
  readonly threads: number;
  /** Batch sizes that latency is measured at. */
  readonly batches: readonly number[];
  /** Rounds of a measurement; in each the models take turns. With 0 no latency is measured. */
  readonly rounds: number;
}

/** What the metric, the accuracy, compares. */
export interface RecipeMetric {
  /** Output of the model that holds class scores, by name; the first by default. */
  readonly output?: string | undefined;
  /** Target of `data.test` that holds class numbers, by name; `label` by default. */
  readonly label?: string | undefined;
}

/** What the result must keep. */
export interface RecipeLimits {
  /** Largest loss of the metric against the baseline; 0.01 is one point. */
  readonly maxDrop?: number | undefined;
  /** How many times smaller than the baseline the file must be. */
  readonly minSmaller?: number | undefined;
  /** How many times faster than the baseline it must be, by batch size. */
  readonly minSpeedup?: Readonly<Record<string, number>> | undefined;
}

/** A step as a recipe has it. */
export interface RecipeStep {
  /** Name; by default the last part of `use`, numbered when taken twice. */
  readonly name?: string | undefined;
  /** Pass of a listed plugin: `namespace/name` or `namespace/name@version`. */
  readonly use: string;
  /** Step that it starts from, or `original`; by default the one before that is no control. */
  readonly from?: string | undefined;
  /** Whether it is made only to compare with. */
  readonly control: boolean;
  /** Options of the pass. */
  readonly with: Readonly<Record<string, unknown>>;
}

/** A recipe, checked, with defaults. */
export interface Recipe {
  /** Version of the format. */
  readonly recipe: 1;
  /** Title of the report; the name of the file by default. */
  readonly name?: string | undefined;
  /** Seed of everything random; 0 by default. */
  readonly seed?: number | undefined;
  /** Several seeds: everything is run for each, and the mean counts. */
  readonly seeds?: readonly number[] | undefined;
  /** Packages whose passes the steps use. */
  readonly plugins: readonly string[];
  /** What it starts from. */
  readonly model: RecipeModel;
  /** Samples. */
  readonly data: {
    /** Labelled samples to train on. */
    readonly train?: string | DataFileSource | undefined;
    /** Labelled samples that the metric is taken on; training never sees them. */
    readonly test?: string | DataFileSource | undefined;
    /** Samples for ranges and checks; 256 of `train` by default. */
    readonly calibration?: string | CalibrationSource | undefined;
  };
  /** What the metric compares. */
  readonly metric?: RecipeMetric | undefined;
  /** Runtime to compress for and to measure in. */
  readonly target: RecipeTarget;
  /** Step that the others are compared with. */
  readonly baseline: string;
  /** Step whose model is the result; the last one that is no control by default. */
  readonly result?: string | undefined;
  /** File that the result of the first seed is written to, when it keeps the limits. */
  readonly output?: string | undefined;
  /** What the result must keep. */
  readonly limits: RecipeLimits;
  /** Passes, in order. */
  readonly steps: readonly RecipeStep[];
}

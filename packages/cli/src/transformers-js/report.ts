import type { TransformersJsDType } from '@lithe/quantization';
import type { DriftFigures, LatencyChange, PassSummary, SizeChange } from '../compress/report.ts';

/** What became of a file in one runtime. */
export type Verification =
  | {
      /** It ran. */
      readonly state: 'measured';
      /** Name of the runtime. */
      readonly target: string;
      /** Difference of outputs from the float model's. */
      readonly drift: DriftFigures;
      /** Latency, the float model and the file in turn. */
      readonly latency: LatencyChange;
    }
  | {
      /** `unverified`: this machine cannot tell; `failed`: the runtime refuses the file. */
      readonly state: 'unverified' | 'failed';
      /** Name of the runtime. */
      readonly target: string;
      /** Why, as a clause. */
      readonly reason: string;
    };

/** One file of a set. */
export interface SetFile {
  /** The dtype it is loaded by. */
  readonly dtype: TransformersJsDType;
  /** One sentence. */
  readonly summary: string;
  /** Path of the model file, whether it was written or not. */
  readonly path: string;
  /** Bytes, external data included; `undefined` when it could not be built. */
  readonly size?: SizeChange | undefined;
  /** Files of external data. */
  readonly dataFiles: number;
  /** What each runtime says. */
  readonly verifications: readonly Verification[];
  /** What its passes did. */
  readonly passes: readonly PassSummary[];
  /** `written`; `kept`: it is the input; `skipped`: it would be the float model; `refused`: see `reason`. */
  readonly state: 'written' | 'kept' | 'skipped' | 'refused';
  /** Why it was not written, as a clause. */
  readonly reason?: string | undefined;
}

/** What became of a set. */
export interface SetReport {
  /** Path of the model. */
  readonly model: string;
  /** Folder of the files. */
  readonly output: string;
  /** `model_type` that the settings follow. */
  readonly modelType: string | undefined;
  /** Inputs that drift and latency were taken on. */
  readonly data: {
    /** Where they came from. */
    readonly source: string;
    /** How many. */
    readonly samples: number;
    /** Whether they are random numbers, which mislead. */
    readonly random: boolean;
  };
  /** Runtimes that were asked, with their versions. */
  readonly targets: readonly {
    /** Name of the target. */
    readonly name: string;
    /** Runtime and version. */
    readonly runtime: string;
    /** Threads it ran with. */
    readonly threads: number;
  }[];
  /** Smallest signal to noise ratio that was allowed, in decibels. */
  readonly minSqnrDb: number;
  /** The files. */
  readonly files: readonly SetFile[];
  /** Other files written: configuration. */
  readonly configuration: readonly string[];
  /** What the user should know. */
  readonly warnings: readonly string[];
}

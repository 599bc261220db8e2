import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Backend } from '../backend/backend.ts';
import type { Target } from '../backend/target.ts';
import type { ArtifactStore } from '../context/artifact-store.ts';
import type { RunContext } from '../context/run-context.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Model } from '../ir/model.ts';
import type { OpSet } from '../op/op-set.ts';
import type { PassReport } from './report.ts';

/** A named, checkable property of a model. Shared values: a pass lists what it requires and what it ensures. */
export interface Invariant {
  /** Name, for messages. */
  readonly name: string;
  /** Every way the model breaks it, as full sentences; empty when it holds. */
  check(model: Model): readonly string[];
}

/**
 * How much a pass may change results, and so what the runner checks on real inputs: `bitwise` nothing;
 * `numerics` rounding only (relative difference at most 1e-3 of the largest output magnitude, and NaN stays NaN);
 * `accuracy` the task metric only: drift is measured and reported, not limited.
 */
export type Preservation = 'bitwise' | 'numerics' | 'accuracy';

/** What a pass may need from the context beyond a model. */
export type PassNeed = 'data' | 'backend' | 'target' | 'training-data';

/** What a pass works with. */
export interface PassContext extends RunContext {
  /** Runs models: for calibration and measurement. Present when the pass lists `backend` under `needs`. */
  readonly backend: Backend | undefined;
  /** Real inputs. Present when the pass lists `data` under `needs`. */
  readonly data: Dataset | undefined;
  /** What the model is compressed for. Present when the pass lists `target` under `needs`. */
  readonly target: Target | undefined;
  /** Labelled samples to train on. Present when the pass lists `training-data` under `needs`. */
  readonly trainingData: Dataset | undefined;
  /**
   * A model by name, such as a teacher: `original` is the one that the passes started from, others are what the caller
   * of `optimize` gave. Do not change it; clone it.
   *
   * @throws {LitheError} OPTIONS_INVALID when there is none of this name
   */
  modelNamed(name: string): Promise<Model>;
  /**
   * Where the pass may leave what it needs to go on after it was stopped, by a name of its own choice; `undefined` when
   * the caller keeps nothing.
   */
  store(name: string): ArtifactStore | undefined;
  /** Operators that are known. */
  readonly opset: OpSet;
}

/** How a pass is defined. */
export interface PassSpec<Input, Output> {
  /** `namespace/name`. */
  readonly name: `${string}/${string}`;
  /** Version of its options and behaviour. */
  readonly version: number;
  /** One sentence. */
  readonly summary: string;
  /** Schema of its options: zod, valibot, arktype or any other Standard Schema. */
  readonly options: StandardSchemaV1<Input, Output>;
  /** What it needs from the context; absent ones are an error before anything runs. */
  readonly needs?: readonly PassNeed[] | undefined;
  /**
   * Names of the models that it will ask the context for, from its options: so a recipe that names a model which is not
   * there is refused before anything runs. None by default.
   */
  models?: ((options: Output) => readonly string[]) | undefined;
  /** How much it may change results, where that depends on its options as a function of them. */
  readonly preserves: Preservation | ((options: Output) => Preservation);
  /** What must hold before it runs. */
  readonly requires?: readonly Invariant[] | undefined;
  /** What holds after it. */
  readonly ensures?: readonly Invariant[] | undefined;
  /** Edits the draft, a private copy, and tells what it did. Throwing leaves the caller's model as it was. */
  run(draft: Model, options: Output, context: PassContext): PassReport | Promise<PassReport>;
}

/** A pass with its options: a value that can be run, printed and serialized. */
export interface PassStep {
  /** `namespace/name`. */
  readonly name: string;
  /** Version of the pass. */
  readonly version: number;
  /** One sentence. */
  readonly summary: string;
  /** Options after validation. */
  readonly options: unknown;
  /** What it needs from the context. */
  readonly needs: readonly PassNeed[];
  /** Names of the models that it will ask the context for, as far as the pass tells. */
  readonly models?: readonly string[] | undefined;
  /** How much it may change results. */
  readonly preserves: Preservation;
  /** What must hold before it runs. */
  readonly requires: readonly Invariant[];
  /** What holds after it. */
  readonly ensures: readonly Invariant[];
  /** Runs it on a draft. */
  run(draft: Model, context: PassContext): Promise<PassReport>;
}

/** A pass: call it with options to get a step. */
export interface Pass<Input, Output> {
  /** Makes a step. Throws OPTIONS_INVALID when the options do not fit the schema. */
  (options?: Input): PassStep;
  /** The same for options that are data, from a recipe: nothing but the schema says whether they fit. */
  from(options?: unknown): PassStep;
  /** How it was defined. */
  readonly spec: PassSpec<Input, Output>;
}

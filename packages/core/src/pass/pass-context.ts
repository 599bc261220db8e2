import type { Backend } from '../backend/backend.ts';
import type { Target } from '../backend/target.ts';
import type { ArtifactStore } from '../context/artifact-store.ts';
import { createRunContext, type RunContext, type RunOptions } from '../context/run-context.ts';
import type { Dataset } from '../data/dataset.ts';
import { errors } from '../errors/catalogue.ts';
import type { Model } from '../ir/model.ts';
import type { OpSet } from '../op/op-set.ts';
import { standardOps } from '../ops/standard-ops.ts';
import type { PassContext } from './pass.ts';

/** What passes may use. */
export interface PassResources {
  /** Runs models, for calibration and for checks. */
  readonly backend?: Backend | undefined;
  /** Real inputs, for calibration and for checks. */
  readonly data?: Dataset | undefined;
  /** What the model is compressed for. */
  readonly target?: Target | undefined;
  /** Labelled samples that passes train on. */
  readonly trainingData?: Dataset | undefined;
  /** Models that passes may ask for by name, such as teachers. */
  readonly models?: Readonly<Record<string, Model | (() => Promise<Model>)>> | undefined;
  /** Where a pass may keep what it resumes from, by a name of its choice; nothing is kept by default. */
  readonly store?: ((name: string) => ArtifactStore) | undefined;
  /** Operators that are known; the standard ones by default. */
  readonly opset?: OpSet | undefined;
}

/**
 * Makes what a pass works with. `optimize` does it for every pass; other callers need it for functions that take a
 * {@link PassContext}, such as one that only plans.
 *
 * @example
 * ```ts
 * import { createPassContext } from '@lithe/core';
 *
 * const context = createPassContext({ seed: 7 });
 * context.backend; // => undefined
 * ```
 */
export function createPassContext(options: PassResources & RunOptions = {}): PassContext {
  return passContextIn(createRunContext(options), options);
}

/** {@link createPassContext} with randomness, messages and cancellation that are there already. */
export function passContextIn(context: RunContext, resources: PassResources): PassContext {
  const models = resources.models ?? {};
  return {
    ...context,
    backend: resources.backend,
    data: resources.data,
    target: resources.target,
    trainingData: resources.trainingData,
    modelNamed: (name) => modelNamed(models, name),
    store: (name) => resources.store?.(name),
    opset: resources.opset ?? standardOps,
  };
}

async function modelNamed(models: NonNullable<PassResources['models']>, name: string): Promise<Model> {
  const known = Object.hasOwn(models, name) ? models[name] : undefined;
  if (known === undefined) {
    const names = Object.keys(models);
    throw errors.optionsInvalid(
      'model',
      [`There is no model called "${name}".`],
      names.length === 0 ? 'Give it as one of `models`.' : `There are ${names.join(', ')}.`,
    );
  }
  return typeof known === 'function' ? await known() : known;
}

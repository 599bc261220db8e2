import { errors, type Feeds, type Tensor } from '@lithe/core';
import { z } from 'zod';
import { readSafetensors, writeSafetensors } from '../checkpoint/safetensors.ts';
import type { TrainingStep } from '../step/training-step.ts';
import type { EpochRecord } from './fit-options.ts';
import { differences, type RunIdentity } from './run-identity.ts';

/** How far a run has come. */
export interface Progressed {
  /** Steps done. */
  step: number;
  /** Sum of the losses of this epoch's samples so far. */
  epochLoss: number;
  /** Epochs done. */
  history: EpochRecord[];
  /** Best epoch so far. */
  best: { readonly epoch: number; readonly metric: number } | undefined;
  /** Its weights. */
  bestState: Feeds | undefined;
}

/** A run as it is kept: everything it needs to go on. */
export interface KeptRun {
  /** Weights, slots and statistics. */
  readonly state: Feeds;
  /** How far it has come. */
  readonly progressed: Progressed;
}

const FORMAT = 'lithe-fit-1';

/** A number as JSON holds it: those that are not finite, as metrics may be, have names. */
const number = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity']).transform(Number)]);

const named = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;

const runSchema = z.object({
  identity: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  step: z.int().nonnegative(),
  epochLoss: z.number(),
  history: z.array(
    z.object({
      epoch: z.int().positive(),
      loss: z.number(),
      learningRate: z.number(),
      metric: number.optional(),
      milliseconds: z.number(),
    }),
  ),
  best: z.object({ epoch: z.int().positive(), metric: number }).nullable(),
});

/** A run as one safetensors file: state under `state/`, the best weights under `best/`, the rest as metadata. */
export function packCheckpoint({ state, progressed }: KeptRun, identity: RunIdentity): Uint8Array {
  const { step, epochLoss, history, best, bestState } = progressed;
  const tensors: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(state)) tensors[`state/${name}`] = tensor;
  for (const [name, tensor] of Object.entries(bestState ?? {})) tensors[`best/${name}`] = tensor;
  const run = JSON.stringify({ identity, step, epochLoss, history, best: best ?? null }, named);
  return writeSafetensors({ tensors, metadata: { format: FORMAT, run } });
}

/**
 * Reads what {@link packCheckpoint} wrote, for the same run.
 *
 * @throws {LitheError} FILE_INVALID when it is something else; CHECKPOINT_MISMATCH when it is of another run
 */
export function unpackCheckpoint(bytes: Uint8Array, step: TrainingStep, identity: RunIdentity): KeptRun {
  const { tensors, metadata } = readSafetensors(bytes);
  if (metadata['format'] !== FORMAT) throw errors.fileInvalid('checkpoint', 'it was not written by fit().');
  const run = parseRun(metadata['run'] ?? '');
  const different = differences(run.identity, identity);
  if (different.length > 0) throw errors.checkpointMismatch(different);
  const pick = (prefix: string): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, tensor]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [],
      ),
    );
  const state = pick('state/');
  for (const { input, initial } of step.state) {
    const found = state[input];
    if (found?.dtype !== initial.dtype || found.shape.join() !== initial.shape.join()) {
      throw errors.fileInvalid('checkpoint', `it has no ${initial.toString()} for "${input}".`);
    }
  }
  const best = pick('best/');
  const { step: done, epochLoss, history } = run;
  const bestState = Object.keys(best).length === 0 ? undefined : best;
  return { state, progressed: { step: done, epochLoss, history, best: run.best ?? undefined, bestState } };
}

function parseRun(text: string): z.infer<typeof runSchema> {
  try {
    return runSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw errors.fileInvalid('checkpoint', 'its description of the run is damaged.', cause);
  }
}

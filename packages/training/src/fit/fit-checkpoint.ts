import { errors, type Feeds, type Tensor } from '@lithe/core';
import { readSafetensors, writeSafetensors } from '../checkpoint/safetensors.ts';
import type { EpochRecord } from './fit.ts';

/** How far a run has come. */
export interface Progressed {
  /** Steps done. */
  step: number;
  /** Sum of the losses of this epoch so far. */
  epochLoss: number;
  /** Epochs done. */
  history: EpochRecord[];
  /** Best epoch so far. */
  best: { readonly epoch: number; readonly metric: number } | undefined;
  /** Its weights. */
  bestState: Feeds | undefined;
}

const FORMAT = 'lithe-fit-1';

/** A run as one safetensors file: state under `state/`, the best weights under `best/`, the rest as metadata. */
export function packCheckpoint(state: Feeds, progressed: Progressed): Uint8Array {
  const { step, epochLoss, history, best, bestState } = progressed;
  const tensors: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(state)) tensors[`state/${name}`] = tensor;
  for (const [name, tensor] of Object.entries(bestState ?? {})) tensors[`best/${name}`] = tensor;
  const run = JSON.stringify({ step, epochLoss, history, best: best ?? null });
  return writeSafetensors({ tensors, metadata: { format: FORMAT, run } });
}

/**
 * Reads what {@link packCheckpoint} wrote.
 *
 * @throws {LitheError} FILE_INVALID when it is something else
 */
export function unpackCheckpoint(bytes: Uint8Array): {
  readonly state: Feeds;
  readonly progressed: Progressed;
} {
  const { tensors, metadata } = readSafetensors(bytes);
  if (metadata['format'] !== FORMAT || metadata['run'] === undefined) {
    throw errors.fileInvalid('checkpoint', 'it was not written by fit().');
  }
  const run = JSON.parse(metadata['run']) as Omit<Progressed, 'best' | 'bestState'> & {
    readonly best: Progressed['best'] | null;
  };
  const pick = (prefix: string): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, tensor]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [],
      ),
    );
  const best = pick('best/');
  return {
    state: pick('state/'),
    progressed: {
      ...run,
      best: run.best ?? undefined,
      bestState: Object.keys(best).length === 0 ? undefined : best,
    },
  };
}

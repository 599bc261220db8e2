import type { FallbackSettings } from '../options.ts';
import type { LayerQuality, ModelQuality } from './layer-quality.ts';

/** Least gain of the outputs, in decibels, for which further layers go back to float. */
const WORTH = 0.5;

/** What happened so far. */
export interface FallbackState {
  /** Layers in float. */
  readonly names: ReadonlySet<string>;
  /** Layers with integer weights before any went back. */
  readonly total: number;
  /** Signal to noise of the outputs in the round before; `undefined` in the first. */
  readonly outputDb: number | undefined;
}

/** A step of {@link nextFallback}. */
export type FallbackStep =
  /** The model is as it shall be. */
  | { readonly kind: 'keep' }
  /** These go back to float, too. */
  | { readonly kind: 'add'; readonly layers: readonly LayerQuality[] }
  /** What went back last did not help: undo it. */
  | { readonly kind: 'undo' };

/**
 * Decides which layers go back to float next: all whose own error is below the least allowed, then, while the outputs
 * are below their budget, the worst of those left, a twentieth of the layers at a time, as long as that helps.
 */
export function nextFallback(
  quality: ModelQuality,
  settings: FallbackSettings,
  state: FallbackState,
): FallbackStep {
  const { minimumSqnrDb, outputSqnrDb, share } = settings;
  const room = Math.floor(share * state.total) - state.names.size;
  const byError = quality.layers
    .filter(({ name }) => !state.names.has(name))
    .toSorted((left, right) => left.localDb - right.localDb);
  const below = byError.filter(({ localDb }) => localDb < minimumSqnrDb).slice(0, Math.max(0, room));
  if (below.length > 0) return { kind: 'add', layers: below };
  if (outputSqnrDb === undefined || quality.outputDb >= outputSqnrDb) return { kind: 'keep' };
  if (state.outputDb !== undefined && quality.outputDb < state.outputDb + WORTH) return { kind: 'undo' };
  const worst = byError.slice(0, Math.min(room, Math.ceil(state.total / 20)));
  return worst.length === 0 ? { kind: 'keep' } : { kind: 'add', layers: worst };
}

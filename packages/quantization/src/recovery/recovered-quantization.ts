import { type Model, type PassContext, type PassReport, ReportBuilder } from '@lithe/core';
import { cloneReference } from './draft/origin.ts';
import { quantizedLayers } from './draft/quantized-layer.ts';
import type { FallbackSettings, RecoverySettings } from './options.ts';
import { type FallbackState, nextFallback } from './quality/fallback.ts';
import { type RecoveryMemory, type RecoveryOutcome, recover } from './recover.ts';

/** A quantizing pass, as {@link quantizeRecovered} calls it. */
export interface RecoveredQuantization {
  /** Name of the pass. */
  readonly pass: string;
  /** What is recovered. */
  readonly settings: RecoverySettings;
  /** Data, backend, randomness, cancellation. */
  readonly context: PassContext;
  /** Receives what was done. */
  readonly report: ReportBuilder;
  /**
   * Quantizes a model in place. Called once, or with a fallback once per round, on copies and at last on the draft.
   *
   * @param exclude names of nodes that stay float
   */
  quantize(model: Model, exclude: readonly string[], report: ReportBuilder): Promise<void>;
}

async function attempt(
  reference: Model,
  names: ReadonlySet<string>,
  work: { readonly quantization: RecoveredQuantization; readonly memory: RecoveryMemory },
): Promise<RecoveryOutcome> {
  const { quantization, memory } = work;
  const { pass, context, settings } = quantization;
  const quantized = reference.clone();
  const report = new ReportBuilder();
  await quantization.quantize(quantized, [...names], report);
  return recover({ reference, quantized, settings, context, report, memory, pass });
}

/** Finds the layers that stay float: tries on copies until the errors are within what was asked. */
async function findFallback(
  reference: Model,
  settings: FallbackSettings,
  work: { readonly quantization: RecoveredQuantization; readonly memory: RecoveryMemory },
): Promise<ReadonlyMap<string, number>> {
  const { signal } = work.quantization.context;
  const errors = new Map<string, number>();
  let state: FallbackState = { names: new Set(), total: 0, outputDb: undefined };
  let last: readonly string[] = [];
  for (;;) {
    signal.throwIfAborted();
    const { layers, quality } = await attempt(reference, state.names, work);
    if (quality === undefined) return errors;
    const total = Math.max(state.total, layers.length);
    const step = nextFallback(quality, settings, { ...state, total });
    if (step.kind === 'undo') for (const name of last) errors.delete(name);
    if (step.kind !== 'add') return errors;
    last = step.layers.map(({ name }) => name);
    for (const { name, localDb } of step.layers) errors.set(name, localDb);
    state = { names: new Set(errors.keys()), total, outputDb: quality.outputDb };
  }
}

/** Hands on a report, without what it says of nodes that were excluded for their errors. */
export function handOn(
  from: PassReport,
  to: ReportBuilder,
  without: ReadonlyMap<string, number> = new Map(),
): void {
  for (const item of from.applied) to.apply(item);
  for (const { target, code, reason } of from.skipped)
    if (code !== 'excluded' || !without.has(target)) to.skip(target, code, reason);
  for (const [name, { value, unit }] of Object.entries(from.metrics)) to.metric(name, value, unit);
  for (const [name, table] of Object.entries(from.tables ?? {})) to.table(name, table);
}

/**
 * Quantizes a draft and recovers what that loses. With a fallback, layers whose error is too large are found on copies
 * first; rounding that was learned there is kept.
 *
 * @throws {LitheError} PASS_NEEDS without data or backend
 */
export async function quantizeRecovered(draft: Model, quantization: RecoveredQuantization): Promise<void> {
  const { settings, context, report, pass } = quantization;
  const reference = cloneReference(draft);
  const memory: RecoveryMemory = { roundings: new Map() };
  const fallback =
    settings.fallback === undefined
      ? new Map<string, number>()
      : await findFallback(reference, settings.fallback, { quantization, memory });
  const own = new ReportBuilder();
  await quantization.quantize(draft, [...fallback.keys()], own);
  handOn(own.build(), report, fallback);
  for (const { name } of reference.graph.nodes()) {
    const localDb = fallback.get(name);
    if (localDb === undefined) continue;
    report.skip(
      name,
      'suffers',
      `its own signal to noise would be ${localDb.toFixed(1)} dB, so that it stays float`,
    );
  }
  if (quantizedLayers(reference, draft).length === 0) {
    const reason =
      'no weight is expanded by DequantizeLinear, or Cast and Mul, so that nothing can be recovered';
    report.skip(draft.graph.name, 'no-layers', reason);
    return;
  }
  await recover({ reference, quantized: draft, settings, context, report, memory, pass });
  if (settings.fallback !== undefined) report.metric('fallbackLayers', fallback.size, 'layers');
}

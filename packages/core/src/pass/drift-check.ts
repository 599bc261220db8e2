import type { Backend } from '../backend/backend.ts';
import type { Dataset, Feeds } from '../data/dataset.ts';
import type { Model } from '../ir/model.ts';
import { createDrift } from '../metrics/drift.ts';
import type { Preservation } from './pass.ts';
import type { DriftCheck } from './report.ts';

/** Relative difference that rounding may cause: `numerics` passes stay within it. */
export const NUMERICS_TOLERANCE = 1e-3;

/** Results of a model on the check inputs, one record per sample set. */
export type CheckOutputs = readonly Feeds[];

/** Reads the inputs that passes are checked on: the first `limit` batches, kept in memory. */
export async function readCheckInputs(
  data: Dataset,
  limit: number,
  signal: AbortSignal,
): Promise<readonly Feeds[]> {
  const inputs: Feeds[] = [];
  for await (const batch of data.batches({ signal })) {
    inputs.push(batch.inputs);
    if (inputs.length >= limit) break;
  }
  return inputs;
}

/** Runs a model on the check inputs. */
export async function runCheck(
  model: Model,
  inputs: readonly Feeds[],
  backend: Backend,
  signal: AbortSignal,
): Promise<CheckOutputs> {
  const executable = await backend.compile(model, { signal });
  try {
    const outputs: Feeds[] = [];
    for (const feeds of inputs) outputs.push(await executable.run(feeds, { signal }));
    return outputs;
  } finally {
    await executable.dispose();
  }
}

/** Compares results before and after a pass. */
export function compareCheck(before: CheckOutputs, after: CheckOutputs): DriftCheck {
  const drift = createDrift();
  before.forEach((expected, index) => {
    drift.add(expected, after[index] as Feeds);
  });
  const { maxAbs, maxRelative, sqnrDb, samples } = drift.result();
  return { maxAbs, maxRelative, sqnrDb, samples };
}

/** What a check found that the pass did not declare, as `[measured, allowed]`; `undefined` when all is well. */
export function driftViolation(
  check: DriftCheck,
  preserves: Preservation,
): readonly [string, string] | undefined {
  if (preserves === 'bitwise' && check.maxAbs !== 0)
    return [`${check.maxAbs} (largest absolute difference)`, '0: it is declared bitwise exact'];
  if (preserves === 'numerics' && !(check.maxRelative <= NUMERICS_TOLERANCE)) {
    return [
      `${check.maxRelative} of the largest output`,
      `${NUMERICS_TOLERANCE}: it is declared to change rounding only`,
    ];
  }
  return undefined;
}

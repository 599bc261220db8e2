import type { Model, PassContext, PassReport, PassStep, StepList } from '@lithe/core';
import type { FormatContext, PrecisionFormat } from './formats.ts';
import type { PrecisionLayer } from './layers.ts';

/** Format of each layer by its name; layers that are not named stay float. */
export type Assignment = ReadonlyMap<string, PrecisionFormat>;

/** What {@link applyAssignment} works with. */
export interface ApplyContext extends FormatContext {
  /** For the passes. */
  readonly pass: PassContext;
  /** All layers. */
  readonly layers: readonly PrecisionLayer[];
}

function flatten(steps: StepList): PassStep[] {
  return steps.flatMap((step): PassStep[] => {
    if (step === false || step === null || step === undefined) return [];
    return Array.isArray(step) ? flatten(step as StepList) : [step as PassStep];
  });
}

/** Puts the layers of a draft in their formats, one format after the other, and gives what the passes reported. */
export async function applyAssignment(
  draft: Model,
  assignment: Assignment,
  context: ApplyContext,
): Promise<readonly PassReport[]> {
  const reports: PassReport[] = [];
  for (const format of new Set(assignment.values())) {
    const exclude = context.layers
      .filter((layer) => assignment.get(layer.name) !== format)
      .flatMap((layer) => layer.nodes);
    for (const step of flatten(await format.steps(exclude, context))) {
      context.pass.signal.throwIfAborted();
      reports.push(await step.run(draft, { ...context.pass, rng: context.pass.rng.fork(step.name) }));
    }
  }
  return reports;
}

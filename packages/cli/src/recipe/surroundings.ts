import { cpus, release, type as systemType } from 'node:os';
import type { RecipePlan } from './plan.ts';

/** What tells the samples of a recipe from others; `undefined` where there are none. */
export interface DataIdentities {
  /** To train on. */
  readonly train: string | undefined;
  /** For the metric. */
  readonly test: string | undefined;
  /** For ranges and checks. */
  readonly calibration: string | undefined;
}

/** Reads all samples of a recipe and takes their hashes. */
export async function dataIdentities({ data }: RecipePlan, signal: AbortSignal): Promise<DataIdentities> {
  return {
    train: await data.train?.identity(signal),
    test: await data.test?.identity(signal),
    calibration: await data.calibration?.identity(signal),
  };
}

/** What the results of all steps depend on, beside their models and options. The test data is not among it. */
export function surroundingsOf(
  { target, file }: RecipePlan,
  { train, calibration }: DataIdentities,
): unknown {
  return { target: target.name, threads: file.recipe.target.threads, train, calibration };
}

/** Processor and systems. Figures that were taken elsewhere, in a run folder that was copied, are taken anew. */
export function machineText(): string {
  const processors = cpus();
  const model = processors[0]?.model.trim() ?? 'unknown processor';
  return `${model}, ${processors.length} cores, ${systemType()} ${release()}, Node ${process.version}`;
}

import { cpus, release, type as systemType } from 'node:os';
import type { Shapes, Values } from '../options.ts';
import type { RecipePlan } from './plan.ts';
import { shapesOf, valuesOf } from './plan-data.ts';

/** What tells the samples of a recipe from others; `undefined` where there are none. */
export interface DataIdentities {
  /** To train on. */
  readonly train: string | undefined;
  /** For the metric. */
  readonly test: string | undefined;
  /** For ranges and checks. */
  readonly calibration: string | undefined;
  /** Shapes that the recipe gives inputs: samples are read in them. */
  readonly shapes: Shapes | undefined;
  /** Contents that it gives inputs. */
  readonly values: Values | undefined;
}

/** Reads all samples of a recipe and takes their hashes. */
export async function dataIdentities(
  { data, file }: RecipePlan,
  signal: AbortSignal,
): Promise<DataIdentities> {
  const [shapes, values] = [shapesOf(file), valuesOf(file)];
  return {
    train: await data.train?.identity(signal),
    test: await data.test?.identity(signal),
    calibration: await data.calibration?.identity(signal),
    shapes: Object.keys(shapes).length === 0 ? undefined : shapes,
    values: Object.keys(values).length === 0 ? undefined : values,
  };
}

/** What the results of all steps depend on, beside their models and options. The test data is not among it. */
export function surroundingsOf(
  { target, file }: RecipePlan,
  { train, calibration, shapes }: DataIdentities,
): unknown {
  // Without samples no pass reads anything in these shapes.
  const read = train === undefined && calibration === undefined ? undefined : shapes;
  return { target: target.name, threads: file.recipe.target.threads, train, calibration, shapes: read };
}

/** Processor and systems. Figures that were taken elsewhere, in a run folder that was copied, are taken anew. */
export function machineText(): string {
  const processors = cpus();
  const model = processors[0]?.model.trim() ?? 'unknown processor';
  return `${model}, ${processors.length} cores, ${systemType()} ${release()}, Node ${process.version}`;
}

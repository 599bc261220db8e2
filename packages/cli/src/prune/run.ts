import {
  type Backend,
  inferShapes,
  type Model,
  modelCost,
  type OptimizeOptions,
  type RunContext,
  type RunOptions,
  type Target,
} from '@lithe/core';
import type { Inputs } from '../inputs.ts';
import type { Shapes } from '../options.ts';
import type { Progress } from '../terminal/io.ts';
import type { PruneArguments } from './prune-arguments.ts';
import type { Change, PruneResult } from './result.ts';

/** What the parts of a run share. */
export interface PruneRun {
  /** What the user asked for. */
  readonly options: PruneArguments;
  /** Sizes that symbols stand for. */
  readonly dims: Readonly<Record<string, number>>;
  /** Seed, cancellation, progress. */
  readonly run: RunOptions;
  /** The same, made. */
  readonly context: RunContext;
  /** What is shown. */
  readonly progress: Progress;
  /** What is pruned for. */
  readonly target: Target;
  /** The target, opened. */
  readonly backend: Backend;
  /** Inputs, where they are needed. */
  readonly inputs: Inputs | undefined;
}

/** What a method is about to do. */
export interface Planned {
  /** What it adds to the result. */
  readonly found: Pick<PruneResult, 'parameters' | 'weightBytes' | 'macs' | 'skipped'> & Partial<PruneResult>;
  /** Does it, to a copy. */
  make(): Promise<Model>;
}

/** Options of `optimize` for a run. */
export function optimizeOptions({ run, backend, inputs, target }: PruneRun): OptimizeOptions {
  return { ...run, backend, data: inputs?.data, target, check: 'off' };
}

/** Sizes of symbols: those that `--shape` gives, else 1 for a batch and 64 for others. */
export function symbolSizes(model: Model, shapes: Shapes = {}): Readonly<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const { name, shape = [] } of model.graph.inputs)
    for (const [axis, dim] of shape.entries())
      if (typeof dim === 'string') sizes[dim] ??= shapes[name]?.[axis] ?? (axis === 0 ? 1 : 64);
  return sizes;
}

/** What two models cost. */
export async function costs(
  before: Model,
  after: Model,
  { dims, context }: PruneRun,
): Promise<Pick<PruneResult, 'parameters' | 'weightBytes' | 'macs'>> {
  const [old, now] = await Promise.all(
    [before, after].map(async (model) => {
      const copy = model.clone();
      await inferShapes(copy, { signal: context.signal, strict: false });
      return modelCost(copy, { dims });
    }),
  );
  const change = (of: (cost: ReturnType<typeof modelCost>) => number): Change => ({
    before: old === undefined ? 0 : of(old),
    after: now === undefined ? 0 : of(now),
  });
  return {
    parameters: change(({ parameters }) => parameters),
    weightBytes: change(({ parameterBytes }) => parameterBytes),
    macs: change(({ macs }) => macs),
  };
}

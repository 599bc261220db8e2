import {
  type Backend,
  errors,
  type Feeds,
  type Model,
  measureLatency,
  type PassContext,
  randomDataset,
} from '@lithe/core';
import { symbolSizes } from './cut-cost.ts';
import { fingerprint, removalsKey } from './fingerprint.ts';
import { remembered, type SearchJournal } from './journal.ts';
import type { PruningPlan, ScoredModel } from './pruning-plan.ts';
import { removeAll } from './remove-units.ts';
import type { SelectOptions } from './select-units.ts';

/** How a latency is searched for. */
export interface LatencySearchOptions {
  /** Share of the original's latency that is allowed, in (0, 1). */
  readonly share: number;
  /** Samples per run; 1 by default. */
  readonly batchSize?: number | undefined;
  /** Rounds in which the original and a candidate take turns; 11 by default. */
  readonly rounds?: number | undefined;
  /** Candidates that are measured at most; 8 by default. */
  readonly trials?: number | undefined;
  /** Threads of the target; its own choice by default. */
  readonly threads?: number | undefined;
  /** Sizes of symbols, for random inputs where there is no data. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Where measurements are kept, so that a search that was stopped goes on. */
  readonly journal?: SearchJournal | undefined;
}

/** One candidate of a search. */
export interface LatencyTrial {
  /** Ratio of units it lost. */
  readonly ratio: number;
  /** Its latency as a share of the original's, measured in turns with it. */
  readonly share: number;
}

/** What a search found. */
export interface LatencyFound {
  /** The plan that met the budget with the smallest ratio, or the fastest one. */
  readonly plan: PruningPlan;
  /** Its ratio. */
  readonly ratio: number;
  /** Its latency as a share of the original's. */
  readonly share: number;
  /** Whether it met the budget. */
  readonly met: boolean;
  /** All that were measured, in order. */
  readonly trials: readonly LatencyTrial[];
}

/** The first batch of the data, or random inputs. */
async function feedsFor(model: Model, context: PassContext, options: LatencySearchOptions): Promise<Feeds> {
  const { batchSize = 1 } = options;
  const data =
    context.data ?? randomDataset(model, { dims: symbolSizes(model, options.dims), samples: batchSize });
  for await (const { inputs } of data.batches({ batchSize, limit: batchSize, signal: context.signal })) {
    const names = new Set(model.graph.inputs.map(({ name }) => name));
    return Object.fromEntries(Object.entries(inputs).filter(([name]) => names.has(name)));
  }
  throw errors.dataInvalid(data.description, 'it holds no samples to measure with.');
}

/**
 * Finds the smallest ratio whose measured latency is within a share of the original's, by halving. Each candidate is
 * really cut, loaded in the runtime, and measured in turns with the original; what was measured is kept in the journal.
 *
 * @throws {LitheError} PASS_NEEDS without target and backend; BACKEND_FAILED when the runtime fails
 */
export async function searchLatency(
  scored: ScoredModel,
  model: Model,
  tools: {
    readonly options: LatencySearchOptions;
    readonly select: Omit<SelectOptions, 'ratio'>;
    readonly context: PassContext;
  },
): Promise<LatencyFound> {
  const { context, options, select } = tools;
  const { threads } = options;
  const opened = await context.target?.open(context, threads === undefined ? {} : { threads });
  const backend = opened ?? context.backend;
  if (backend === undefined) throw errors.passNeeds('pruning/prune', ['target']);
  try {
    const feeds = await feedsFor(model, context, options);
    const shapes = Object.values(feeds).map((tensor) => tensor.shape.join('x'));
    const place = [context.target?.name ?? backend.name, backend.version, threads ?? 1, shapes.join()].join(
      '/',
    );
    const key = options.journal === undefined ? '' : `${await fingerprint(model, context.signal)}/${place}`;
    const measure = (plan: PruningPlan): Promise<number> =>
      remembered(options.journal, `latency/${key}/${removalsKey(plan.removals)}`, () =>
        measureShare(model, plan, { backend, feeds, context, rounds: options.rounds }),
      );
    return await halve(scored, select, { options, context, measure });
  } finally {
    await opened?.dispose();
  }
}

async function halve(
  scored: ScoredModel,
  select: Omit<SelectOptions, 'ratio'>,
  tools: {
    readonly options: LatencySearchOptions;
    readonly context: PassContext;
    measure(plan: PruningPlan): Promise<number>;
  },
): Promise<LatencyFound> {
  const { options, context, measure } = tools;
  const { trials: most = 8, share: budget } = options;
  const trials: LatencyTrial[] = [];
  const measured = new Map<string, number>();
  let best: Omit<LatencyFound, 'trials'> | undefined;
  let [low, high] = [0, 1];
  // Latency falls about as fast as the multiplications do: the first guess is the ratio that leaves that share of them.
  let ratio = scored.planFor({ macs: budget }, select, context).ratio;
  while (trials.length < most && high - low > 0.005) {
    context.signal.throwIfAborted();
    context.progress({
      task: 'latency',
      done: trials.length,
      total: most,
      label: `ratio ${ratio.toFixed(3)}`,
    });
    const plan = scored.plan({ ...select, ratio });
    const key = removalsKey(plan.removals);
    const share = measured.get(key) ?? (plan.removals.length === 0 ? 1 : await measure(plan));
    // Rounding makes neighbours equal: what was measured is not measured again.
    if (!measured.has(key)) trials.push({ ratio, share });
    measured.set(key, share);
    const met = share <= budget;
    const isBetter =
      best === undefined ||
      (met && (!best.met || ratio < best.ratio)) ||
      (!met && !best.met && share < best.share);
    if (isBetter) best = { plan, ratio, share, met };
    if (met) high = ratio;
    else low = ratio;
    ratio = (low + high) / 2;
  }
  context.progress({ task: 'latency', done: most, total: most });
  return { ...(best as Omit<LatencyFound, 'trials'>), trials };
}

async function measureShare(
  model: Model,
  plan: PruningPlan,
  tools: {
    readonly backend: Backend;
    readonly feeds: Feeds;
    readonly context: PassContext;
    readonly rounds: number | undefined;
  },
): Promise<number> {
  const { backend, feeds, context, rounds } = tools;
  const { signal } = context;
  const smaller = model.clone();
  await removeAll(smaller, plan.removals, { opset: context.opset, signal });
  const original = await backend.compile(model, { signal });
  try {
    const candidate = await backend.compile(smaller, { signal });
    try {
      const entries = [
        { name: 'original', executable: original },
        { name: 'pruned', executable: candidate },
      ];
      const report = await measureLatency(entries, feeds, { signal, rounds });
      return 1 / (report.comparisons[0]?.speedup ?? 1);
    } finally {
      await candidate.dispose();
    }
  } finally {
    await original.dispose();
  }
}

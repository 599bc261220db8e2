import {
  constantOf,
  definePass,
  inferShapes,
  type Model,
  modelCost,
  type Node,
  opsetAtLeast,
  type Pass,
  type PassContext,
  type PassReport,
  ReportBuilder,
} from '@lithe/core';
import { z } from 'zod';
import { isLinear } from '../recovery/linear-layer.ts';
import { checkProtected } from '../structured/check-protected.ts';
import { symbolSizes } from '../structured/cut-cost.ts';
import { layerLeftOut, layersInFunctions } from '../structured/hidden-layers.ts';
import {
  type Candidate,
  chooseRanks,
  energyOf,
  largestSavingRank,
  type RankRule,
  saves,
} from './choose-ranks.ts';
import { applyFactors, factorizationOf, matrixOf } from './factorization.ts';
import { singularValues } from './singular-values.ts';

const name = 'pruning/low-rank';

/** What a model may cost after {@link lowRank}: a number up to 1 is a share, a larger one is absolute. */
export interface LowRankBudget {
  /** Multiply-accumulates of one run. */
  readonly macs?: number | undefined;
  /** Elements of constants. */
  readonly parameters?: number | undefined;
}

/** Options of {@link lowRank}: `energy`, `ratio` or `budget`. */
export interface LowRankOptions {
  /** Share of the squared singular values that each layer keeps, in (0, 1]; 0.95 by default. */
  readonly energy?: number | undefined;
  /** Share of the full rank that each layer keeps, in (0, 1]. */
  readonly ratio?: number | undefined;
  /** What the model may cost; the largest energy, the same for all layers, that meets it is taken. */
  readonly budget?: LowRankBudget | undefined;
  /**
   * Share of its multiplications that a layer must save to be taken apart, in [0, 1); 0.25 by default, and 0 (any)
   * for a budget of parameters. Two layers that save less are no faster than the one they come from (measured in onnxruntime on a CPU).
   */
  readonly smallestSaving?: number | undefined;
  /** Names of nodes and weights that stay as they are. */
  readonly protect?: readonly string[] | undefined;
  /** Largest smaller side of a matrix that is decomposed, which takes its cube in time; 1,024 by default. */
  readonly largestRank?: number | undefined;
  /** Sizes that symbols stand for when multiplications are counted; 1 for a batch, 64 for others by default. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
}

const share = z.number().gt(0).max(1);
const schema: z.ZodType<LowRankOptions, LowRankOptions> = z
  .strictObject({
    energy: share.optional(),
    ratio: share.optional(),
    budget: z
      .strictObject({ macs: z.number().positive().optional(), parameters: z.number().positive().optional() })
      .optional(),
    smallestSaving: z.number().min(0).lt(1).optional(),
    protect: z.array(z.string()).optional(),
    largestRank: z.int().min(1).optional(),
    dims: z.record(z.string(), z.int().min(1)).optional(),
  })
  .refine(
    ({ energy, ratio, budget }) => [energy, ratio, budget].filter((rule) => rule !== undefined).length < 2,
    { message: 'give one of energy, ratio and budget', path: ['budget'] },
  );

function ruleOf({ energy, ratio, budget }: LowRankOptions): RankRule {
  if (budget !== undefined) return budget;
  return ratio === undefined ? { energy: energy ?? 0.95 } : { ratio };
}

/** Why a node is not looked at; `undefined` when it is. */
function leftOut(
  node: Node,
  draft: Model,
  protect: ReadonlySet<string>,
): readonly [string, string] | undefined {
  if (node.graph !== draft.graph) return ['subgraph', 'it is inside a subgraph'];
  if (protect.has(node.name) || protect.has(node.input(1)?.name ?? '')) return ['protected', 'it is to stay'];
  return undefined;
}

async function candidatesOf(
  draft: Model,
  options: LowRankOptions,
  surroundings: { readonly context: PassContext; readonly report: ReportBuilder },
): Promise<readonly Candidate[]> {
  const { context, report } = surroundings;
  const { signal } = context;
  const { largestRank = 1024, budget } = options;
  const { smallestSaving = budget?.parameters === undefined ? 0.25 : 0 } = options;
  const sizes = symbolSizes(draft, options.dims);
  const protect = new Set(options.protect);
  checkProtected(name, draft.graph, options.protect);
  for (const node of draft.graph.nodesDeep()) {
    const left = layerLeftOut(node);
    if (left !== undefined) report.skip(left.target, left.code, left.reason);
  }
  const nodes = [...draft.graph.nodesDeep()].filter(
    (node) => isLinear(node) && constantOf(node.input(1)) !== undefined,
  );
  const candidates: Candidate[] = [];
  for (const [index, node] of nodes.entries()) {
    signal.throwIfAborted();
    const tell = (label: string): void =>
      context.progress({ task: name, done: index, total: nodes.length, label });
    tell(node.name);
    const why = leftOut(node, draft, protect);
    if (why !== undefined) {
      report.skip(node.name, ...why);
      continue;
    }
    const found = factorizationOf(node, sizes);
    if ('code' in found) {
      report.skip(node.name, found.code, found.reason);
      continue;
    }
    const { rows, columns } = found;
    if (found.macsPerRank >= found.macs) {
      report.skip(node.name, 'no-saving', 'even rank 1 would take no fewer multiplications');
    } else if (Math.min(rows, columns) > largestRank) {
      const reason = `its matrix of ${rows} x ${columns} is larger than largestRank allows`;
      report.skip(node.name, 'too-large', reason);
    } else {
      const matrix = await matrixOf(found, signal);
      if (matrix.every(Number.isFinite)) {
        const onSweep = (sweep: number): void => tell(`${node.name}, sweep ${sweep}`);
        const svd = singularValues(matrix, rows, columns, { signal, onSweep });
        candidates.push({ factorization: found, svd, smallestSaving });
      } else report.skip(node.name, 'not-finite', 'its weight holds numbers that are not finite');
    }
  }
  context.progress({ task: name, done: nodes.length, total: nodes.length });
  return candidates;
}

/** The two parts of rank R, with the singular values shared evenly between them. */
function factorsOf({ factorization, svd }: Candidate, rank: number): Parameters<typeof applyFactors>[1] {
  const { rows, columns } = factorization;
  const first = new Float64Array(rank * columns);
  const second = new Float64Array(rows * rank);
  for (let place = 0; place < rank; place++) {
    const root = Math.sqrt(svd.values[place]!);
    for (let column = 0; column < columns; column++)
      first[place * columns + column] = root * svd.right[place * columns + column]!;
    for (let row = 0; row < rows; row++) second[row * rank + place] = root * svd.left[place * rows + row]!;
  }
  return { first, second, rank };
}

function excessOf(total: number, budget: number | undefined): number {
  if (budget === undefined) return Number.NEGATIVE_INFINITY;
  return total - (budget <= 1 ? budget * total : budget);
}

async function run(draft: Model, options: LowRankOptions, context: PassContext): Promise<PassReport> {
  const report = new ReportBuilder();
  const { opset, signal } = context;
  await inferShapes(draft, { opset, signal, strict: false });
  const dims = symbolSizes(draft, options.dims);
  const cost = (): { readonly macs: number; readonly parameters: number } =>
    modelCost(draft, { opset, dims });
  const before = cost();
  for (const { target, code, reason } of layersInFunctions(draft)) report.skip(target, code, reason);
  const candidates = await candidatesOf(draft, options, { context, report });
  const { ranks, met } = chooseRanks(candidates, ruleOf(options), {
    macs: excessOf(before.macs, options.budget?.macs),
    parameters: excessOf(before.parameters, options.budget?.parameters),
  });
  if (!met) report.skip('budget', 'budget-not-met', 'not even parts of rank 1 would save enough');
  const rows: (string | number)[][] = [];
  for (const [index, candidate] of candidates.entries()) {
    const rank = ranks[index] as number;
    const { factorization, svd } = candidate;
    const { node, op } = factorization.layer;
    if (!saves(candidate, rank)) {
      const reason = `rank ${rank} would save too little: it saves enough up to rank ${largestSavingRank(candidate)}`;
      report.skip(node.name, 'no-saving', reason);
      continue;
    }
    applyFactors(factorization, factorsOf(candidate, rank));
    report.apply(
      `take ${op} "${node.name}" apart (${factorization.kind}) at rank ${rank} of ${svd.values.length}`,
    );
    rows.push([node.name, factorization.kind, rank, svd.values.length, energyOf(svd.values, rank)]);
  }
  if (rows.length > 0) await inferShapes(draft, { opset, signal, strict: false });
  const after = cost();
  report.metric('multiplications before', before.macs, 'macs');
  report.metric('multiplications after', after.macs, 'macs');
  report.metric('parameters before', before.parameters, 'elements');
  report.metric('parameters after', after.parameters, 'elements');
  report.table('layers', {
    title: 'Layers that were taken apart',
    columns: ['layer', 'kind', 'rank', 'full rank', 'energy'].map((column) => ({
      name: column,
      unit: column === 'energy' ? 'ratio' : '',
    })),
    rows,
  });
  return report.build();
}

/**
 * Takes layers apart in two thinner ones by their singular values: `MatMul` and `Gemm` in two products, convolutions of
 * k x k in one of k x 1 and one of 1 x k, other convolutions in one with fewer filters and one of 1 x 1. Where that would
 * not save multiplications the layer stays, and the report says so. Needs no data. Afterwards `leastSquaresRefit({ original })`
 * brings back part of what is lost, training more; and measure: two thin layers are not always faster than a thick one.
 *
 * @see Eckart and Young, "The approximation of one matrix by another of lower rank", 1936
 * @see Jaderberg, Vedaldi and Zisserman, "Speeding up Convolutional Neural Networks with Low Rank Expansions", BMVC 2014,
 *   scheme 2, solved in closed form
 * @example
 * ```ts
 * import { optimize } from '@lithe/core';
 * import { lowRank } from '@lithe/pruning';
 * import { mlp } from '@lithe/training';
 *
 * const { model } = await optimize(await mlp({ inputs: 64, hidden: [64], classes: 10 }), [lowRank({ ratio: 0.25 })]);
 * [...model.graph.nodes()].filter(({ opType }) => opType === 'Gemm' || opType === 'MatMul').length; // => 4
 * ```
 */
export const lowRank: Pass<LowRankOptions, LowRankOptions> = definePass({
  name,
  version: 1,
  summary: 'Takes layers apart in two thinner ones by their singular values.',
  options: schema,
  preserves: 'accuracy',
  requires: [opsetAtLeast(13)],
  run,
});

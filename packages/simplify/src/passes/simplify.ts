import {
  definePass,
  errors,
  inferShapes,
  type Model,
  type Pass,
  type PassContext,
  type PassReport,
  ReportBuilder,
  rewrite,
  type SkippedRule,
} from '@lithe/core';
import { z } from 'zod';
import { type RulePhase, simplifyRules } from '../rule-table.ts';
import { estimateBytes, mergeDuplicates, removeDead } from './clean-up.ts';
import { type ContentKeys, deduplicateConstants, tinyContents } from './deduplicate.ts';
import { makeBatchSymbolic } from './symbolic-batch.ts';

const names = simplifyRules.map((rule) => rule.name);

/** Options of {@link simplify}, as they are given. */
export interface SimplifyOptions {
  /** Highest opset of `ai.onnx` that fused operators may need; 21, the working opset, by default. */
  readonly maxOpset?: number | undefined;
  /** Bytes that a folded constant may take beyond the constants it replaces; 1,024 by default. */
  readonly growthBytes?: number | undefined;
  /** Rules to leave out, by name. */
  readonly skip?: readonly string[] | undefined;
  /** Rules to use, and no others; every rule by default. Dead and duplicate parts are removed in any case. */
  readonly only?: readonly string[] | undefined;
  /** Name of a symbol that takes the place of a literal batch size; sizes stay as they are by default. */
  readonly batch?: string | undefined;
}

/** Options of {@link simplify}, with defaults. */
export interface SimplifySettings {
  /** Highest opset of `ai.onnx` that fused operators may need. */
  readonly maxOpset: number;
  /** Bytes that a folded constant may take beyond the constants it replaces. */
  readonly growthBytes: number;
  /** Rules to leave out, by name. */
  readonly skip: readonly string[];
  /** Rules to use, and no others; every rule by default. Dead and duplicate parts are removed in any case. */
  readonly only?: readonly string[] | undefined;
  /** Name of a symbol that takes the place of a literal batch size. */
  readonly batch?: string | undefined;
}

const options: z.ZodType<SimplifySettings, SimplifyOptions> = z.strictObject({
  maxOpset: z.int().min(7).max(21).default(21),
  growthBytes: z.int().min(0).default(1024),
  skip: z
    .array(z.enum(names as [string, ...string[]]))
    .readonly()
    .default([]),
  only: z
    .array(z.enum(names as [string, ...string[]]))
    .readonly()
    .optional(),
  batch: z
    .string()
    .regex(/^[A-Za-z_]\w*$/)
    .optional(),
});

/** Rounds of all phases; each but the last changes something, and what one leaves to the next is little. */
const MAX_ROUNDS = 20;

const phases: readonly RulePhase[] = ['recognize', 'fold', 'finish'];

/** One run of {@link simplify} over a draft. */
class Run {
  readonly #draft: Model;
  readonly #settings: SimplifySettings;
  readonly #context: PassContext;
  readonly #report: ReportBuilder;
  readonly #bytes: number;
  readonly #widths = new Set<number>();
  /** Bytes that rules were allowed to add so far. */
  #spent = 0;
  readonly #contents: ContentKeys = new WeakMap();
  #skipped: readonly SkippedRule[] = [];
  #problems: readonly string[] = [];

  constructor(draft: Model, settings: SimplifySettings, context: PassContext, report: ReportBuilder) {
    this.#draft = draft;
    this.#settings = settings;
    this.#context = context;
    this.#report = report;
    this.#bytes = estimateBytes(draft.graph);
  }

  async toFixedPoint(): Promise<void> {
    for (let round = 0; ; round++) {
      if (round === MAX_ROUNDS) throw errors.limitExceeded('rounds', MAX_ROUNDS, round, 'Simplification');
      const before = this.#report.appliedCount;
      const skipped: SkippedRule[] = [];
      for (const [index, phase] of phases.entries()) {
        this.#context.progress({
          task: 'simplify',
          done: round * phases.length + index,
          total: 0,
          label: phase,
        });
        skipped.push(...(await this.#phase(phase)));
      }
      this.#skipped = skipped;
      if (this.#report.appliedCount === before) break;
    }
    const noted = new Set<string>();
    for (const { rule, node, code, reason } of this.#skipped) {
      const key = `${rule}|${node}|${code}`;
      if (!noted.has(key)) this.#report.skip(node, `${rule.slice('simplify/'.length)}:${code}`, reason);
      noted.add(key);
    }
    for (const problem of this.#problems) this.#report.skip('model', 'inference', problem);
  }

  async #phase(phase: RulePhase): Promise<readonly SkippedRule[]> {
    const { graph } = this.#draft;
    const { opset, signal } = this.#context;
    const { maxOpset, growthBytes, skip, only } = this.#settings;
    const inferred = await inferShapes(this.#draft, { opset, signal, strict: false });
    this.#problems = inferred.problems;
    const spent = phases.slice(0, phases.indexOf(phase) + 1);
    // The estimate leaves out some of what files add per node, so a part of what was saved is held back.
    const saved = this.#bytes - estimateBytes(graph) + this.#spent;
    const granted = Math.floor(0.75 * saved) - this.#spent;
    const allowance = { bytes: granted, widths: this.#widths };
    const settings = { opset, sizes: inferred.sizes, growthBytes, allowance };
    const rules = simplifyRules
      .filter((rule) => spent.includes(rule.phase) && rule.opset <= maxOpset)
      .filter((rule) => !skip.includes(rule.name) && (only?.includes(rule.name) ?? true))
      .map((rule) => rule.make(settings));
    const done = await rewrite(graph, rules, { signal });
    this.#spent += granted - allowance.bytes;
    for (const item of done.applied)
      this.#report.apply(`${item.rule.slice('simplify/'.length)}: ${item.what}`);
    removeDead(graph, opset, this.#report);
    mergeDuplicates(graph, opset, this.#report, await tinyContents(graph, signal));
    await deduplicateConstants(graph, this.#report, signal, this.#contents);
    return done.skipped;
  }
}

/** Nodes of a model, those of subgraphs too. */
function countNodes(model: Model): number {
  let count = 0;
  for (const _ of model.graph.nodesDeep()) count++;
  return count;
}

/**
 * Simplifies a model: folds constants and sizes, removes what has no effect or no use, merges duplicates, folds
 * normalizations and constants per channel into the weights beside them, and fuses written-out patterns to standard
 * operators, until nothing is left to do. Results change by rounding only. A second run changes nothing, and the
 * model never becomes larger.
 *
 * @example
 * ```ts
 * import { Graph, Model, optimize, tensorType } from '@lithe/core';
 * import { simplify } from '@lithe/simplify';
 *
 * const graph = new Graph();
 * const x = graph.addInput('x', tensorType('float32', ['N', 4]));
 * const same = graph.addNode({ opType: 'Identity', inputs: [x] });
 * graph.setOutputs([graph.addNode({ opType: 'Relu', inputs: [same.output()] }).output()]);
 *
 * const { model, report } = await optimize(new Model({ graph }), [simplify()]);
 * model.graph.nodeCount; // => 1
 * report.steps[0]?.applied.length; // => 1
 * ```
 */
export const simplify: Pass<SimplifyOptions, SimplifySettings> = definePass({
  name: 'simplify/simplify',
  version: 1,
  summary:
    'Folds constants, normalizations and sizes, removes what has no effect, and fuses written-out patterns.',
  options,
  preserves: 'numerics',
  async run(draft: Model, settings: SimplifySettings, context: PassContext): Promise<PassReport> {
    const report = new ReportBuilder();
    const before = { nodes: countNodes(draft), bytes: estimateBytes(draft.graph) };
    await new Run(draft, settings, context, report).toFixedPoint();
    if (settings.batch !== undefined) {
      const applied = report.appliedCount;
      await makeBatchSymbolic(draft, settings.batch, report, context);
      if (report.appliedCount > applied) await new Run(draft, settings, context, report).toFixedPoint();
    }
    report.metric('nodesBefore', before.nodes, 'nodes');
    report.metric('nodesAfter', countNodes(draft), 'nodes');
    report.metric('bytesBefore', before.bytes, 'bytes');
    report.metric('bytesAfter', estimateBytes(draft.graph), 'bytes');
    return report.build();
  },
});

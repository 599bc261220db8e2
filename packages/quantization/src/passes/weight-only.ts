import {
  definePass,
  type Model,
  type Node,
  type Pass,
  type PassContext,
  ReportBuilder,
  type Value,
} from '@lithe/core';
import { reportUnknown } from '../graph/report-unknown.ts';
import { integerRange } from '../parameters/integer-range.ts';
import type { WeightAlgorithm } from '../weight-algorithms/weight-algorithm.ts';
import { quantizedWeights } from '../weights/calibrated-weights.ts';
import { findWeights } from '../weights/find-weights.ts';
import { productPlans, type WeightPlan } from '../weights/product-plans.ts';
import { dataFree, type WeightRequest, type WeightResult } from '../weights/weight-request.ts';
import {
  type StoredWeight,
  storeWeight,
  toGatherBlocks,
  toMatMulNBits,
} from './weight-only/block-operators.ts';
import { dequantizeRange, toDequantizeLinear, toGatheredIntegers } from './weight-only/dequantize.ts';
import { type Table, tableBlock, tablePlan, tablesOf } from './weight-only/embeddings.ts';
import { type BlockForm, nbitsParts } from './weight-only/nbits-parts.ts';
import { type WeightOnlyOptions, type WeightOnlySettings, weightOnlyOptions } from './weight-only/options.ts';

const NAME = 'quantization/weight-only';

/** A table that is to be quantized, and the product whose weight it is too. */
interface TableChoice {
  readonly table: Table;
  readonly plan: WeightPlan;
  readonly tied: boolean;
  readonly bits: 4 | 8;
  readonly blockSize: number;
}

function chooseTables(
  draft: Model,
  plans: readonly WeightPlan[],
  { settings, report }: { readonly settings: WeightOnlySettings; readonly report: ReportBuilder },
): readonly TableChoice[] {
  const { embeddings, bits, blockSize, format } = settings;
  if (embeddings === 'float') return [];
  const chosen: TableChoice[] = [];
  for (const table of tablesOf(draft, settings.minimumElements)) {
    const kept = table.nodes.find(({ name }) => settings.exclude.includes(name));
    if (kept !== undefined) {
      report.skip(kept.name, 'excluded', 'it was excluded by name');
      continue;
    }
    const product = plans.find(({ weight, transposed }) => weight === table.weight && transposed);
    const width = table.source.shape[1]!;
    if (product !== undefined && width % blockSize === 0) {
      chosen.push({ table, plan: product, tied: true, bits, blockSize });
      continue;
    }
    if (embeddings === 'auto') continue;
    const size = tableBlock(width, blockSize);
    if (size === undefined) {
      report.skip(
        table.weight.name,
        'block-size',
        `its rows of ${width} do not fall into blocks of 16 or more`,
      );
      continue;
    }
    const narrow = embeddings === 'int4' && format === 'matmul-nbits';
    if (embeddings === 'int4' && !narrow)
      report.skip(
        table.weight.name,
        'no-kernel',
        'runtimes look up no 4-bit integers; it is stored in 8 bits',
      );
    chosen.push({ table, plan: tablePlan(table), tied: false, bits: narrow ? 4 : 8, blockSize: size });
  }
  return chosen;
}

function requestOf(
  plan: WeightPlan,
  bits: 4 | 8,
  blockSize: number,
  settings: WeightOnlySettings,
): WeightRequest {
  const { symmetric, format } = settings;
  const range =
    format === 'matmul-nbits'
      ? integerRange(bits === 4 ? 'uint4' : 'uint8')
      : dequantizeRange(bits, symmetric);
  return { plan, blockSize, range, scheme: symmetric ? 'extreme' : 'asymmetric' };
}

/** One run of the pass. */
class Run {
  readonly report: ReportBuilder = new ReportBuilder();
  readonly #draft: Model;
  readonly #settings: WeightOnlySettings;
  readonly #context: PassContext;

  constructor(draft: Model, settings: WeightOnlySettings, context: PassContext) {
    this.#draft = draft;
    this.#settings = settings;
    this.#context = context;
  }

  async run(): Promise<void> {
    const { bits, blockSize, format, minimumElements, exclude } = this.#settings;
    reportUnknown(this.#draft.graph.nodesDeep(), { exclude }, this.report);
    const weights = findWeights(this.#draft, minimumElements, new ReportBuilder());
    const given = new Set(weights.map(({ value }) => value));
    const plans = this.#plans();
    const tables = chooseTables(this.#draft, plans, { settings: this.#settings, report: this.report });
    const request = (plan: WeightPlan) => requestOf(plan, bits, blockSize, this.#settings);
    const tied = new Set(tables.filter((choice) => choice.tied).map(({ plan }) => plan));
    const products = plans.filter((plan) => !tied.has(plan)).map(request);
    const results = new Map([
      ...(await this.#quantized(products, this.#settings.algorithm)),
      ...(await this.#quantized(
        tables.map(({ plan, bits: own, blockSize: size }) => requestOf(plan, own, size, this.#settings)),
        dataFree(this.#settings.algorithm),
      )),
    ]);
    if (format === 'matmul-nbits') this.#toBlocks(plans, tables, results);
    else this.#toDequantize(plans, tables, results);
    if (format === 'matmul-nbits' && this.report.appliedCount > 0)
      this.#draft.opsetImports.set('com.microsoft', 1);
    this.#reportOthers(given);
  }

  #plans(): readonly WeightPlan[] {
    const { minimumElements, format } = this.#settings;
    const exclude = new Set(this.#settings.exclude);
    const found = productPlans(this.#draft, { minimumElements, exclude, report: this.report });
    if (format === 'matmul-nbits') return found;
    // The standard operator takes the weight's own place, for all that read it and in both orientations.
    const seen = new Set<Value>();
    return found.filter(({ weight }) => {
      if (seen.has(weight)) return false;
      seen.add(weight);
      if (weight.outputOf.length > 0) {
        this.report.skip(weight.name, 'graph-output', 'it is an output of a graph');
        return false;
      }
      const kept = weight.uses.find(({ node }) => exclude.has(node.name));
      if (kept !== undefined)
        this.report.skip(
          weight.name,
          'excluded',
          `"${kept.node.name}", which reads it, was excluded by name`,
        );
      return kept === undefined;
    });
  }

  #quantized(
    requests: readonly WeightRequest[],
    algorithm: WeightAlgorithm,
  ): Promise<ReadonlyMap<WeightPlan, WeightResult>> {
    const { samples, memoryBytes } = this.#settings;
    return quantizedWeights(this.#draft, requests, {
      algorithm,
      samples,
      memoryBytes,
      pass: NAME,
      context: this.#context,
      report: this.report,
    });
  }

  #toBlocks(
    plans: readonly WeightPlan[],
    tables: readonly TableChoice[],
    results: ReadonlyMap<WeightPlan, WeightResult>,
  ): void {
    const { bits, blockSize, symmetric, accuracyLevel } = this.#settings;
    const stored = new Map<WeightPlan, StoredWeight>();
    const store = (plan: WeightPlan, form: Omit<BlockForm, 'n' | 'k' | 'symmetric'>): StoredWeight => {
      const whole = { ...form, n: plan.n, k: plan.k, symmetric };
      const made =
        stored.get(plan) ??
        storeWeight(plan.weight, nbitsParts(results.get(plan) as WeightResult, whole), whole);
      stored.set(plan, made);
      return made;
    };
    for (const { table, plan, bits: own, blockSize: size, tied } of tables) {
      toGatherBlocks(table, store(plan, { bits: own, blockSize: size, table: true }));
      const copy = tied ? ', the copy of the product that it is tied to' : '';
      this.report.apply(`store the table "${table.weight.name}" in ${own} bits, blocks of ${size}${copy}`);
    }
    for (const plan of plans) {
      toMatMulNBits(plan, store(plan, { bits, blockSize, table: false }), accuracyLevel);
      for (const { node } of plan.products) this.#applied(node.name);
    }
  }

  #toDequantize(
    plans: readonly WeightPlan[],
    tables: readonly TableChoice[],
    results: ReadonlyMap<WeightPlan, WeightResult>,
  ): void {
    const { bits, blockSize, symmetric, embeddings } = this.#settings;
    const keeps = (reader: Node): boolean => embeddings === 'float' && reader.is('Gather');
    for (const plan of plans) {
      const form = { blockSize, symmetric, range: dequantizeRange(bits, symmetric) };
      toDequantizeLinear(plan, { result: results.get(plan) as WeightResult, form }, keeps);
      for (const { node } of plan.products) this.#applied(node.name);
    }
    for (const { table, plan, blockSize: size, tied } of tables) {
      // A tied table now reads what its product reads.
      if (tied) continue;
      const form = { blockSize: size, symmetric, range: dequantizeRange(8, symmetric) };
      toGatheredIntegers(table, plan, { result: results.get(plan) as WeightResult, form });
      this.report.apply(`store the table "${table.weight.name}" in 8 bits, blocks of ${size}`);
    }
  }

  #applied(name: string): void {
    const { bits, blockSize } = this.#settings;
    this.report.apply(`store the weight of "${name}" in ${bits} bits, blocks of ${blockSize}`);
  }

  /** @param given weights of the model as it came: scales that this run added are not among them */
  #reportOthers(given: ReadonlySet<Value>): void {
    const { minimumElements, exclude } = this.#settings;
    for (const { value, uses, source } of findWeights(this.#draft, minimumElements, this.report)) {
      if (!given.has(value)) continue;
      const reader = uses.find(({ node }) => !node.is('MatMul') && !node.is('Gemm'));
      if (reader === undefined || source.shape.length < 2 || exclude.includes(reader.node.name)) continue;
      const reason = reader.node.is('Gather')
        ? 'tables stay float unless "embeddings" says otherwise'
        : `it is read by ${reader.node.op}, for which the format has no operator`;
      this.report.skip(value.name, reader.node.is('Gather') ? 'embedding' : 'no-kernel', reason);
    }
  }
}

/**
 * Stores the weights of matrix products in blocks of 4 or 8 bits that the runtime expands as it multiplies: `MatMul`
 * and `Gemm` with a constant matrix, also one behind a `Transpose`, and embedding tables where asked for. What it does
 * for speed depends on the runtime: in onnxruntime 1.30 4-bit blocks at `accuracyLevel` 4 run 4 times as fast as float
 * on a CPU at one token and fast on WebGPU, and 30 times slower on WASM. Measure on the target.
 *
 * How integers are chosen is the `algorithm`'s matter: rounding to nearest or `hqq()` without data, while the model is
 * written, one weight in memory at a time; `gptq()` and `awq()` on calibration data, with the runtime's memory, the
 * quantized weights and `memoryBytes`. Samples that are filled up with padding count the padding too: give batches of
 * one sample, or of one length.
 *
 * K need not be a multiple of the block size: the last block is filled up. A weight that several nodes share is
 * stored once.
 *
 * @throws {LitheError} PASS_NEEDS when the algorithm needs data and a backend
 * @see the specifications of `com.microsoft.MatMulNBits` version 1 and of `DequantizeLinear` 21
 *
 * @example
 * ```ts
 * import { hqq, weightOnly } from '@lithe/quantization';
 *
 * weightOnly({ bits: 4, blockSize: 32, algorithm: hqq() }).name; // => 'quantization/weight-only'
 * ```
 */
export const weightOnly: Pass<WeightOnlyOptions, WeightOnlySettings> = definePass({
  name: NAME,
  version: 2,
  summary: 'Stores the weights of matrix products in blocks of 4 or 8 bits.',
  options: weightOnlyOptions,
  preserves: 'accuracy',
  run: async (draft, settings, context) => {
    const run = new Run(draft, settings, context);
    await run.run();
    return run.report.build();
  },
});

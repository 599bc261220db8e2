import { errors, inverseFactor, subtractProduct } from '@lithe/core';
import type { ParsedPattern } from './pattern.ts';
import { keepAllBut, keepNOfM } from './select-weights.ts';
import type { ScoredWeight, SolvedWeight, SparsityCriterion, SparsityRequest } from './sparsity-criterion.ts';

/** Options of {@link sparseGpt}. */
export interface SparseGptOptions {
  /**
   * Share of the mean of the Hessian's diagonal that is added to it; 0.01 by default. With fewer rows of data than
   * inputs it is raised in proportion, and reported.
   */
  readonly damping?: number | undefined;
  /** Inputs whose zeros are chosen together; 128 by default. */
  readonly blockSize?: number | undefined;
  /**
   * Whether each layer is calibrated on what the layers before it give once they are sparse, as in the paper: the data
   * runs once a layer. `true` by default; `false` runs it as often as memory asks for.
   */
  readonly sequential?: boolean | undefined;
}

/** The rows of one group of a convolution, or all of a product. */
interface Part {
  /** `[rows, inputs]`, float64; becomes the result. */
  readonly weights: Float64Array;
  readonly rows: number;
  readonly inputs: number;
  readonly run: number;
  /** `H^-1 = U' U`. */
  readonly upper: Float64Array;
  /** Inputs that were always zero: their weights cost nothing. */
  readonly silent: Uint8Array;
}

function dampedFactor(hessian: Float64Array, inputs: number, damping: number, what: string): Factor {
  let mean = 0;
  for (let index = 0; index < inputs; index++) mean += hessian[index * (inputs + 1)]! / inputs;
  for (let share = damping; share <= 1e3; share *= 10) {
    const lambda = mean === 0 ? 1 : share * mean;
    const copy = hessian.slice();
    for (let index = 0; index < inputs; index++) copy[index * (inputs + 1)]! += lambda;
    const upper = inverseFactor(copy, inputs);
    if (upper !== undefined) return { upper, share };
  }
  throw errors.internal(`the Hessian of "${what}" cannot be factored`);
}

interface Factor {
  readonly upper: Float64Array;
  readonly share: number;
}

/** `w² / U_ii²` of the columns from `from` to `to`: what losing a weight costs once the ones behind make up for it. */
function costs(part: Part, from: number, to: number): Float32Array {
  const { weights, rows, inputs, upper, silent } = part;
  const width = to - from;
  const scores = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++)
    for (let column = from; column < to; column++) {
      const ratio = weights[row * inputs + column]! / upper[column * (inputs + 1)]!;
      scores[row * width + column - from] = silent[column]! !== 0 ? 0 : ratio * ratio;
    }
  return scores;
}

/** Chooses zeros of the columns from `from` to `to`, in all rows at once or group by group. */
async function chooseColumns(
  part: Part,
  { pattern, ratio }: SparsityRequest,
  [from, to]: readonly [number, number],
): Promise<Uint8Array> {
  const scores = costs(part, from, to);
  if (pattern.kind === 'n:m')
    return keepNOfM({ outputs: part.rows, inputs: to - from, run: to - from }, scores, pattern);
  return keepAllBut(scores, Math.round(ratio * scores.length));
}

/** Where choices are made: blocks of columns, or the groups of N:M, which see the weights as they are by then. */
function spans(part: Part, pattern: ParsedPattern, block: readonly [number, number]): [number, number][] {
  if (pattern.kind === 'blocks') return [[...block]];
  const found: [number, number][] = [];
  let [from, to] = block;
  while (from < to) {
    const end = Math.min(from + pattern.of, from - (from % part.run) + part.run);
    found.push([from, end]);
    from = end;
  }
  return found;
}

/** Ends of blocks: groups of N:M are not split between two. */
function blocksOf(part: Part, request: SparsityRequest, size: number): [number, number][] {
  const all = spans(part, request.pattern, [0, part.inputs]);
  const blocks: [number, number][] = [];
  if (request.pattern.kind === 'blocks') {
    for (let from = 0; from < part.inputs; from += size)
      blocks.push([from, Math.min(part.inputs, from + size)]);
    return blocks;
  }
  for (const [from, to] of all) {
    const last = blocks.at(-1);
    if (last !== undefined && to - last[0] <= size) last[1] = to;
    else blocks.push([from, to]);
  }
  return blocks;
}

/** Algorithm 1 on some rows: zeros column by column, each made up for by the columns behind. */
async function eliminate(
  part: Part,
  request: SparsityRequest,
  options: { readonly blockSize: number; readonly signal: AbortSignal },
): Promise<void> {
  const { weights, rows, inputs, upper } = part;
  for (const [start, end] of blocksOf(part, request, options.blockSize)) {
    options.signal.throwIfAborted();
    const width = end - start;
    const errorsOf = new Float64Array(rows * width);
    for (const [from, to] of spans(part, request.pattern, [start, end])) {
      const kept = await chooseColumns(part, request, [from, to]);
      for (let row = 0; row < rows; row++) {
        const at = row * inputs;
        for (let column = from; column < to; column++) {
          if (kept[row * (to - from) + column - from]! !== 0) continue;
          const pivot = column * inputs;
          const error = weights[at + column]! / upper[pivot + column]!;
          errorsOf[row * width + column - start] = error;
          for (let next = column + 1; next < end; next++) weights[at + next]! -= error * upper[pivot + next]!;
          weights[at + column] = 0;
        }
      }
    }
    subtractProduct({
      target: weights,
      targetAt: end,
      targetStride: inputs,
      left: errorsOf,
      leftAt: 0,
      leftStride: width,
      right: upper,
      rightAt: start * inputs + end,
      rightStride: inputs,
      rows,
      depth: width,
      columns: inputs - end,
    });
  }
}

/** Rows of the Hessian that are read again while they are in the cache. */
const PANEL = 48;

/** `tr(D H D')` of changed weights. */
function quadraticError(
  change: Float64Array,
  hessian: Float64Array,
  { rows, inputs }: { readonly rows: number; readonly inputs: number },
): number {
  const product = new Float64Array(rows * inputs);
  for (let panel = 0; panel < inputs; panel += PANEL)
    subtractProduct({
      target: product,
      targetAt: 0,
      targetStride: inputs,
      left: change,
      leftAt: panel,
      leftStride: inputs,
      right: hessian,
      rightAt: panel * inputs,
      rightStride: inputs,
      rows,
      depth: Math.min(PANEL, inputs - panel),
      columns: inputs,
    });
  let total = 0;
  for (let index = 0; index < product.length; index++) total -= product[index]! * change[index]!;
  return total;
}

/** The smallest weights of some rows taken away: what the algorithm has to beat. */
async function byMagnitude(part: Part, { pattern, ratio }: SparsityRequest): Promise<Float64Array> {
  const scores = Float32Array.from(part.weights, Math.abs);
  const form = { outputs: part.rows, inputs: part.inputs, run: part.run };
  const kept =
    pattern.kind === 'n:m'
      ? keepNOfM(form, scores, pattern)
      : await keepAllBut(scores, Math.round(ratio * scores.length));
  return part.weights.map((weight, index) => (kept[index]! === 0 ? 0 : weight));
}

async function solve(
  { layer, matrix, statistics, signal }: ScoredWeight,
  request: SparsityRequest,
  options: { readonly damping: number; readonly blockSize: number },
): Promise<SolvedWeight> {
  const { groups, inputs, outputs, run, name } = layer;
  if (statistics?.products === undefined) throw errors.internal(`no products of what "${name}" reads`);
  const rows = outputs / groups;
  const result = new Float32Array(matrix.length);
  const error = { own: 0, magnitude: 0 };
  const notes: string[] = [];
  const scale = 2 / Math.max(1, statistics.rows);
  // Damping grows with what is missing: with fewer rows than inputs, H says nothing of most directions.
  const wanted = Math.min(1, options.damping * Math.max(1, inputs / Math.max(1, statistics.rows)));
  let [damping, worse] = [wanted, 0];
  for (const [group, products] of statistics.products.entries()) {
    const hessian = products.map((sum) => sum * scale);
    const factor = dampedFactor(hessian, inputs, wanted, name);
    damping = Math.max(damping, factor.share);
    const at = group * rows * inputs;
    const before = Float64Array.from(matrix.subarray(at, at + rows * inputs));
    const silent = Uint8Array.from({ length: inputs }, (_, index) =>
      hessian[index * (inputs + 1)]! > 0 ? 0 : 1,
    );
    const part: Part = { weights: before.slice(), rows, inputs, run, upper: factor.upper, silent };
    const magnitude = await byMagnitude(part, request);
    await eliminate(part, request, { ...options, signal });
    const errorOf = (weights: Float64Array): number =>
      quadraticError(
        before.map((weight, index) => Math.fround(weights[index]!) - weight),
        hessian,
        { rows, inputs },
      );
    const own = errorOf(part.weights);
    const theirs = errorOf(magnitude);
    if (own > theirs) worse++;
    error.own += Math.min(own, theirs);
    error.magnitude += theirs;
    result.set(own > theirs ? magnitude : part.weights, at);
  }
  if (worse > 0)
    notes.push(
      `Removing the smallest weights did better on the data in ${worse} of ${groups} groups of "${name}" and was kept there.`,
    );
  const share = Number(damping.toPrecision(2));
  if (statistics.rows < inputs)
    notes.push(
      `The data gave "${name}" ${statistics.rows} rows for sums of ${inputs}; damping was raised to ${share}.`,
    );
  else if (damping > options.damping) notes.push(`Damping was raised to ${share} for "${name}".`);
  return { matrix: result, error, notes };
}

/**
 * SparseGPT: removes weights one input after the other and moves those behind so that they make up for it, as far as the
 * calibration data lets them; which go is decided by `w² / U_ii²`, over all rows of a block of inputs at once, or by
 * group for N:M. Needs about as many rows (positions, tokens) as sums are long. A layer where removing the smallest
 * weights does better on the data is left with that.
 *
 * For a weight `[K, N]` it takes `24 K² + 24 K N` bytes and about `K³ / 3 + N K²` multiply-adds in float64.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when damping or block size is
 * @see Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", ICML 2023,
 *   algorithm 1, with the Hessian `2/n X X'` and damping as in section 3
 */
export function sparseGpt(options: SparseGptOptions = {}): SparsityCriterion {
  const { damping = 0.01, blockSize = 128, sequential = true } = options;
  if (!(damping > 0 && damping <= 1))
    throw errors.valueOutOfRange('The damping of sparseGpt', damping, 'the numbers above 0 up to 1');
  if (!Number.isInteger(blockSize) || blockSize < 1)
    throw errors.valueOutOfRange('The block size of sparseGpt', blockSize, 'the whole numbers from 1');
  return {
    name: 'sparse-gpt',
    needs: 'input-products',
    scope: 'local',
    sequential,
    solve: (weight, request) => {
      const { pattern } = request;
      if (pattern.kind === 'blocks' && pattern.rows * pattern.columns > 1)
        throw errors.optionsInvalid('sparsify', ['SparseGPT takes single weights and N:M, not blocks.']);
      return solve(weight, request, { damping, blockSize });
    },
  };
}

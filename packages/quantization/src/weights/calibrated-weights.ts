import {
  errors,
  type Model,
  type Node,
  type PassContext,
  type ReportBuilder,
  Tensor,
  type Value,
} from '@lithe/core';
import { groupLayout } from '../parameters/group-layout.ts';
import { dequantizeGroups } from '../parameters/kernels.ts';
import { fromRows } from '../parameters/row-form.ts';
import { roundToNearest } from '../weight-algorithms/round-to-nearest.ts';
import type {
  InputMoments,
  QuantizedMatrix,
  WeightAlgorithm,
  WeightMatrix,
  WeightTools,
} from '../weight-algorithms/weight-algorithm.ts';
import { backendTools } from './error-tool.ts';
import { collectMoments, type MomentsInput, momentChunks } from './input-moments.ts';
import type { WeightPlan } from './product-plans.ts';
import { replaceConstant } from './replace-constant.ts';
import { divideInput } from './scale-inputs.ts';
import { lazily, matrixOf, type WeightRequest, type WeightResult } from './weight-request.ts';

/** How {@link quantizedWeights} works. */
export interface CalibratedOptions {
  /** Chooses the integers. */
  readonly algorithm: WeightAlgorithm;
  /** Samples at most. */
  readonly samples: number;
  /** Bytes that moments may take at once. */
  readonly memoryBytes: number;
  /** Name of the pass, for messages. */
  readonly pass: string;
  /** What the run has. */
  readonly context: PassContext;
  /** Where notes go. */
  readonly report: ReportBuilder;
}

/** Weights whose products read the same values. */
interface Group extends MomentsInput {
  readonly requests: readonly WeightRequest[];
}

/** Groups the weights whose products all lie in the main graph; the others are in `rest`. */
function groupsOf(
  model: Model,
  requests: readonly WeightRequest[],
): { groups: Group[]; rest: WeightRequest[] } {
  const groups = new Map<string, Group & { readonly requests: WeightRequest[] }>();
  const rest: WeightRequest[] = [];
  for (const request of requests) {
    const { products, k } = request.plan;
    const values = new Set(products.map(({ product }) => product.input));
    if (products.some(({ node }) => node.graph !== model.graph)) {
      rest.push(request);
      continue;
    }
    const names = [...values].map((value) => value.name);
    const key = names.join('", "');
    const group = groups.get(key) ?? { key, names, k, requests: [] };
    group.requests.push(request);
    groups.set(key, group);
  }
  return { groups: [...groups.values()], rest };
}

/** `H` and magnitudes of inputs that are divided by factors. */
function dividedMoments(moments: InputMoments, factors: Float32Array): InputMoments {
  const { inputs, hessian, meanMagnitude, rows } = moments;
  const out = new Float64Array(hessian.length);
  for (let row = 0, at = 0; row < inputs; row++)
    for (let column = 0; column < inputs; column++, at++)
      out[at] = hessian[at]! / factors[row]! / factors[column]!;
  return { inputs, rows, hessian: out, meanMagnitude: meanMagnitude.map((size, at) => size / factors[at]!) };
}

function multiplied(matrix: WeightMatrix, factors: Float32Array, moments: InputMoments): WeightMatrix {
  const data = new Float32Array(matrix.data.length);
  for (let at = 0, channel = 0; at < data.length; at++) {
    data[at] = matrix.data[at]! * factors[channel]!;
    channel = channel + 1 === matrix.inputs ? 0 : channel + 1;
  }
  return { ...matrix, data, moments };
}

/** What a quantized weight stands for, as it is stored. */
function expanded(request: WeightRequest, found: QuantizedMatrix, factors: Float32Array | undefined): Tensor {
  const { k, n, transposed, source } = request.plan;
  const layout = groupLayout([n, k], { kind: 'per-block', axis: 1, size: request.blockSize });
  const rows = dequantizeGroups(found.levels, layout, found.parameters);
  if (factors !== undefined) for (let at = 0; at < rows.length; at++) rows[at]! /= factors[at % k]!;
  const data = fromRows(rows, { matrices: 1, rows: k, columns: n, transposed: !transposed });
  return Tensor.from('float32', source.shape, data);
}

function replaceTensor(value: Value, tensor: Tensor): void {
  if (value.producer === null) value.graph.setInitializer(value, tensor);
  else replaceConstant(value, (builder) => builder.initializer(value.name, tensor));
}

/** One run over the groups of a model. */
class Calibration {
  readonly results = new Map<WeightPlan, WeightResult>();
  readonly #draft: Model;
  readonly #options: CalibratedOptions;
  readonly #tools: WeightTools;
  /** The float model; in sequential runs its weights are replaced as they are quantized. */
  readonly #float: Model;
  /** Weights that one product reads, by that product. */
  readonly #byProduct = new Map<Node, WeightPlan>();
  /** What output channels are to be divided by. */
  readonly #outputs = new Map<WeightPlan, Float32Array>();
  #own = 0;
  #nearest = 0;
  #total = 0;

  constructor(draft: Model, options: CalibratedOptions, tools: WeightTools) {
    this.#draft = draft;
    this.#options = options;
    this.#tools = tools;
    this.#float = draft.clone();
  }

  async run(groups: readonly Group[]): Promise<void> {
    const { algorithm, memoryBytes, samples, context } = this.#options;
    const { backend, data } = context;
    if (backend === undefined || data === undefined) throw errors.internal('calibration without a backend');
    const sequential = algorithm.sequential === true;
    this.#total = groups.reduce((sum, { requests }) => sum + requests.length, 0);
    // From the end to the start, so that a product before can still take in factors; unless it must be done by then.
    const chunks = sequential
      ? groups.map((group) => [group])
      : momentChunks([...groups].reverse(), memoryBytes);
    for (const { requests } of groups) {
      for (const { plan } of requests)
        if (plan.products.length === 1) this.#byProduct.set(plan.products[0]!.node, plan);
    }
    for (const chunk of chunks as readonly (readonly Group[])[]) {
      const moments = await collectMoments(this.#float, chunk, { backend, data, samples, context });
      for (const group of chunk) await this.#group(group, moments.get(group.key) as InputMoments, sequential);
    }
    if (this.#nearest > 0) {
      const { report } = this.#options;
      report.metric('calibrationErrorOfRoundToNearest', this.#nearest, 'squared error');
      report.metric('calibrationError', this.#own, 'squared error');
    }
  }

  async #group(group: Group, moments: InputMoments, sequential: boolean): Promise<void> {
    const { algorithm, context, report } = this.#options;
    const factors = await this.#factors(group, moments);
    const used = factors === undefined ? moments : dividedMoments(moments, factors);
    for (const request of group.requests) {
      context.signal.throwIfAborted();
      const { plan } = request;
      const done = this.results.size;
      context.progress({ task: 'quantize', done, total: this.#total, label: plan.weight.name });
      const matrix = await this.#matrix(request);
      const input = factors === undefined ? { ...matrix, moments: used } : multiplied(matrix, factors, used);
      const found = await algorithm.quantize(input, this.#tools);
      for (const note of found.notes ?? []) report.apply(note);
      this.#own += found.error?.own ?? 0;
      this.#nearest += found.error?.roundToNearest ?? 0;
      this.results.set(plan, () => Promise.resolve(found));
      const value = sequential ? this.#float.graph.value(plan.weight.name) : undefined;
      if (value !== undefined) replaceTensor(value, expanded(request, found, factors));
    }
  }

  /** Divides output channels of a product's weight, when it is read nowhere else and not quantized yet. */
  #divider(node: Node, channels: number): ((factors: Float32Array) => void) | undefined {
    const plan = this.#byProduct.get(node);
    // One output channel that is broadcast cannot be divided by many factors.
    if (plan === undefined || plan.n !== channels || this.results.has(plan) || this.#outputs.has(plan))
      return undefined;
    if (plan.weight.uses.some((use) => use.node !== node)) return undefined;
    return (factors) => this.#outputs.set(plan, factors);
  }

  async #matrix(request: WeightRequest): Promise<WeightMatrix> {
    const matrix = await matrixOf(request, this.#options.context.signal);
    const factors = this.#outputs.get(request.plan);
    if (factors === undefined) return matrix;
    const { inputs } = matrix;
    return {
      ...matrix,
      data: matrix.data.map((value, at) => value / factors[Math.floor(at / inputs)]!),
    };
  }

  /** The factors that the algorithm asks for, once the activations are divided by them. */
  async #factors(group: Group, moments: InputMoments): Promise<Float32Array | undefined> {
    const { algorithm, report } = this.#options;
    if (algorithm.scaleInputs === undefined) return undefined;
    for (const { plan } of group.requests) {
      const readers = new Set(plan.products.map(({ node }) => node));
      const other = plan.weight.uses.find(({ node }) => !readers.has(node));
      if (other === undefined) continue;
      report.skip(
        plan.weight.name,
        'shared-weight',
        `its input channels are not scaled: "${other.node.name}" (${other.node.op}) reads it as well`,
      );
      return undefined;
    }
    const matrices: WeightMatrix[] = [];
    for (const request of group.requests) matrices.push({ ...(await this.#matrix(request)), moments });
    const factors = await algorithm.scaleInputs({ matrices, moments }, this.#tools);
    if (factors === undefined) return undefined;
    const wrong = factors.find((factor) => !(factor > 0 && factor < Number.POSITIVE_INFINITY));
    if (factors.length !== group.k || wrong !== undefined) {
      const found =
        wrong === undefined ? `${factors.length} factors for ${group.k} channels` : `the factor ${wrong}`;
      throw errors.optionsInvalid(`weight algorithm "${algorithm.name}"`, [`It gave ${found}.`]);
    }
    for (const name of group.names) {
      const value = this.#draft.graph.value(name) as Value;
      const readers: Node[] = [];
      const products = new Set(group.requests.flatMap(({ plan }) => plan.products.map(({ node }) => node)));
      for (const node of this.#draft.graph.nodes())
        if (products.has(node) && node.input(0) === value) readers.push(node);
      const targets = { product: (node: Node) => this.#divider(node, group.k) };
      const place = await divideInput(value, readers, { factors, targets });
      report.apply(
        place === 'mul'
          ? `divide "${name}" by factors of its channels before ${readers.length} products`
          : `divide "${name}" by factors of its channels in what it is computed from`,
      );
    }
    return factors;
  }
}

/**
 * Has an algorithm choose the integers of weights. An algorithm that needs nothing but the weights works when a result
 * is asked for; others work now, and their results are held. Activations of the draft may be scaled, as the algorithm
 * asks; the products' weights are left to the caller.
 *
 * Memory: what the runtime takes, `memoryBytes` of moments, the quantized weights, and one float weight.
 *
 * @throws {LitheError} PASS_NEEDS when the algorithm needs data and the context holds none
 */
export async function quantizedWeights(
  draft: Model,
  requests: readonly WeightRequest[],
  options: CalibratedOptions,
): Promise<ReadonlyMap<WeightPlan, WeightResult>> {
  const { algorithm, context, report } = options;
  if (algorithm.needs === 'weights' && algorithm.scaleInputs === undefined)
    return new Map(requests.map((request) => [request.plan, lazily(request, algorithm)]));
  const { backend, data } = context;
  if (backend === undefined || data === undefined) {
    const missing = [...(data === undefined ? ['data'] : []), ...(backend === undefined ? ['backend'] : [])];
    throw errors.passNeeds(options.pass, missing);
  }
  const { groups, rest } = groupsOf(draft, requests);
  const results = new Map<WeightPlan, WeightResult>();
  for (const request of rest) {
    report.skip(
      request.plan.weight.name,
      'in-subgraph',
      `it is rounded to nearest: what its products in a subgraph read cannot be observed`,
    );
    results.set(request.plan, lazily(request, roundToNearest()));
  }
  const tools = backendTools(backend, context.signal);
  try {
    const calibration = new Calibration(draft, options, tools);
    if (groups.length > 0) await calibration.run(groups);
    return new Map([...results, ...calibration.results]);
  } finally {
    await tools.dispose();
  }
}

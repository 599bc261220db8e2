import {
  constantOf,
  type IntegerRules,
  inferShapes,
  type Model,
  type Node,
  type RunContext,
  standardOps,
  type Target,
} from '@lithe/core';
import { FusionDraft, graphsOf, onlyReader } from './fusion-draft.ts';
import { quantizeBeforeTransposes, rewriteAsLoaded } from './load-rewrites.ts';
import { absorbRectifiers, type Blocker, matchNode, unsignSinglePairs } from './match.ts';
import { isDequantize, isQuantize, sameParameters } from './pairs.ts';

/**
 * How a runtime computes an operator.
 *
 * - `integer`: on integers, from integers.
 * - `absorbed`: not at all: the quantization of the operator before it clips as it would.
 * - `weights`: on float activations, with weights that are expanded while multiplying.
 * - `float`: in floats.
 * - `other`: neither: it works on shapes, indices or conditions.
 */
export type Arithmetic = 'integer' | 'absorbed' | 'weights' | 'float' | 'other';

/** How one operator of a model is computed, and why. */
export interface OperatorExplanation {
  /** Name of the node. */
  readonly node: string;
  /** Its operator, with its domain unless that is `ai.onnx`. */
  readonly op: string;
  /** How it is computed. */
  readonly runs: Arithmetic;
  /** The operator that the runtime makes of it, where it runs in integers. */
  readonly as?: string | undefined;
  /** Why it stays in float: a short stable code, such as `graph-output`. Present with `float`. */
  readonly code?: string | undefined;
  /** The same as a clause; with `integer`, what to beware of. */
  readonly reason?: string | undefined;
  /** The node or value that stands in the way, by name. */
  readonly blockedBy?: string | undefined;
}

/** How a target computes a model: plain data. */
export interface Explanation {
  /** Name of the target. */
  readonly target: string;
  /** Every operator in order, those of subgraphs included; quantizing and dequantizing nodes and constants left out. */
  readonly operators: readonly OperatorExplanation[];
  /** Operators that run in integers, the absorbed ones included. */
  readonly integer: number;
  /** Operators that run in floats. */
  readonly float: number;
  /** `QuantizeLinear` nodes that are left, each a pass over a tensor. */
  readonly quantizers: number;
  /** `DequantizeLinear` nodes of activations that are left. */
  readonly dequantizers: number;
}

/** How {@link explain} looks at a model. */
export interface ExplainOptions {
  /** What the model is for. */
  readonly target: Target;
  /** Cancellation. */
  readonly context?: Pick<RunContext, 'signal'> | undefined;
}

const integerOps: ReadonlySet<string> = new Set([
  'ConvInteger',
  'MatMulInteger',
  'QLinearConv',
  'QLinearMatMul',
]);
const packedOps: ReadonlySet<string> = new Set(['MatMulNBits', 'MatMulBnb4', 'GatherBlockQuantized']);

/** Whether an operator reads integers by its own definition. */
function isIntegerOp(node: Node): boolean {
  if (node.domain === '') return integerOps.has(node.opType);
  if (node.domain !== 'com.microsoft') return false;
  return (
    /^QLinear|^QGemm$|^QAttention$/.test(node.opType) ||
    /^DynamicQuantize|^MatMulIntegerToFloat$|^ConvInteger/.test(node.opType)
  );
}

const isSmallInteger = (dtype: string | undefined): boolean => dtype === 'int8' || dtype === 'uint8';
const isReal = (dtype: string | undefined): boolean =>
  dtype === undefined ||
  dtype === 'float32' ||
  dtype === 'float16' ||
  dtype === 'float64' ||
  dtype === 'bfloat16';

/** Whether floats go in or come out. */
function touchesReals(node: Node): boolean {
  const values = [...node.inputs, ...node.outputs];
  return values.some((value) => value !== null && value.name !== '' && isReal(value.dtype));
}

/** Whether a product reads a constant matrix that it expands block by block while it multiplies. */
function readsPackedWeights(node: Node, draft: FusionDraft): boolean {
  if (!node.is('MatMul') || node.output().uses.some((use) => isQuantize(use.node))) return false;
  const follower = onlyReader(node.output())?.node;
  if (follower !== undefined && (follower.is('Relu') || follower.is('Clip'))) return false;
  const stored = node.input(1)?.producer;
  if (!isDequantize(stored) || isDequantize(node.input(0)?.producer)) return false;
  const [weight, scale, zero] = [stored.input(0), stored.input(1), stored.input(2)];
  const { dtype } = draft.parameters(stored);
  const [matrix, scales] = [constantOf(weight), constantOf(scale)];
  if (matrix?.shape.length !== 2 || scales === undefined || (zero !== null && constantOf(zero) === undefined))
    return false;
  if (dtype !== 'int4' && dtype !== 'uint4' && !isSmallInteger(dtype)) return false;
  const number = (name: string, fallback: number): number => {
    const found = stored.attributes.get(name);
    return found?.kind === 'int' ? Number(found.value) : fallback;
  };
  const block = number('block_size', 0);
  if (block === 0)
    return (
      scales.shape.length === 0 ||
      (scales.shape.length === 1 && scales.shape[0] === matrix.shape[1] && number('axis', 1) === 1)
    );
  return block >= 16 && (block & (block - 1)) === 0 && number('axis', 1) === 0 && scales.shape.length === 2;
}

interface Verdict extends Partial<Blocker> {
  readonly runs: Arithmetic;
  readonly as?: string | undefined;
}

/** What each node of the draft becomes, by the names of the model. */
function verdictsOf(
  draft: FusionDraft,
  rules: IntegerRules,
): { verdicts: Map<string, Verdict>; taken: Set<Node> } {
  const verdicts = new Map<string, Verdict>();
  const taken = new Set<Node>();
  for (const graph of graphsOf(draft.model.graph)) {
    for (const node of graph.nodes()) {
      if (isQuantize(node) || isDequantize(node)) continue;
      const names = draft.namesOf(node);
      const say = (verdict: Verdict): void => {
        for (const name of names) verdicts.set(name, verdict);
      };
      const rule = node.domain === '' ? rules.operators[node.opType] : undefined;
      const match =
        rule === undefined || !Object.hasOwn(rules.operators, node.opType)
          ? undefined
          : matchNode(node, rule, { draft, rules });
      if (match?.ok === true) {
        for (const one of match.takes) taken.add(one);
        say({ runs: 'integer', as: match.becomes });
        if (match.rectifier !== undefined) draft.absorbed.set(match.rectifier.name, node.name);
      } else if (readsPackedWeights(node, draft)) {
        taken.add(node.input(1)?.producer as Node);
        say({ runs: 'weights', as: 'MatMulNBits' });
      } else if (match !== undefined)
        say({ runs: 'float', code: match.code, reason: match.reason, by: match.by });
      else say({ runs: 'float', code: 'no-kernel', reason: `${node.opType} has no integer form there` });
    }
  }
  return { verdicts, taken };
}

/** Dequantizers whose integers are quantized again alike fall out, with the quantizer. */
function countConversions(draft: FusionDraft, taken: ReadonlySet<Node>): readonly [number, number] {
  let quantizers = 0;
  let dequantizers = 0;
  const gone = new Set<Node>();
  for (const graph of graphsOf(draft.model.graph)) {
    for (const node of graph.nodes()) {
      if (
        !isDequantize(node) ||
        taken.has(node) ||
        node.output().isGraphOutput ||
        node.output().useCount !== 1
      )
        continue;
      const next = node.output().uses[0]?.node;
      if (!isQuantize(next) || taken.has(next) || next.output().useCount !== 1) continue;
      if (!sameParameters(draft.parameters(node), draft.parameters(next))) continue;
      gone.add(node);
      gone.add(next);
    }
    for (const node of graph.nodes()) {
      if (taken.has(node) || gone.has(node)) continue;
      if (isQuantize(node)) quantizers++;
      else if (isDequantize(node) && constantOf(node.input(0)) === undefined) dequantizers++;
    }
  }
  return [quantizers, dequantizers];
}

/**
 * Foretells, for every operator of a model, whether a target computes it in integers, and if not, which rule or
 * neighbour stands in the way: a result that is read in floats, a model output inside the pattern, an activation
 * function that the quantization does not absorb, signed activations with several readers, and so on. The target's
 * rules are data beside its backend, checked there and in our tests against the graphs that the runtime really runs.
 *
 * @param model is not changed
 *
 * @example
 * ```ts
 * import { nodeCpuTarget } from '@lithe/backend-onnxruntime';
 * import { GraphBuilder } from '@lithe/core';
 * import { explain } from '@lithe/quantization';
 *
 * const builder = new GraphBuilder();
 * const x = builder.input('x', 'float32', [1, 4]);
 * builder.output('y', builder.op.Tanh([x]));
 * const { operators } = await explain(await builder.build(), { target: nodeCpuTarget() });
 * operators[0]?.code; // => 'no-kernel'
 * ```
 */
export async function explain(model: Model, options: ExplainOptions): Promise<Explanation> {
  const { target } = options;
  const signal = options.context?.signal;
  const rules = target.profile.integers;
  const draft = await FusionDraft.of(model, signal);
  await inferShapes(draft.model, { opset: standardOps, signal, strict: false });
  const numbers = new Set([...draft.model.graph.nodesDeep()].filter(touchesReals).map(({ name }) => name));
  if (rules !== undefined) rewriteAsLoaded(draft, rules);
  if (rules !== undefined) {
    absorbRectifiers(draft, rules);
    quantizeBeforeTransposes(draft, rules);
  }
  if (rules?.signedActivations === 'single-reader') unsignSinglePairs(draft);
  const { verdicts, taken } =
    rules === undefined
      ? { verdicts: new Map<string, Verdict>(), taken: new Set<Node>() }
      : verdictsOf(draft, rules);
  const operators: OperatorExplanation[] = [];
  for (const graph of graphsOf(model.graph)) {
    for (const node of graph.nodes()) {
      if (isQuantize(node) || isDequantize(node) || node.is('Constant')) continue;
      operators.push(explainNode(node, { verdicts, draft, target, numbers }));
    }
  }
  const [quantizers, dequantizers] = countConversions(draft, taken);
  const count = (...kinds: readonly Arithmetic[]): number =>
    operators.filter(({ runs }) => kinds.includes(runs)).length;
  return {
    target: target.name,
    operators,
    integer: count('integer', 'absorbed'),
    float: count('float', 'weights'),
    quantizers,
    dequantizers,
  };
}

interface Findings {
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly draft: FusionDraft;
  readonly target: Target;
  /** Names of nodes that floats go into or come out of. */
  readonly numbers: ReadonlySet<string>;
}

function explainNode(node: Node, { verdicts, draft, target, numbers }: Findings): OperatorExplanation {
  const base = { node: node.name, op: node.op };
  if (isIntegerOp(node)) {
    return target.profile.integers === undefined
      ? { ...base, runs: 'float', code: 'target', reason: `${target.name} has no integer ${node.opType}` }
      : { ...base, runs: 'integer', as: node.opType };
  }
  if (packedOps.has(node.opType)) return { ...base, runs: 'weights', as: node.opType };
  const absorbedBy = draft.absorbed.get(node.name);
  if (absorbedBy !== undefined)
    return { ...base, runs: 'absorbed', reason: `the quantization "${absorbedBy}" clips as it does` };
  if (isSmallInteger(node.input(0)?.dtype)) return { ...base, runs: 'integer', as: node.opType };
  const verdict = verdicts.get(node.name);
  if (verdict?.runs !== 'integer' && !numbers.has(node.name)) return { ...base, runs: 'other' };
  if (verdict === undefined) {
    const fuses = target.profile.fusesQdq(node);
    const reason = fuses.ok ? 'the runtime removes it' : fuses.reason;
    return { ...base, runs: 'float', code: fuses.ok ? 'removed' : 'target', reason };
  }
  const { runs, as, code, reason, by } = verdict;
  if (runs === 'integer' && draft.selfQuantized.has(node.name)) {
    const warning = 'its float weights are quantized by the runtime itself, with one scale for all of them';
    return { ...base, runs, as, code: 'weights-by-runtime', reason: warning };
  }
  return { ...base, runs, as, code, reason, blockedBy: by };
}

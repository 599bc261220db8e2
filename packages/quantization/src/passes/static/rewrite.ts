import {
  attribute,
  constantOf,
  type Graph,
  type Node,
  Tensor,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { inserter } from '../../graph/replace-node.ts';
import type { AffineParameters } from '../../parameters/affine.ts';
import { freeScalesOfEmptyChannels, quantizeBias, raiseScalesForBias } from '../../parameters/bias.ts';
import { granularity } from '../../parameters/granularity.ts';
import { groupLayout } from '../../parameters/group-layout.ts';
import type { IntegerRange } from '../../parameters/integer-range.ts';
import { type IntegerArray, integerArray } from '../../parameters/kernels.ts';
import { groupMagnitudes } from '../../parameters/reduce.ts';
import { float32Data } from '../../weights/lazy-parts.ts';
import {
  elementParameters,
  integerTensor,
  quantizedWeight,
  type WeightSpec,
} from '../../weights/quantized-weight.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import type { SharedWeights } from '../../weights/shared.ts';
import { dataInputs } from './operator-kinds.ts';
import type { StaticPlan } from './plan.ts';

/** What the rewriting of one graph works with. */
export interface StaticRewrite {
  /** What is quantized. */
  readonly plan: StaticPlan;
  /** Scale and zero point by value. */
  readonly ranges: ReadonlyMap<Value, AffineParameters>;
  /** Integers of activations. */
  readonly activations: IntegerRange;
  /** Integers of the weights of a node. */
  readonly weights: (node: Node) => IntegerRange;
  /** Operators whose float weights the runtime would quantize on its own, with one scale for all. */
  readonly guarded: readonly string[];
  /** Whether each output channel of a weight has a scale of its own, or all share one. */
  readonly granularity: 'per-channel' | 'per-tensor';
  /** Weights that were stored, behind their `DequantizeLinear`. */
  readonly shared: SharedWeights<Value>;
  /** Cancellation. */
  readonly signal: AbortSignal;
}

/** Scale and zero point as graph values. */
interface ScaleValues {
  readonly scale: Value;
  readonly zeroPoint: Value;
}

/** Integers of a range. */
function integersOf(range: IntegerRange, values: readonly number[]): IntegerArray {
  const array = integerArray(range, values.length);
  array.set(values);
  return array;
}

function addScale(
  graph: Graph,
  name: string,
  parameters: AffineParameters,
  range: IntegerRange,
): ScaleValues {
  const scale = Tensor.from('float32', [], new Float32Array([parameters.scale]));
  const zeroPoint = integerTensor(range, [], integersOf(range, [parameters.zeroPoint]));
  return {
    scale: graph.addInitializer(graph.uniqueName(`${name}_scale`), scale),
    zeroPoint: graph.addInitializer(graph.uniqueName(`${name}_zero_point`), zeroPoint),
  };
}

/** Puts pairs behind the planned values. Call it last: it moves readers. */
export function insertPairs(graph: Graph, rewrite: StaticRewrite): void {
  const { plan, ranges, activations } = rewrite;
  const scales = new Map<AffineParameters, ScaleValues>();
  const first = graph.nodes().next().value as Node | undefined;
  for (const value of plan.values) {
    const parameters = ranges.get(value) as AffineParameters;
    let shared = scales.get(parameters);
    if (shared === undefined) {
      shared = addScale(graph, value.name, parameters, activations);
      scales.set(parameters, shared);
    }
    const { scale, zeroPoint } = shared;
    const { producer } = value;
    const integer = producer !== null && (plan.nodes.has(producer) || plan.absorbed.has(producer));
    const readers = value.uses.filter(({ node, index }) => integer || readsIntegers(node, index, plan));
    const isOutput = value.isGraphOutput;
    const place = producer === null ? { before: first } : { after: producer };
    const q = graph.addNode(
      { opType: 'QuantizeLinear', inputs: [value, scale, zeroPoint] },
      [{ name: graph.uniqueName(`${value.name}_quantized`) }],
      place,
    );
    const dq = graph.addNode(
      { opType: 'DequantizeLinear', inputs: [q.output(), scale, zeroPoint] },
      [{ name: graph.uniqueName(`${value.name}_dequantized`), type: value.type }],
      { after: q },
    );
    if (integer && isOutput) {
      // The pair's result takes over the name of the output; the quantizer goes on reading the computed value.
      graph.replaceAllUses(value, dq.output());
      graph.setInput(q, 0, value);
    } else {
      for (const { node, index } of readers) {
        const channels = index === 0 ? unguardedChannels(node, rewrite) : undefined;
        const read =
          channels === undefined
            ? dq.output()
            : dequantizePerChannel(q.output(), { parameters, range: activations, channels, like: dq });
        node.graph.setInput(node, index, read);
      }
    }
  }
}

/**
 * Channels of the input of a float node that the runtime would quantize on its own, with one scale for all its weights:
 * one with float weights, between a dequantized input and a quantized output.
 */
function unguardedChannels(node: Node, { plan, guarded }: StaticRewrite): Channels | undefined {
  if (plan.nodes.has(node) || node.domain !== '' || !guarded.includes(node.opType)) return undefined;
  const weight = constantOf(node.input(1));
  if (weight?.dtype !== 'float32' || !leadsToPair(node, plan)) return undefined;
  const number = (name: string, fallback: number): number => {
    const found = node.attributes.get(name);
    return found?.kind === 'int' ? Number(found.value) : fallback;
  };
  if (node.is('Gemm')) {
    const rows = number('transB', 0) === 0 ? 0 : 1;
    return { axis: number('transA', 0) === 0 ? 1 : 0, count: weight.shape[rows] ?? 1 };
  }
  const count = node.is('ConvTranspose')
    ? (weight.shape[0] ?? 1)
    : (weight.shape[1] ?? 1) * number('group', 1);
  return { axis: 1, count };
}

/** Whether the result of a node goes to a value that gets a pair, alone, through rectifiers at most. */
function leadsToPair(node: Node, plan: StaticPlan): boolean {
  for (let current = node; ; ) {
    const result = current.output();
    if (plan.values.includes(result)) return true;
    const [use] = result.uses;
    if (use === undefined || result.uses.length !== 1) return false;
    if (!use.node.is('Relu') && !use.node.is('Clip')) return false;
    current = use.node;
  }
}

interface Channels {
  readonly axis: number;
  readonly count: number;
}

/** Expands a tensor with its one scale repeated for each channel, which means the same and is not taken for a pair. */
function dequantizePerChannel(
  levels: Value,
  part: {
    readonly parameters: AffineParameters;
    readonly range: IntegerRange;
    readonly channels: Channels;
    readonly like: Node;
  },
): Value {
  const { parameters, range, channels, like } = part;
  const { graph } = like;
  const { axis, count } = channels;
  const scales = Tensor.from('float32', [count], new Float32Array(count).fill(parameters.scale));
  const zeros = integersOf(range, new Array<number>(count).fill(parameters.zeroPoint));
  const inputs = [
    levels,
    graph.addInitializer(graph.uniqueName(`${levels.name}_scales`), scales),
    graph.addInitializer(
      graph.uniqueName(`${levels.name}_zero_points`),
      integerTensor(range, [count], zeros),
    ),
  ];
  const attributes = { axis: attribute.int(axis) };
  const init = { opType: 'DequantizeLinear', inputs, attributes };
  return graph.addNode(init, [{ type: like.output().type }], { after: like }).output();
}

function readsIntegers(node: Node, index: number, plan: StaticPlan): boolean {
  return plan.nodes.has(node) && dataInputs(node).includes(index);
}

interface WeightUse {
  readonly node: Node;
  readonly weight: Value;
  readonly source: TensorSource;
  /** Axis of the output channels. */
  readonly axis: number;
  readonly bias: Value | null;
}

function weightUse(node: Node): WeightUse | undefined {
  const weight = node.input(1);
  const source = constantOf(weight);
  if (weight === null || source === undefined) return undefined;
  if (node.is('Conv')) return { node, weight, source, axis: 0, bias: node.input(2) };
  if (node.is('MatMul')) return { node, weight, source, axis: 1, bias: null };
  const transB = node.attributes.get('transB');
  const axis = transB?.kind === 'int' && transB.value !== 0n ? 0 : 1;
  return { node, weight, source, axis, bias: node.input(2) };
}

/** Gives an anchor its weight and bias as integers. The weight is read once for its scales, and again when written. */
async function quantizeWeight(use: WeightUse, rewrite: StaticRewrite): Promise<void> {
  const { node, weight, source, axis, bias } = use;
  const { graph } = node;
  const what = `weight "${weight.name}"`;
  const spec: WeightSpec = {
    granularity:
      rewrite.granularity === 'per-tensor' ? granularity.perTensor() : granularity.perChannel(axis),
    range: rewrite.weights(node),
    scheme: 'symmetric',
    what,
  };
  const data = float32Data(await source.load(rewrite.signal), what);
  const parameters = elementParameters(data, spec, source.shape);
  const biasSource = constantOf(bias);
  const input = rewrite.ranges.get(node.input(0) as Value) as AffineParameters;
  const biasData =
    biasSource === undefined
      ? undefined
      : float32Data(await biasSource.load(rewrite.signal), `bias of "${node.name}"`);
  let raised = 0;
  if (biasData !== undefined) {
    // Scale 1 is what a channel without weights gets; few others have it.
    if (parameters.scales.length > 1 && parameters.scales.includes(1)) {
      const magnitudes = groupMagnitudes(data, groupLayout(source.shape, spec.granularity), what);
      freeScalesOfEmptyChannels(parameters.scales, magnitudes, biasData);
    }
    raised = raiseScalesForBias(parameters.scales, biasData, input.scale);
  }
  const insert = inserter(graph, node);
  const constant = (name: string, sources: readonly TensorSource[], along: number): Value => {
    const [values, scales, zeroPoints] = sources as readonly [TensorSource, TensorSource, TensorSource];
    const inputs = [
      insert.initializer(`${name}_quantized`, values),
      insert.initializer(`${name}_scale`, scales),
      insert.initializer(`${name}_zero_point`, zeroPoints),
    ];
    return insert.node('DequantizeLinear', inputs, { attributes: { axis: attribute.int(along) } })[0]!;
  };
  // Scales that were raised for one node's bias are that node's own.
  const form = raised > 0 ? `for node ${rewrite.shared.size}` : `along axis ${axis} to ${spec.range.high}`;
  const stored = rewrite.shared.get(weight, form, () => {
    const quantized = quantizedWeight(source, spec, parameters);
    return constant(weight.name, [quantized.values, quantized.scales, quantized.zeroPoints], axis);
  });
  graph.setInput(node, 1, stored);
  removeConstant(weight);
  if (bias === null || biasData === undefined) return;
  const { values, scales } = quantizeBias(biasData, input.scale, parameters.scales);
  const length = values.length;
  const shape = rewrite.granularity === 'per-tensor' ? [] : [scales.length];
  const parts = [
    Tensor.from('int32', [length], values),
    Tensor.from('float32', shape, scales),
    Tensor.from('int32', shape, new Int32Array(scales.length)),
  ];
  graph.setInput(node, 2, constant(bias.name, parts, 0));
  removeConstant(bias);
}

/** Quantizes a constant operand of a follower like an activation: one scale, the range of its elements. */
async function quantizeOperand(node: Node, index: number, rewrite: StaticRewrite): Promise<void> {
  const value = node.input(index) as Value;
  const source = constantOf(value) as TensorSource;
  const quantized = quantizedWeight(source, {
    granularity: granularity.perTensor(),
    range: rewrite.activations,
    scheme: 'asymmetric',
    what: `constant "${value.name}"`,
  });
  const insert = inserter(node.graph, node);
  const inputs = [
    insert.initializer(`${value.name}_quantized`, quantized.values),
    insert.initializer(`${value.name}_scale`, quantized.scales),
    insert.initializer(`${value.name}_zero_point`, quantized.zeroPoints),
  ];
  node.graph.setInput(node, index, insert.node('DequantizeLinear', inputs)[0]!);
  removeConstant(value);
}

/** Rewrites a graph after its plan. */
export async function rewriteStatic(graph: Graph, rewrite: StaticRewrite): Promise<void> {
  for (const [node, kind] of rewrite.plan.nodes) {
    rewrite.signal.throwIfAborted();
    const use = kind === 'anchor' ? weightUse(node) : undefined;
    if (use !== undefined) await quantizeWeight(use, rewrite);
    else if (kind === 'follower') {
      for (const index of dataInputs(node)) {
        if (constantOf(node.input(index)) !== undefined) await quantizeOperand(node, index, rewrite);
      }
    }
  }
  insertPairs(graph, rewrite);
}

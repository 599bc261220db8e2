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
import { groupMagnitudes } from '../../parameters/reduce.ts';
import { float32Data } from '../../weights/lazy-parts.ts';
import { elementParameters, quantizedWeight, type WeightSpec } from '../../weights/quantized-weight.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import type { SharedWeights } from '../../weights/shared.ts';
import { dataInputs } from './operator-kinds.ts';
import { insertPairs, type PairRequest } from './pairs.ts';

/** What the rewriting of one graph works with. */
export interface StaticRewrite extends PairRequest {
  /** Integers of the weights of a node. */
  readonly weights: (node: Node) => IntegerRange;
  /** Whether each output channel of a weight has a scale of its own, or all share one. */
  readonly granularity: 'per-channel' | 'per-tensor';
  /** Weights that were stored, behind their `DequantizeLinear`. */
  readonly shared: SharedWeights<Value>;
  /** Cancellation. */
  readonly signal: AbortSignal;
}

/** A constant weight as an anchor reads it. */
export interface WeightUse {
  /** The node. */
  readonly node: Node;
  /** The weight. */
  readonly weight: Value;
  /** Its elements. */
  readonly source: TensorSource;
  /** Axis of the output channels. */
  readonly axis: number;
  /** The bias, where there is one. */
  readonly bias: Value | null;
}

/** The weight of an anchor; `undefined` where it is computed. */
export function weightUse(node: Node): WeightUse | undefined {
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

import { constantOf, type Node, type TensorSource, type Value } from '@lithe/core';
import { intOf } from './attributes.ts';
import { type WeightLayout, weightLayout } from './weight-layout.ts';

/** A node that multiplies its first input by a constant float32 weight. */
export interface LinearLayer {
  /** `Conv`, `ConvTranspose`, `Gemm` or `MatMul`. */
  readonly node: Node;
  /** Activations. */
  readonly input: Value;
  /** What it makes, before any activation function. */
  readonly output: Value;
  /** The constant. */
  readonly weight: Value;
  /** Its elements. */
  readonly source: TensorSource;
  /** Bias input; `null` without one, and for `MatMul`. */
  readonly bias: Value | null;
  /** How channels lie in the weight. */
  readonly layout: WeightLayout;
  /** Whether channels are axis 1 of the activations (convolutions) or the last one (products). */
  readonly channels: 'second' | 'last';
}

const linearOps: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose', 'Gemm', 'MatMul']);

/** Whether the operator is one that {@link readLinearLayer} reads, whatever its inputs. */
export function isLinearOp(node: Node): boolean {
  return node.domain === '' && linearOps.has(node.opType);
}

/**
 * Reads a node as a layer; `undefined` when its weight is not a float32 constant, its bias is computed or has another
 * shape than `[outputs]`, or a `Gemm` transposes its activations.
 */
export function readLinearLayer(node: Node): LinearLayer | undefined {
  if (!isLinearOp(node)) return undefined;
  const [input, weight] = [node.input(0), node.input(1)];
  const source = constantOf(weight);
  if (input === null || weight === null || source?.dtype !== 'float32') return undefined;
  if (constantOf(input) !== undefined || intOf(node, 'transA', 0) !== 0) return undefined;
  const layout = weightLayout(node, source.shape);
  if (layout === undefined) return undefined;
  const bias = node.is('MatMul') ? null : node.input(2);
  if (bias !== null) {
    const held = constantOf(bias);
    if (held?.dtype !== 'float32' || held.shape.length !== 1 || held.shape[0] !== layout.outputs)
      return undefined;
  }
  const channels = node.is('Conv') || node.is('ConvTranspose') ? 'second' : 'last';
  return { node, input, output: node.output(), weight, source, bias, layout, channels };
}

import { constantOf, type Node, type Value } from '@lithe/core';
import { intOf } from '../layers/attributes.ts';
import { type LinearLayer, readLinearLayer } from '../layers/linear-layer.ts';

/** A constant along the last axis that is divided by the smoothing scales. */
export interface DividedConstant {
  /** Its reader. */
  readonly node: Node;
  /** Which input it is. */
  readonly index: number;
}

/** Where a division of a value by a vector along its last axis can be folded. */
export interface FoldTarget {
  /** Scales, shifts and the like, divided. */
  readonly constants: readonly DividedConstant[];
  /** Layers whose output channels are divided. */
  readonly layers: readonly LinearLayer[];
}

/** Inputs of normalizations that scale or shift their result, by operator. */
const normalizations: Readonly<Record<string, readonly number[]>> = {
  LayerNormalization: [1, 2],
  RMSNormalization: [1],
  SimplifiedLayerNormalization: [1],
  'com.microsoft.SkipLayerNormalization': [2, 3],
  'com.microsoft.SkipSimplifiedLayerNormalization': [2],
};

/** Elementwise operators that a positive factor passes. */
const homogeneous: ReadonlySet<string> = new Set(['Relu', 'LeakyRelu', 'Identity']);

/** Whether a constant is one number, or one per channel of the last axis. */
function alongLast(value: Value | null, channels: number): boolean {
  const source = constantOf(value);
  if (source?.dtype !== 'float32') return false;
  const { shape } = source;
  return shape.every((dim, axis) => dim === 1 || (axis === shape.length - 1 && dim === channels));
}

const onlyReader = (value: Value): boolean => value.useCount === 1 && value.outputOf.length === 0;

function normalization(node: Node, channels: number): FoldTarget | undefined {
  const inputs = normalizations[node.op];
  if (inputs === undefined) return undefined;
  const axis = intOf(node, 'axis', -1);
  const rank = node.input(0)?.shape?.length;
  if (axis !== -1 && (rank === undefined || axis !== rank - 1)) return undefined;
  const present = inputs.filter((index) => node.input(index) !== null);
  if (!present.every((index) => alongLast(node.input(index), channels))) return undefined;
  return { constants: present.map((index) => ({ node, index })), layers: [] };
}

function joined(left: FoldTarget | undefined, constant: DividedConstant): FoldTarget | undefined {
  return left === undefined ? undefined : { ...left, constants: [...left.constants, constant] };
}

function elementwise(node: Node, channels: number): FoldTarget | undefined {
  const [left, right] = [node.input(0), node.input(1)];
  const index = constantOf(left) === undefined ? 1 : 0;
  const isConstant = constantOf(node.input(index)) !== undefined;
  if (node.is('Mul')) {
    if (isConstant)
      return alongLast(node.input(index), channels)
        ? { constants: [{ node, index }], layers: [] }
        : undefined;
    // A gated product: one side takes it.
    for (const side of [right, left]) {
      const found = side === null || !onlyReader(side) ? undefined : foldTarget(side, channels);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  const other = node.input(1 - index);
  if (!isConstant || other === null || !alongLast(node.input(index), channels)) return undefined;
  return onlyReader(other) ? joined(foldTarget(other, channels), { node, index }) : undefined;
}

/**
 * Where a value of `channels` along its last axis can be divided without a new node: in the normalization, product,
 * scale or shift that makes it. `undefined` where there is no such place. Readers of the value itself are the
 * caller's to check.
 */
export function foldTarget(value: Value, channels: number): FoldTarget | undefined {
  const node = value.producer;
  if (node === null || value.graph !== node.graph || value.outputIndex !== 0) return undefined;
  if (node.op in normalizations) return normalization(node, channels);
  if (node.is('Mul') || node.is('Add')) return elementwise(node, channels);
  if (node.domain === '' && homogeneous.has(node.opType)) {
    const input = node.input(0);
    return input !== null && onlyReader(input) ? foldTarget(input, channels) : undefined;
  }
  const layer = readLinearLayer(node);
  if (layer === undefined || layer.channels !== 'last' || layer.layout.outputs !== channels) return undefined;
  return layer.weight.useCount === 1 ? { constants: [], layers: [layer] } : undefined;
}

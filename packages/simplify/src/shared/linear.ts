import type { Node, RewriteContext, TensorSource, Value } from '@lithe/core';
import { floatOf, intOf, isUnpadded } from './attributes.ts';
import { spanOnAxis } from './shapes.ts';
import { foldableDTypes } from './weights.ts';

/** A node that multiplies its input by a constant weight, and how channels lie in that weight. */
export interface Linear {
  /** The node. */
  readonly node: Node;
  /** The weight input; its index is 1. */
  readonly weight: Value;
  /** Its contents. */
  readonly source: TensorSource;
  /** Rank of input and output; `undefined` when it may be any (MatMul). */
  readonly rank: number | undefined;
  /** Axis of the channels in the output (and the input); negative counts from the end. */
  readonly channelAxis: 1 | -1;
  /** Channels of the output. */
  readonly outputs: number;
  /** Channels of the input. */
  readonly inputs: number;
  /** Whether the node can add a constant per output channel. */
  readonly takesBias: boolean;
  /** Whether a constant added to the input is a constant added to the output. */
  readonly uniform: boolean;
  /** Scales the weight by a factor per output channel, or one for all. */
  scaleOutputs(numbers: Float64Array, factors: Float64Array): void;
  /** Scales the weight by a factor per input channel, or one for all. */
  scaleInputs(numbers: Float64Array, factors: Float64Array): void;
  /** Sum over the inputs of weight times `shift`, per output channel. */
  sumInputs(numbers: Float64Array, shift: Float64Array): Float64Array;
}

/** Operators that {@link readLinear} reads. */
export const linearOps: readonly string[] = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'];

/** Reads a node as a multiplication by a constant weight; `undefined` when it is none, or the weight is not foldable. */
export function readLinear(node: Node, context: RewriteContext): Linear | undefined {
  if (node.domain !== '' || !linearOps.includes(node.opType)) return undefined;
  const weight = node.input(1);
  const source = context.constant(weight);
  if (weight === null || source === undefined || node.input(0) === weight) return undefined;
  if (!foldableDTypes.includes(source.dtype)) return undefined;
  const bias = node.input(2);
  if (bias !== null && context.constant(bias) === undefined) return undefined;
  const layout = layoutOf(node, source.shape, bias === null ? undefined : context.constant(bias)?.shape);
  return layout === undefined ? undefined : { node, weight, source, ...layout };
}

type Layout = Omit<Linear, 'node' | 'weight' | 'source'>;

function layoutOf(
  node: Node,
  shape: readonly number[],
  bias: readonly number[] | undefined,
): Layout | undefined {
  switch (node.opType) {
    case 'Conv':
      return convolution(node, shape);
    case 'ConvTranspose':
      return transposed(node, shape);
    case 'MatMul':
      return shape.length === 2 ? matrix(shape, false, undefined, false) : undefined;
    default: {
      const plain = intOf(node, 'transA', 0) === 0 && floatOf(node, 'alpha', 1) === 1;
      if (!plain || shape.length !== 2 || (bias !== undefined && floatOf(node, 'beta', 1) !== 1))
        return undefined;
      const flipped = intOf(node, 'transB', 0) === 1;
      const width = shape[flipped ? 0 : 1] as number;
      if (bias !== undefined) {
        const span = spanOnAxis(bias, 2, 1);
        if (span === undefined || (span !== 1 && span !== width)) return undefined;
      }
      return matrix(shape, flipped, 2, true);
    }
  }
}

function convolution(node: Node, shape: readonly number[]): Layout | undefined {
  const group = intOf(node, 'group', 1);
  if (group === undefined || shape.length < 3) return undefined;
  const [outputs, perGroup] = shape as readonly [number, number];
  const taps = shape.slice(2).reduce((product, dim) => product * dim, 1);
  const outputsPerGroup = outputs / group;
  return strided(outputs, perGroup, taps, {
    rank: shape.length,
    outputs,
    inputs: perGroup * group,
    uniform: isUnpadded(node),
    outputOf: (row) => row,
    inputOf: (row, column) => Math.floor(row / outputsPerGroup) * perGroup + column,
  });
}

function transposed(node: Node, shape: readonly number[]): Layout | undefined {
  const group = intOf(node, 'group', 1);
  if (group === undefined || shape.length < 3) return undefined;
  const [inputs, perGroup] = shape as readonly [number, number];
  const taps = shape.slice(2).reduce((product, dim) => product * dim, 1);
  const inputsPerGroup = inputs / group;
  return strided(inputs, perGroup, taps, {
    rank: shape.length,
    outputs: perGroup * group,
    inputs,
    // Each output position is reached by its own set of taps, so a constant input is not a constant output.
    uniform: false,
    outputOf: (row, column) => Math.floor(row / inputsPerGroup) * perGroup + column,
    inputOf: (row) => row,
  });
}

interface Indexing {
  readonly rank: number;
  readonly outputs: number;
  readonly inputs: number;
  readonly uniform: boolean;
  outputOf(row: number, column: number): number;
  inputOf(row: number, column: number): number;
}

/** Weights of shape `[rows, columns, ...taps]`. */
function strided(rows: number, columns: number, taps: number, indexing: Indexing): Layout {
  const { rank, outputs, inputs, uniform, outputOf, inputOf } = indexing;
  const scale = (
    numbers: Float64Array,
    factors: Float64Array,
    of: (row: number, column: number) => number,
  ): void => {
    let offset = 0;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const factor = factors[factors.length === 1 ? 0 : of(row, column)]!;
        for (let tap = 0; tap < taps; tap++, offset++) numbers[offset] = numbers[offset]! * factor;
      }
    }
  };
  return {
    rank,
    channelAxis: 1,
    outputs,
    inputs,
    takesBias: true,
    uniform,
    scaleOutputs: (numbers, factors) => scale(numbers, factors, outputOf),
    scaleInputs: (numbers, factors) => scale(numbers, factors, inputOf),
    sumInputs(numbers, shift) {
      const sums = new Float64Array(outputs);
      let offset = 0;
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const summand = shift[shift.length === 1 ? 0 : inputOf(row, column)]!;
          const output = outputOf(row, column);
          for (let tap = 0; tap < taps; tap++, offset++)
            sums[output] = sums[output]! + numbers[offset]! * summand;
        }
      }
      return sums;
    },
  };
}

/** Weights of a matrix product, `[inputs, outputs]` or flipped. */
function matrix(
  shape: readonly number[],
  flipped: boolean,
  rank: number | undefined,
  takesBias: boolean,
): Layout {
  const [rows, columns] = shape as readonly [number, number];
  const layout = strided(rows, columns, 1, {
    rank: rank ?? 2,
    outputs: flipped ? rows : columns,
    inputs: flipped ? columns : rows,
    uniform: true,
    outputOf: flipped ? (row): number => row : (_row, column): number => column,
    inputOf: flipped ? (_row, column): number => column : (row): number => row,
  });
  return { ...layout, rank, channelAxis: -1, takesBias };
}

/** Whether nothing but `node` reads a value, so that changing what it holds costs nothing. */
export function readOnlyBy(value: Value, node: Node): boolean {
  return value.outputOf.length === 0 && value.useCount === 1 && value.uses[0]?.node === node;
}

import { attribute, constantOf, type Graph, type Node, Tensor, type Value } from '@lithe/core';
import type { AffineParameters } from '../../parameters/affine.ts';
import type { IntegerRange } from '../../parameters/integer-range.ts';
import { integerArray } from '../../parameters/kernels.ts';
import { integerTensor } from '../../weights/quantized-weight.ts';
import { dataInputs } from './operator-kinds.ts';
import type { StaticPlan } from './plan.ts';

/** Scale and zero point as graph values. */
export interface ScaleValues {
  /** Scale, float32. */
  readonly scale: Value;
  /** Zero point, of the integers' type. */
  readonly zeroPoint: Value;
  /** Axis that they are given for each index of, where they are no scalars. */
  readonly axis?: number | undefined;
}

/** Where scales and zero points of activations come from. */
export interface ScaleSource {
  /** Those of a value; asked once for each parameters. */
  of(name: string, parameters: AffineParameters): ScaleValues;
  /** The same, repeated for each of `count` channels. */
  repeated(name: string, parameters: AffineParameters, count: number): ScaleValues;
}

/** What pairs are put in by. */
export interface PairRequest {
  /** What is quantized. */
  readonly plan: StaticPlan;
  /** Scale and zero point by value. */
  readonly ranges: ReadonlyMap<Value, AffineParameters>;
  /** Integers of activations. */
  readonly activations: IntegerRange;
  /** Operators whose float weights the runtime would quantize on its own, with one scale for all. */
  readonly guarded: readonly string[];
  /** Whether only nodes of the plan read what is quantized, whoever makes it; `false` by default. */
  readonly readersOnly?: boolean | undefined;
  /** Scales and zero points; constants by default. */
  readonly scales?: ScaleSource | undefined;
}

/** Scales and zero points as constants. */
function constantScales(graph: Graph, range: IntegerRange): ScaleSource {
  return {
    of: (name, { scale, zeroPoint }) => ({
      scale: graph.addInitializer(
        graph.uniqueName(`${name}_scale`),
        Tensor.from('float32', [], new Float32Array([scale])),
      ),
      zeroPoint: graph.addInitializer(
        graph.uniqueName(`${name}_zero_point`),
        integersOf(range, [], [zeroPoint]),
      ),
    }),
    repeated: (name, { scale, zeroPoint }, count) => ({
      scale: graph.addInitializer(
        graph.uniqueName(`${name}_scales`),
        Tensor.from('float32', [count], new Float32Array(count).fill(scale)),
      ),
      zeroPoint: graph.addInitializer(
        graph.uniqueName(`${name}_zero_points`),
        integersOf(range, [count], new Array<number>(count).fill(zeroPoint)),
      ),
    }),
  };
}

/** Integers of a range as a tensor. */
export function integersOf(range: IntegerRange, shape: readonly number[], values: readonly number[]): Tensor {
  const array = integerArray(range, values.length);
  array.set(values);
  return integerTensor(range, shape, array);
}

/** Puts pairs behind the planned values. Call it last: it moves readers. */
export function insertPairs(graph: Graph, request: PairRequest): void {
  const { plan, ranges, activations } = request;
  const source = request.scales ?? constantScales(graph, activations);
  const scales = new Map<AffineParameters, ScaleValues>();
  const first = graph.nodes().next().value as Node | undefined;
  for (const value of plan.values) {
    const parameters = ranges.get(value) as AffineParameters;
    let shared = scales.get(parameters);
    if (shared === undefined) {
      shared = source.of(value.name, parameters);
      scales.set(parameters, shared);
    }
    const { scale, zeroPoint, axis } = shared;
    const attributes = axis === undefined ? {} : { axis: attribute.int(axis) };
    const { producer } = value;
    const integer =
      request.readersOnly !== true &&
      producer !== null &&
      (plan.nodes.has(producer) || plan.absorbed.has(producer));
    const readers = value.uses.filter(({ node, index }) => integer || readsIntegers(node, index, plan));
    const isOutput = value.isGraphOutput;
    const place = producer === null ? { before: first } : { after: producer };
    const q = graph.addNode(
      { opType: 'QuantizeLinear', inputs: [value, scale, zeroPoint], attributes },
      [{ name: graph.uniqueName(`${value.name}_quantized`) }],
      place,
    );
    const dq = graph.addNode(
      { opType: 'DequantizeLinear', inputs: [q.output(), scale, zeroPoint], attributes },
      [{ name: graph.uniqueName(`${value.name}_dequantized`), type: value.type }],
      { after: q },
    );
    if (integer && isOutput) {
      // The pair's result takes over the name of the output; the quantizer goes on reading the computed value.
      graph.replaceAllUses(value, dq.output());
      graph.setInput(q, 0, value);
    } else {
      for (const { node, index } of readers) {
        const channels = index === 0 ? unguardedChannels(node, request) : undefined;
        const read =
          channels === undefined
            ? dq.output()
            : dequantizePerChannel(q.output(), { parameters, source, channels, like: dq });
        node.graph.setInput(node, index, read);
      }
    }
  }
}

/**
 * Channels of the input of a float node that the runtime would quantize on its own, with one scale for all its weights:
 * one with float weights, between a dequantized input and a quantized output.
 */
function unguardedChannels(node: Node, { plan, guarded }: PairRequest): Channels | undefined {
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
    readonly source: ScaleSource;
    readonly channels: Channels;
    readonly like: Node;
  },
): Value {
  const { parameters, source, channels, like } = part;
  const { axis, count } = channels;
  const { scale, zeroPoint } = source.repeated(levels.name, parameters, count);
  const inputs = [levels, scale, zeroPoint];
  const attributes = { axis: attribute.int(axis) };
  const init = { opType: 'DequantizeLinear', inputs, attributes };
  return like.graph.addNode(init, [{ type: like.output().type }], { after: like }).output();
}

function readsIntegers(node: Node, index: number, plan: StaticPlan): boolean {
  return plan.nodes.has(node) && dataInputs(node).includes(index);
}

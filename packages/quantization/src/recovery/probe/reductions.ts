import { type Attribute, attribute, type Graph, type Node, Tensor, type Value } from '@lithe/core';

/** Adds nodes at the end of a graph: what is measured is computed beside the model, so that only numbers come back. */
export interface ProbeBuilder {
  /** The graph. */
  readonly graph: Graph;
  /** Adds a node with one output. */
  node(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes?: Readonly<Record<string, Attribute>>,
  ): Value;
  /** Adds an int64 vector. */
  ints(values: readonly number[]): Value;
  /** Adds a float32 constant. */
  floats(shape: readonly number[], data: Float32Array<ArrayBuffer>): Value;
}

/**
 * Makes a {@link ProbeBuilder}.
 *
 * @param before a node that reads what is measured; the end of the graph by default
 */
export function probeBuilder(graph: Graph, before?: Node): ProbeBuilder {
  const constant = (tensor: Tensor): Value =>
    graph.addInitializer(graph.uniqueName('probe_constant'), tensor);
  return {
    graph,
    node: (opType, inputs, attributes = {}) =>
      graph.addNode({ opType, inputs, attributes }, 1, before === undefined ? {} : { before }).output(),
    ints: (values) => constant(Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt))),
    floats: (shape, data) => constant(Tensor.from('float32', shape, data)),
  };
}

/** Where the channels of a value are, and how many. */
export interface ChannelSpec {
  /** Axis 1, or the last one. */
  readonly channels: 'second' | 'last';
  /** Number of channels. */
  readonly count: number;
  /** Rank of the value, where channels are axis 1. */
  readonly rank: number;
}

/** A value as `[positions, channels]` or `[batch, channels, …]`, with the axes that are not channels. */
interface Spread {
  readonly value: Value;
  readonly axes: Value;
  /** Shape of one number per channel, against the value. */
  readonly broadcast: readonly number[];
}

function spread(probe: ProbeBuilder, value: Value, spec: ChannelSpec): Spread {
  if (spec.channels === 'last') {
    const rows = probe.node('Reshape', [value, probe.ints([-1, spec.count])]);
    return { value: rows, axes: probe.ints([0]), broadcast: [1, spec.count] };
  }
  const others = Array.from({ length: spec.rank }, (_, axis) => axis).filter((axis) => axis !== 1);
  const broadcast = Array.from({ length: spec.rank }, (_, axis) => (axis === 1 ? spec.count : 1));
  return { value, axes: probe.ints(others), broadcast };
}

const drop = { keepdims: attribute.int(0) };

/** Mean of each channel, `[channels]`. */
export function channelMean(probe: ProbeBuilder, value: Value, spec: ChannelSpec): Value {
  const { value: flat, axes } = spread(probe, value, spec);
  return probe.node('ReduceMean', [flat, axes], drop);
}

/** Mean and mean square distance from it of each channel, `[channels]` both. */
export function channelMoments(
  probe: ProbeBuilder,
  value: Value,
  spec: ChannelSpec,
): { readonly mean: Value; readonly variance: Value } {
  const { value: flat, axes, broadcast } = spread(probe, value, spec);
  const mean = probe.node('ReduceMean', [flat, axes], drop);
  const centred = probe.node('Sub', [flat, probe.node('Reshape', [mean, probe.ints(broadcast)])]);
  const variance = probe.node('ReduceMean', [probe.node('Mul', [centred, centred]), axes], drop);
  return { mean, variance };
}

/** Smallest and largest element of each channel, `[channels]` both. */
export function channelExtremes(
  probe: ProbeBuilder,
  value: Value,
  spec: ChannelSpec,
): { readonly minimum: Value; readonly maximum: Value } {
  const { value: flat, axes } = spread(probe, value, spec);
  return {
    minimum: probe.node('ReduceMin', [flat, axes], drop),
    maximum: probe.node('ReduceMax', [flat, axes], drop),
  };
}

/** Sum of squares of all elements, a scalar. */
export function energy(probe: ProbeBuilder, value: Value): Value {
  return probe.node('ReduceSumSquare', [value], drop);
}

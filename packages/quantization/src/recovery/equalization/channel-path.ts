import {
  constantOf,
  type Dim,
  elementsOf,
  isStaticShape,
  type Node,
  sameDim,
  type Use,
  type Value,
} from '@lithe/core';
import { intOf, intsOf, isUnpadded, stringOf } from '../layers/attributes.ts';
import { isLinearOp, type LinearLayer, readLinearLayer } from '../layers/linear-layer.ts';

/** A constant added to every channel on the way, which is scaled with them. */
export interface ShiftOnPath {
  /** The `Add`. */
  readonly node: Node;
  /** Which input is the constant. */
  readonly index: number;
}

/** The way from one layer to the next, on which a positive factor per channel commutes with every operator. */
export interface ChannelPath {
  /** Layer whose output channels are scaled down. */
  readonly from: LinearLayer;
  /** Layer whose input channels are scaled up. */
  readonly to: LinearLayer;
  /** Input channels of {@link to} per output channel of {@link from}: above 1 behind a flattened image. */
  readonly repeat: number;
  /** Biases added on the way. */
  readonly shifts: readonly ShiftOnPath[];
  /** Clips on the way, which must become `Relu` before anything is scaled. */
  readonly clips: readonly Node[];
  /** What is between the layers, in order. */
  readonly between: readonly Node[];
  /** Whether `max(0, x + c) = max(0, x) + c` for `x, c >= 0` carries a constant from one layer to the next. */
  readonly carriesConstants: boolean;
}

/** Why a layer is not followed by one to equalize with. */
export interface NoPath {
  /** Short stable code. */
  readonly code: string;
  /** Why, as a clause. */
  readonly reason: string;
}

interface Place {
  readonly value: Value;
  /** Axis of the channels. */
  readonly axis: number;
  /** Neighbouring elements along that axis that belong to one channel. */
  readonly repeat: number;
}

const no = (code: string, reason: string): NoPath => ({ code, reason });

/** Elementwise operators `f` with `f(s x) = s f(x)` for every `s > 0`. */
const homogeneous: ReadonlySet<string> = new Set(['Relu', 'LeakyRelu', 'PRelu', 'Identity', 'Dropout']);
/** Operators that take averages or maxima over positions. */
const pools: ReadonlySet<string> = new Set([
  'MaxPool',
  'AveragePool',
  'GlobalAveragePool',
  'GlobalMaxPool',
  'LpPool',
]);
const reshapes: ReadonlySet<string> = new Set(['Flatten', 'Reshape', 'Squeeze', 'Unsqueeze']);

function resizes(node: Node, place: Place): boolean {
  if (!['nearest', 'linear', 'cubic'].includes(stringOf(node, 'mode', 'nearest'))) return false;
  if (stringOf(node, 'coordinate_transformation_mode', '') === 'tf_crop_and_resize') return false;
  const [before, after] = [place.value.shape, node.output().shape];
  const dim = before?.[place.axis];
  return typeof dim === 'number' && after?.[place.axis] === dim;
}

/** Where the channels are behind a node that only changes the shape. */
function reshaped(node: Node, place: Place): Place | undefined {
  const output = node.output();
  const before: readonly Dim[] | undefined = place.value.shape;
  const after: readonly Dim[] | undefined = output.shape;
  if (place.axis !== 1 || before === undefined || after === undefined || after.length < 2) return undefined;
  const [channels, rows] = [before[1], after[1]];
  if (typeof channels !== 'number' || typeof rows !== 'number') return undefined;
  // The first axis must be the batch on both sides.
  if (!sameDim(before[0] ?? null, after[0] ?? null)) return undefined;
  if (rows === channels) return { value: output, axis: 1, repeat: place.repeat };
  const spatial = before.slice(2);
  if (!isStaticShape(spatial) || after.length !== 2) return undefined;
  const positions = elementsOf(spatial);
  return rows === channels * positions
    ? { value: output, axis: 1, repeat: place.repeat * positions }
    : undefined;
}

/** Where the channels are behind a mean that keeps its axes. */
function averaged(node: Node, place: Place): Place | undefined {
  const dim = place.value.shape?.[place.axis];
  if (intOf(node, 'keepdims', 1) !== 1 || typeof dim !== 'number' || dim === 1) return undefined;
  return node.output().shape?.[place.axis] === dim ? { ...place, value: node.output() } : undefined;
}

/** Whether a constant is the same for all positions: a scalar, or one number per channel. */
function perChannel(value: Value, place: Place, channels: number): boolean {
  const shape = constantOf(value)?.shape;
  const rank = place.value.shape?.length;
  if (shape === undefined) return false;
  if (elementsOf(shape) === 1) return false;
  if (rank === undefined) return shape.length === 1 && place.axis === -1 && shape[0] === channels;
  const axis = place.axis < 0 ? rank + place.axis : place.axis;
  return shape.every((dim, index) => dim === (index === axis - (rank - shape.length) ? channels : 1));
}

function isRelu6(node: Node): boolean {
  return (
    node.is('Clip') &&
    constantOf(node.input(1)) !== undefined &&
    (node.input(2) === null || constantOf(node.input(2)) !== undefined)
  );
}

/** Where the channels are behind a node; `undefined` when a factor per channel does not commute with it. */
function step(node: Node, place: Place, channels: number): Place | undefined {
  if (node.domain !== '') return undefined;
  const value = node.output();
  // A slope that is computed is no factor of the input, and a dropout that trains is none at all.
  if (!node.is('Mul') && !node.is('Add') && node.input(0) !== place.value) return undefined;
  if (node.is('Dropout') && node.input(2) !== null) return undefined;
  if (homogeneous.has(node.opType)) return { ...place, value };
  if (node.is('Mul')) {
    const other = node.inputs.find((input) => input !== place.value);
    return constantOf(other) === undefined ? undefined : { ...place, value };
  }
  if (node.is('Add')) {
    const other = node.inputs.find((input) => input !== place.value);
    return other && place.repeat === 1 && perChannel(other, place, channels)
      ? { ...place, value }
      : undefined;
  }
  if (node.is('Clip')) return isRelu6(node) ? { ...place, value } : undefined;
  if (node.is('Transpose')) {
    const order = intsOf(node, 'perm');
    const axis = place.axis < 0 && order !== undefined ? order.length + place.axis : place.axis;
    return order === undefined || axis < 0 ? undefined : { ...place, value, axis: order.indexOf(axis) };
  }
  if (pools.has(node.opType)) {
    return place.axis === 1 && place.repeat === 1 && node.outputs.length === 1
      ? { ...place, value }
      : undefined;
  }
  if (node.is('Resize')) return resizes(node, place) ? { ...place, value } : undefined;
  if (node.is('ReduceMean')) return averaged(node, place);
  if (reshapes.has(node.opType)) return reshaped(node, place);
  return undefined;
}

/** Whether a node hands a constant that is added to its non-negative input on to its output. */
function carriesConstant(node: Node): boolean {
  if (node.is('AveragePool')) return isUnpadded(node);
  return [
    'Relu',
    'Identity',
    'Dropout',
    'MaxPool',
    'GlobalAveragePool',
    'GlobalMaxPool',
    'ReduceMean',
    'Transpose',
    ...reshapes,
  ].includes(node.opType);
}

function onlyUse(value: Value): Use | NoPath {
  if (value.outputOf.length > 0) return no('graph-output', 'its result is an output of the graph');
  const { uses } = value;
  const [use] = uses;
  if (use === undefined) return no('unused', 'nothing reads its result');
  if (uses.length > 1) return no('several-readers', `${uses.length} nodes read "${value.name}"`);
  if (use.node.graph !== value.graph) return no('subgraph', `a subgraph reads "${value.name}"`);
  return use;
}

function joins(place: Place, from: LinearLayer, to: LinearLayer): boolean {
  if (from.layout.outputs * place.repeat !== to.layout.inputs) return false;
  if (to.channels === 'second') return place.axis === 1 && place.repeat === 1;
  const rank = place.value.shape?.length;
  return place.axis === -1 || (rank !== undefined && place.axis === rank - 1);
}

/**
 * Follows the result of a layer to the next one, through operators with which a positive factor per channel commutes.
 * Every value on the way must have one reader and be no output.
 */
export function channelPath(from: LinearLayer): ChannelPath | NoPath {
  const rank = from.output.shape?.length;
  const last = rank === undefined ? -1 : rank - 1;
  let place: Place = { value: from.output, axis: from.channels === 'second' ? 1 : last, repeat: 1 };
  const channels = from.layout.outputs;
  const between: Node[] = [];
  const shifts: ShiftOnPath[] = [];
  const clips: Node[] = [];
  for (;;) {
    const use = onlyUse(place.value);
    if ('code' in use) return use;
    const { node, index } = use;
    if (isLinearOp(node) && index === 0) {
      const to = readLinearLayer(node);
      if (to === undefined)
        return no('no-layer', `the weight or bias of "${node.name}" is not a plain constant`);
      if (!joins(place, from, to))
        return no('channels', `the channels of "${node.name}" lie on another axis`);
      const rectified = between.some((item) => item.is('Relu'));
      const carriesConstants = rectified && clips.length === 0 && between.every(carriesConstant);
      return { from, to, repeat: place.repeat, shifts, clips, between, carriesConstants };
    }
    const next = step(node, place, channels);
    if (next === undefined)
      return no('operator', `a factor per channel does not pass "${node.name}" (${node.op})`);
    if (node.is('Add')) shifts.push({ node, index: 1 - index });
    if (node.is('Clip')) clips.push(node);
    between.push(node);
    place = next;
  }
}

/** Whether a convolution sees the same number of inputs at every position, so that a constant input is a constant output. */
export function isUniform(layer: LinearLayer): boolean {
  if (layer.node.is('ConvTranspose')) return false;
  return layer.channels === 'last' || isUnpadded(layer.node);
}

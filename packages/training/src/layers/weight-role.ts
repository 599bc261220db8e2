import { attributesOf, type Node, standardOpDefs, type Value } from '@lithe/core';
import { usesBehind } from '../step/uses-behind.ts';

/** What a weight is to the operator that reads it, and so how it is drawn. */
export type WeightRole =
  /** Kernel of a convolution. */
  | 'kernel'
  /** Matrix of a linear layer. */
  | 'matrix'
  /** Input weights of a recurrent layer. */
  | 'recurrent-input'
  /** Weights between the states of a recurrent layer. */
  | 'recurrent-state'
  /** Table of vectors: an embedding, learned positions. */
  | 'table'
  /** Bias, or shift of a normalization. */
  | 'shift'
  /** Scale of a normalization. */
  | 'scale'
  /** Slope of a PReLU. */
  | 'slope';

/** How a weight is used. */
export interface WeightUse {
  /** Its role. */
  readonly role: WeightRole;
  /** Inputs that each output sums over. */
  readonly fanIn: number;
  /** Outputs that each input reaches. */
  readonly fanOut: number;
  /** Whether a rectifier follows, so that half of the signal is lost. */
  readonly rectified: boolean;
  /** The operator that reads it. */
  readonly node: Node;
}

const product = (sizes: readonly number[]): number => sizes.reduce((left, right) => left * right, 1);

/** Operators whose second input scales and whose third shifts. */
const normalizations = new Set([
  'BatchNormalization',
  'InstanceNormalization',
  'LayerNormalization',
  'GroupNormalization',
  'RMSNormalization',
]);

/** Activations that cut or dampen the negative half. */
const rectifiers = new Set([
  'Celu',
  'Clip',
  'Elu',
  'HardSwish',
  'LeakyRelu',
  'Mish',
  'PRelu',
  'Relu',
  'Swish',
  'ThresholdedRelu',
]);

/** What may lie between a layer and its activation. */
const between = new Set([
  'Add',
  'AveragePool',
  'BatchNormalization',
  'DequantizeLinear',
  'Dropout',
  'Flatten',
  'GroupNormalization',
  'Identity',
  'InstanceNormalization',
  'MaxPool',
  'QuantizeLinear',
  'Reshape',
  'Squeeze',
  'Transpose',
]);

/** How a weight is used, by its first use that tells; `undefined` when none does. Shapes must be inferred. */
export function weightUse(source: Value, layered: ReadonlySet<Value>): WeightUse | undefined {
  for (const { value, node, index } of usesBehind(source)) {
    const found = useIn(node, index, value);
    if (found !== undefined && isReached(node, found.role, value, layered)) return found;
  }
  return undefined;
}

const arithmetic = new Set(['Add', 'Sub', 'Mul', 'Div']);

/** Vectors of plain arithmetic count behind a layer: before the first one they bring inputs into form. */
function isReached(node: Node, role: WeightRole, value: Value, layered: ReadonlySet<Value>): boolean {
  if (!arithmetic.has(node.opType) || role === 'table') return true;
  return node.inputs.some((input) => input !== null && input !== value && layered.has(input));
}

function useIn(node: Node, index: number, { shape }: Value): WeightUse | undefined {
  if (node.domain !== '') return undefined;
  const sizes = shape?.map((dim) => (typeof dim === 'number' ? dim : 1)) ?? [];
  const plain = (role: WeightRole): WeightUse => ({ role, fanIn: 1, fanOut: 1, rectified: false, node });
  const layer = (role: WeightRole, fanIn: number, fanOut: number): WeightUse => ({
    role,
    fanIn: Math.max(1, fanIn),
    fanOut: Math.max(1, fanOut),
    rectified: isRectified(node.outputs[0], 0),
    node,
  });
  if (normalizations.has(node.opType)) {
    if (index === 1) return plain('scale');
    return index === 2 ? plain('shift') : undefined;
  }
  switch (node.opType) {
    case 'Conv':
    case 'DeformConv': {
      if (index !== 1) return index === (node.opType === 'Conv' ? 2 : 3) ? plain('shift') : undefined;
      const { group } = node.is('Conv')
        ? attributesOf(node, standardOpDefs.Conv)
        : attributesOf(node, standardOpDefs.DeformConv);
      const [filters = 1, ...rest] = sizes;
      return layer('kernel', product(rest), (filters / Number(group)) * product(rest.slice(1)));
    }
    case 'ConvTranspose': {
      if (index !== 1) return index === 2 ? plain('shift') : undefined;
      const [channels = 1, filters = 1, ...kernel] = sizes;
      // Each output is reached by one kernel element in every stride.
      const { group, strides } = attributesOf(node, standardOpDefs.ConvTranspose);
      const area = product(kernel);
      const steps = product((strides ?? []).map(Number));
      return layer('kernel', ((channels / Number(group)) * area) / steps, filters * area);
    }
    case 'Gemm': {
      if (index > 1) return plain(isVector(sizes) ? 'shift' : 'table');
      const { transA, transB } = attributesOf(node, standardOpDefs.Gemm);
      const turned = index === 1 ? transB : transA;
      const [rows = 1, columns = 1] = turned ? [...sizes].reverse() : sizes;
      return index === 1 ? layer('matrix', rows, columns) : layer('matrix', columns, rows);
    }
    case 'MatMul': {
      if (sizes.length === 1) return layer('matrix', sizes[0] ?? 1, 1);
      const [rows = 1, columns = 1] = sizes.slice(-2);
      return index === 1 ? layer('matrix', rows, columns) : layer('matrix', columns, rows);
    }
    case 'Einsum':
      return einsumUse(node, index, { sizes, layer });
    case 'LSTM':
    case 'GRU':
    case 'RNN':
      if (index === 1) return layer('recurrent-input', sizes[2] ?? 1, hiddenOf(node, sizes));
      if (index === 2) return layer('recurrent-state', sizes[2] ?? 1, sizes[2] ?? 1);
      return index === 3 || index === 7 ? plain('shift') : undefined;
    case 'Gather':
    case 'GatherND':
      return index === 0 ? plain('table') : undefined;
    case 'PRelu':
      return index === 1 ? plain('slope') : undefined;
    case 'Add':
    case 'Sub':
      return plain(isVector(sizes) ? 'shift' : 'table');
    case 'Mul':
    case 'Div':
      return plain('scale');
    default:
      return undefined;
  }
}

const isVector = (sizes: readonly number[]): boolean => sizes.filter((size) => size !== 1).length < 2;

const gates: Readonly<Record<string, number>> = { LSTM: 4, GRU: 3, RNN: 1 };

const hiddenOf = (node: Node, sizes: readonly number[]): number =>
  (sizes[1] ?? 1) / (gates[node.opType] ?? 1);

/** Axes of the weight that the result lacks are summed over. */
function einsumUse(
  node: Node,
  index: number,
  {
    sizes,
    layer,
  }: {
    readonly sizes: readonly number[];
    readonly layer: (role: WeightRole, fanIn: number, fanOut: number) => WeightUse;
  },
): WeightUse | undefined {
  const [left = '', right] = attributesOf(node, standardOpDefs.Einsum)
    .equation.replaceAll(' ', '')
    .split('->');
  const letters = left.split(',')[index] ?? '';
  if (right === undefined || letters.length !== sizes.length || letters.includes('.')) return undefined;
  const part = (summed: boolean): number =>
    product(sizes.filter((_, axis) => right.includes(letters[axis] ?? '') !== summed));
  return layer('matrix', part(true), part(false));
}

/** Whether the first activation behind a value, if there is one, is a rectifier. */
function isRectified(value: Value | undefined, depth: number): boolean {
  if (value === undefined || depth > 8) return false;
  for (const { node } of value.uses) {
    if (rectifiers.has(node.opType)) return true;
    if (between.has(node.opType) && isRectified(node.outputs[0], depth + 1)) return true;
  }
  return false;
}

/** Operators that mix what they read by weights. */
const layerOperators = new Set([
  'Conv',
  'ConvTranspose',
  'DeformConv',
  'Einsum',
  'GRU',
  'Gather',
  'Gemm',
  'LSTM',
  'MatMul',
  'RNN',
]);

/** Values that come out of a layer or from what does. Nodes in the order they are computed in. */
export function layeredValues(nodes: Iterable<Node>): ReadonlySet<Value> {
  const layered = new Set<Value>();
  for (const node of nodes) {
    const behind = node.inputs.some((input) => input !== null && layered.has(input));
    if (behind || (node.domain === '' && layerOperators.has(node.opType)))
      for (const output of node.outputs) layered.add(output);
  }
  return layered;
}

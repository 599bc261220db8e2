import { attribute, type Dim, evaluateDim, type Node, Tensor, type Value } from '@lithe/core';
import {
  intsAttribute,
  isLayer,
  type LayerProblem,
  type LinearLayer,
  linearLayer,
  replaceInput,
  transposed,
  weightRows,
} from '../recovery/linear-layer.ts';

/** How a layer is taken apart in two. */
export interface Factorization {
  /** The layer. */
  readonly layer: LinearLayer;
  /**
   * `product`: two products; `channel`: the convolution with fewer filters, then one of 1 x 1; `spatial`: a column
   * of the kernel, then a row.
   */
  readonly kind: 'product' | 'channel' | 'spatial';
  /** Rows of the matrix that is decomposed: what the second part makes. */
  readonly rows: number;
  /** Its columns: what the first part reads. */
  readonly columns: number;
  /** Multiplications of the layer in one run. */
  readonly macs: number;
  /** Multiplications of both parts in one run, by unit of rank. */
  readonly macsPerRank: number;
  /** Elements of the weight. */
  readonly parameters: number;
  /** Elements of both weights per unit of rank. */
  readonly parametersPerRank: number;
}

const sizeOf = (dim: Dim | undefined, sizes: Readonly<Record<string, number>>): number | undefined =>
  dim === undefined || dim === null ? undefined : evaluateDim(dim, sizes);

/**
 * Positions that a layer computes in one run: all dims of its output but that of channels. Unknown ones are counted as 1:
 * shares of what a layer costs do not depend on them.
 */
function positionsIn(
  shape: readonly Dim[],
  channels: number,
  sizes: Readonly<Record<string, number>>,
): number {
  let product = 1;
  for (const [axis, dim] of shape.entries()) if (axis !== channels) product *= sizeOf(dim, sizes) ?? 1;
  return product;
}

/**
 * Says how a node can be taken apart, or why it cannot.
 *
 * @param sizes what symbols of shapes stand for
 */
export function factorizationOf(
  node: Node,
  sizes: Readonly<Record<string, number>>,
): Factorization | LayerProblem {
  const layer = linearLayer(node);
  if (!isLayer(layer)) return layer;
  const { outputs, inputs, weight } = layer;
  const shape = node.output().shape ?? [];
  if (layer.op !== 'Conv') {
    const positions = positionsIn(shape, shape.length - 1, sizes);
    return costed(layer, 'product', { rows: outputs, columns: inputs, positions, wider: 1 });
  }
  if (layer.groups > 1)
    return { code: 'grouped', reason: 'its groups do not see each other: there is little to share' };
  const positions = positionsIn(shape, 1, sizes);
  const [channels = 0, height = 0, width = 0] = weight.shape.slice(1);
  if (weight.shape.length !== 4 || height === 1 || width === 1)
    return costed(layer, 'channel', { rows: outputs, columns: inputs, positions, wider: 1 });
  // The first part strides down only, so it makes rows as wide as those of the input.
  const before = sizeOf(node.input(0)?.shape?.[3], sizes);
  const after = sizeOf(shape[3], sizes);
  const stride = intsAttribute(node, 'strides')?.[1] ?? 1;
  const wider = before === undefined || after === undefined ? stride : before / after;
  return costed(layer, 'spatial', { rows: outputs * width, columns: channels * height, positions, wider });
}

function costed(
  layer: LinearLayer,
  kind: Factorization['kind'],
  sizes: {
    readonly rows: number;
    readonly columns: number;
    readonly positions: number;
    readonly wider: number;
  },
): Factorization {
  const { rows, columns, positions, wider } = sizes;
  const parameters = layer.outputs * layer.inputs;
  return {
    layer,
    kind,
    rows,
    columns,
    macs: parameters * positions,
    macsPerRank: (rows + columns * wider) * positions,
    parameters,
    parametersPerRank: rows + columns,
  };
}

/** Axes of `[outputs, channels, height, width]` in another order. */
function reorder(
  data: Float64Array,
  shape: readonly [number, number, number, number],
  order: readonly [number, number, number, number],
): Float64Array {
  const strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
  const [n0, n1, n2, n3] = order.map((axis) => shape[axis] as number) as [number, number, number, number];
  const [s0, s1, s2, s3] = order.map((axis) => strides[axis] as number) as [number, number, number, number];
  const out = new Float64Array(data.length);
  let at = 0;
  for (let a = 0; a < n0; a++)
    for (let b = 0; b < n1; b++)
      for (let c = 0; c < n2; c++)
        for (let d = 0; d < n3; d++) out[at++] = data[a * s0 + b * s1 + c * s2 + d * s3]!;
  return out;
}

/** The matrix `[rows, columns]` whose truncated decomposition gives the two parts. */
export async function matrixOf({ layer, kind }: Factorization, signal?: AbortSignal): Promise<Float64Array> {
  const rows = await weightRows(layer, signal);
  if (kind !== 'spatial') return rows;
  // [outputs, width] by [channels, height].
  return reorder(rows, layer.weight.shape as [number, number, number, number], [0, 3, 1, 2]);
}

/** The two parts of a layer. */
export interface Factors {
  /** What comes first, `[rank, columns]`. */
  readonly first: Float64Array;
  /** What comes second, `[rows, rank]`. */
  readonly second: Float64Array;
  /** Their rank. */
  readonly rank: number;
}

/** Puts two parts in the place of a layer. The second keeps the node, its output and its bias. */
export function applyFactors(factorization: Factorization, factors: Factors): void {
  const { layer, kind } = factorization;
  if (kind === 'product') applyProduct(layer, factors);
  else applyConvolution(layer, kind, factors);
}

function addFirst(
  node: Node,
  weight: Tensor,
  attributes: Parameters<Node['graph']['addNode']>[0]['attributes'],
): Value {
  const { graph } = node;
  const stem = node.input(1)?.name ?? node.name;
  const constant = graph.addInitializer(graph.uniqueName(`${stem}.first`), weight);
  const name = `${node.name}.first`;
  const inputs = [node.input(0), constant];
  const made = graph.addNode(
    { opType: node.opType, inputs, attributes, name },
    [{ name: graph.uniqueName(`${node.output().name}.first`) }],
    { before: node },
  );
  return made.output();
}

const floats = (shape: readonly number[], data: Float64Array): Tensor =>
  Tensor.from('float32', shape, new Float32Array(data));

function applyProduct(layer: LinearLayer, { first, second, rank }: Factors): void {
  const { node, inputs, outputs, isTransposed } = layer;
  const made = addFirst(node, floats([inputs, rank], transposed(first, rank, inputs)), {});
  node.graph.setInput(node, 0, made);
  const weight = isTransposed
    ? floats([rank, outputs], transposed(second, outputs, rank))
    : floats([outputs, rank], second);
  replaceInput(node, 1, weight);
}

const list = (values: readonly number[]): ReturnType<typeof attribute.ints> => attribute.ints(values);

function applyConvolution(
  layer: LinearLayer,
  kind: 'channel' | 'spatial',
  { first, second, rank }: Factors,
): void {
  const { node, weight, outputs } = layer;
  const { graph } = node;
  const [, channels = 0, ...window] = weight.shape;
  const ones = window.map(() => 1);
  if (kind === 'channel') {
    const made = addFirst(node, floats([rank, channels, ...window], first), node.attributes);
    for (const name of ['pads', 'strides', 'dilations', 'auto_pad'])
      graph.setAttribute(node, name, undefined);
    graph.setAttribute(node, 'kernel_shape', list(ones));
    graph.setInput(node, 0, made);
    replaceInput(node, 1, floats([outputs, rank, ...ones], second));
    return;
  }
  const [height = 1, width = 1] = window;
  const [down = 1, along = 1] = intsAttribute(node, 'strides') ?? ones;
  const [apart = 1, aside = 1] = intsAttribute(node, 'dilations') ?? ones;
  const attributes = new Map(node.attributes);
  attributes.set('kernel_shape', list([height, 1]));
  attributes.set('strides', list([down, 1]));
  attributes.set('dilations', list([apart, 1]));
  const pads = intsAttribute(node, 'pads');
  const [top = 0, left = 0, bottom = 0, right = 0] = pads ?? [];
  if (pads !== undefined) attributes.set('pads', list([top, 0, bottom, 0]));
  const made = addFirst(node, floats([rank, channels, height, 1], first), attributes);
  graph.setAttribute(node, 'kernel_shape', list([1, width]));
  graph.setAttribute(node, 'strides', list([1, along]));
  graph.setAttribute(node, 'dilations', list([1, aside]));
  if (pads !== undefined) graph.setAttribute(node, 'pads', list([0, left, 0, right]));
  graph.setInput(node, 0, made);
  // [outputs, width, rank] to [outputs, rank, 1, width].
  const row = reorder(second, [outputs, width, rank, 1], [0, 2, 3, 1]);
  replaceInput(node, 1, floats([outputs, rank, 1, width], row));
}

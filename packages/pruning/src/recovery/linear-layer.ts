import { constantOf, type Graph, type Node, Tensor, type TensorSource, type Value } from '@lithe/core';
import { removeDead } from '../structured/remove-dead.ts';

/** A layer that multiplies what it reads by a constant: `y = W x + b` at every position. */
export interface LinearLayer {
  /** The node: `Conv`, `Gemm` or `MatMul`. */
  readonly node: Node;
  /** Its operator. */
  readonly op: 'Conv' | 'Gemm' | 'MatMul';
  /** The constant that holds W. */
  readonly weight: TensorSource;
  /** Groups of a convolution that do not see each other; 1 for products. */
  readonly groups: number;
  /** Outputs of one group. */
  readonly outputs: number;
  /** Inputs of one group, each position of the kernel counted: the length of the sums. */
  readonly inputs: number;
  /** Whether the constant holds W' (`[inputs, outputs]`), as `MatMul` takes it, rather than W. */
  readonly isTransposed: boolean;
  /** Where its bias is added: input 2 of itself, an `Add` behind a `MatMul`, or nowhere. */
  readonly bias: BiasPlace | undefined;
}

/** An input that a bias vector goes into. */
export interface BiasPlace {
  /** The node that adds it. */
  readonly node: Node;
  /** Which of its inputs. */
  readonly index: number;
}

/** Why a node cannot be taken as a {@link LinearLayer}. */
export interface LayerProblem {
  /** Short stable code. */
  readonly code: string;
  /** A clause. */
  readonly reason: string;
}

const linearOps: ReadonlySet<string> = new Set(['Conv', 'Gemm', 'MatMul']);

/** Whether a node is of an operator that {@link linearLayer} looks at. */
export function isLinear(node: Node): boolean {
  return node.domain === '' && linearOps.has(node.opType);
}

/** A whole-number attribute. */
export function intAttribute(node: Node, name: string, fallback: number): number {
  const found = node.attributes.get(name);
  return found?.kind === 'int' ? Number(found.value) : fallback;
}

/** A list of whole numbers; `undefined` when it is left out. */
export function intsAttribute(node: Node, name: string): readonly number[] | undefined {
  const found = node.attributes.get(name);
  return found?.kind === 'ints' ? found.value.map(Number) : undefined;
}

function isOne(node: Node, name: string): boolean {
  const found = node.attributes.get(name);
  return found === undefined || (found.kind === 'float' && found.value === 1);
}

const problem = (code: string, reason: string): LayerProblem => ({ code, reason });

/**
 * Reads a `Conv`, `Gemm` or `MatMul` as a layer of its own constant weight.
 *
 * @returns what it is, or why it cannot be taken as one
 */
export function linearLayer(node: Node): LinearLayer | LayerProblem {
  const value = node.input(1);
  const weight = constantOf(value);
  if (value === null || weight === undefined)
    return problem('weight-not-constant', 'its weight is not a constant');
  if (weight.dtype !== 'float32') return problem('dtype', `its weight is ${weight.dtype}, not float32`);
  if (value.useCount > 1 || value.graph !== node.graph)
    return problem('shared-weight', 'its weight is shared with other nodes');
  const { shape } = weight;
  if (node.is('Conv')) {
    const groups = intAttribute(node, 'group', 1);
    const outputs = (shape[0] ?? 0) / groups;
    const inputs = shape.slice(1).reduce((product, size) => product * size, 1);
    if (shape.length < 3 || !Number.isInteger(outputs) || outputs === 0 || inputs === 0)
      return problem('shape', `its weight is of shape [${shape.join()}]`);
    return { ...layer(node, weight), op: 'Conv', groups, outputs, inputs, isTransposed: false };
  }
  if (shape.length !== 2 || shape[0] === 0 || shape[1] === 0)
    return problem('shape', `its weight is of shape [${shape.join()}], not a matrix`);
  const isGemm = node.is('Gemm');
  if (isGemm && (intAttribute(node, 'transA', 0) !== 0 || !isOne(node, 'alpha') || !isOne(node, 'beta')))
    return problem('attributes', 'it transposes or scales what it multiplies');
  const isTransposed = !isGemm || intAttribute(node, 'transB', 0) === 0;
  const [first, second] = shape as [number, number];
  const sizes = isTransposed ? { inputs: first, outputs: second } : { inputs: second, outputs: first };
  return { ...layer(node, weight), ...sizes, op: isGemm ? 'Gemm' : 'MatMul', groups: 1, isTransposed };
}

function layer(node: Node, weight: TensorSource): Pick<LinearLayer, 'node' | 'weight' | 'bias'> {
  return { node, weight, bias: node.is('MatMul') ? addBehind(node, weight) : { node, index: 2 } };
}

/** The `Add` of a constant vector right behind a product, when nothing else reads the product. */
function addBehind(node: Node, weight: TensorSource): BiasPlace | undefined {
  const output = node.output();
  const [use] = output.uses;
  if (use === undefined || output.useCount !== 1 || output.isGraphOutput || !use.node.is('Add'))
    return undefined;
  const index = 1 - use.index;
  const shape = constantOf(use.node.input(index))?.shape;
  return shape?.length === 1 && shape[0] === weight.shape[1] ? { node: use.node, index } : undefined;
}

/** Whether a {@link linearLayer} was found. */
export function isLayer(found: LinearLayer | LayerProblem): found is LinearLayer {
  return 'node' in found;
}

/** The weight as `[groups * outputs, inputs]`, row-major, in float64. */
export async function weightRows(layer: LinearLayer, signal?: AbortSignal): Promise<Float64Array> {
  const data = (await layer.weight.load(signal)).toFloat64Array();
  return layer.isTransposed ? transposed(data, layer.inputs, layer.outputs) : data.slice();
}

/** Stores `[groups * outputs, inputs]` as the weight of a layer. */
export function setWeightRows(layer: LinearLayer, rows: Float64Array): void {
  const data = layer.isTransposed ? transposed(rows, layer.outputs, layer.inputs) : rows;
  replaceInput(layer.node, 1, Tensor.from('float32', layer.weight.shape, new Float32Array(data)));
}

/** `[rows, columns]` with its axes swapped. */
export function transposed(data: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) out[column * rows + row] = data[row * columns + column]!;
  return out;
}

/** Gives a node another constant input; what only served the one before goes. */
export function replaceInput(node: Node, index: number, tensor: Tensor): void {
  const { graph } = node;
  const before = node.input(index);
  const isOwn = before?.initializer !== undefined && before.graph === graph;
  if (before !== null && isOwn && before.useCount === 1 && !before.isGraphInput && !before.isGraphOutput) {
    graph.setInitializer(before, tensor);
    return;
  }
  const name = graph.uniqueName(before?.name ?? `${node.name}.${index === 2 ? 'bias' : 'weight'}`);
  graph.setInput(node, index, graph.addInitializer(name, tensor));
  if (before !== null) removeDead(graph, before);
}

/** Removes all nodes that no output needs. */
export function removeUnneeded(graph: Graph): void {
  for (const node of graph.nodesReversed())
    if (node.outputs.every((output) => output.isUnused)) graph.remove(node);
}

/** The number of positions that a layer computes for each sample, where it is known. */
export function positionsOf({ op }: Pick<LinearLayer, 'op'>, output: Value): number | undefined {
  const { shape } = output;
  if (shape === undefined) return undefined;
  const dims = op === 'Conv' ? shape.slice(2) : shape.slice(1, -1);
  let product = 1;
  for (const dim of dims) {
    if (typeof dim !== 'number') return undefined;
    product *= dim;
  }
  return product;
}

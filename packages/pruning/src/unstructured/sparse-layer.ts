import {
  constantOf,
  elementsOf,
  type Graph,
  type Node,
  type ReportBuilder,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { checkProtected } from '../structured/check-protected.ts';
import { layerLeftOut } from '../structured/hidden-layers.ts';

/**
 * A weight as a matrix `[outputs, inputs]`, whichever operator reads it. The inputs of a convolution go kernel position
 * by kernel position with channels as neighbours, which is how N:M kernels walk through them.
 */
export interface SparseLayer {
  /** Name of the weight. */
  readonly name: string;
  /** Nodes that read it. */
  readonly nodes: readonly string[];
  /** `Conv`, `Gemm` or `MatMul`. */
  readonly op: string;
  /** Its elements as they are stored. */
  readonly source: TensorSource;
  /** Rows of the matrix: output channels. */
  readonly outputs: number;
  /** Columns: what one output sums up. */
  readonly inputs: number;
  /** Inputs that are neighbours: groups and blocks do not reach over the end of such a run. */
  readonly run: number;
  /** Groups of a convolution; each has `outputs / groups` rows and inputs of its own. */
  readonly groups: number;
  /** Whether it is stored as `[inputs, outputs]`. */
  readonly transposed: boolean;
}

const kinds = new Set(['Conv', 'Gemm', 'MatMul']);

function integer(node: Node, name: string, fallback: number): number {
  const found = node.attributes.get(name);
  return found?.kind === 'int' ? Number(found.value) : fallback;
}

interface NoLayer {
  readonly code: string;
  readonly reason: string;
}

const no = (code: string, reason: string): NoLayer => ({ code, reason });

function layerOf(node: Node): SparseLayer | NoLayer {
  const weight = node.input(1);
  const source = constantOf(weight);
  if (weight === null || source === undefined) {
    return constantOf(node.input(0)) === undefined
      ? no('weight-not-constant', 'its second operand is computed')
      : no('weight-on-the-left', 'the constant is the left operand');
  }
  const { shape, dtype } = source;
  if (dtype !== 'float32') return no('not-float32', `the weight is ${dtype}`);
  if (elementsOf(shape) === 0) return no('empty', 'the weight has no elements');
  const base = { name: weight.name, nodes: [node.name], op: node.opType, source };
  const [first = 1, second = 1] = shape;
  if (node.opType === 'Conv') {
    if (shape.length < 3) return no('weight-rank', `the weight has ${shape.length} axes`);
    const groups = integer(node, 'group', 1);
    if (groups < 1 || first % groups !== 0)
      return no('groups', `${first} outputs do not split into ${groups}`);
    const inputs = elementsOf(shape.slice(1));
    return { ...base, outputs: first, inputs, run: second, groups, transposed: false };
  }
  if (shape.length !== 2) return no('weight-rank', `the weight has ${shape.length} axes, not 2`);
  const transposed = node.opType === 'MatMul' || integer(node, 'transB', 0) === 0;
  const [inputs, outputs] = transposed ? [first, second] : [second, first];
  return { ...base, outputs, inputs, run: inputs, groups: 1, transposed };
}

const sameForm = (left: SparseLayer, right: SparseLayer): boolean =>
  left.transposed === right.transposed && left.run === right.run && left.groups === right.groups;

/**
 * The weights of convolutions and products, each once however many nodes read it. Biases, normalizations and tables are
 * none; a table that is also a product's weight is left alone. What is left alone is reported.
 *
 * @throws {LitheError} OPTIONS_INVALID when `protect` names what is not there
 */
export function sparseLayers(
  graph: Graph,
  protect: readonly string[],
  report: ReportBuilder,
): readonly SparseLayer[] {
  const found = new Map<Value, SparseLayer>();
  const refused = new Set<Value>();
  checkProtected('sparsify', graph, protect);
  for (const node of graph.nodesDeep()) {
    const leftOut = layerLeftOut(node);
    if (leftOut !== undefined) report.skip(leftOut.target, leftOut.code, leftOut.reason);
    if (node.domain !== '' || !kinds.has(node.opType)) continue;
    const layer = node.graph === graph ? layerOf(node) : no('in-subgraph', 'it is part of a subgraph');
    if ('reason' in layer) {
      report.skip(node.name, layer.code, layer.reason);
      continue;
    }
    const weight = node.input(1) as Value;
    if (refused.has(weight)) continue;
    const guarded = [node.name, layer.name].find((name) => protect.includes(name));
    const other = weight.uses.find((use) => use.index !== 1 || !kinds.has(use.node.opType));
    const known = found.get(weight);
    if (guarded !== undefined || other !== undefined || weight.isGraphOutput) {
      refused.add(weight);
      found.delete(weight);
      if (guarded !== undefined) report.skip(layer.name, 'protected', `"${guarded}" is protected`);
      else
        report.skip(
          layer.name,
          'weight-shared',
          other === undefined ? 'it is an output' : `${other.node.opType} "${other.node.name}" reads it too`,
        );
    } else if (known !== undefined && !sameForm(known, layer)) {
      refused.add(weight);
      found.delete(weight);
      report.skip(layer.name, 'weight-shared', `"${node.name}" reads it in another form`);
    } else {
      found.set(weight, known === undefined ? layer : { ...known, nodes: [...known.nodes, node.name] });
    }
  }
  return [...found.values()];
}

/** Place of each input within a stored row. */
export function inputOrder({ inputs, run }: SparseLayer): Int32Array {
  const order = new Int32Array(inputs);
  const positions = inputs / run;
  for (let index = 0; index < inputs; index++)
    order[index] = (index % run) * positions + Math.floor(index / run);
  return order;
}

/** Brings stored elements into the form of the matrix. */
export function toMatrix<T extends Float32Array | Uint8Array>(layer: SparseLayer, stored: T, into: T): T {
  const { outputs, inputs, transposed } = layer;
  const order = inputOrder(layer);
  for (let row = 0; row < outputs; row++)
    for (let column = 0; column < inputs; column++) {
      const place = order[column]!;
      into[row * inputs + column] = stored[transposed ? place * outputs + row : row * inputs + place]!;
    }
  return into;
}

/** Brings a matrix into the form in which it is stored. */
export function toStored<T extends Float32Array | Uint8Array>(layer: SparseLayer, matrix: T, into: T): T {
  const { outputs, inputs, transposed } = layer;
  const order = inputOrder(layer);
  for (let row = 0; row < outputs; row++)
    for (let column = 0; column < inputs; column++) {
      const place = order[column]!;
      into[transposed ? place * outputs + row : row * inputs + place] = matrix[row * inputs + column]!;
    }
  return into;
}

/** Reads a weight as its matrix, a new array. */
export async function loadMatrix(layer: SparseLayer, signal: AbortSignal): Promise<Float32Array> {
  const stored = (await layer.source.load(signal)).data as Float32Array;
  return toMatrix(layer, stored, new Float32Array(stored.length));
}

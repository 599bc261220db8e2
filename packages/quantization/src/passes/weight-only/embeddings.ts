import {
  type Attribute,
  attribute,
  constantOf,
  type Model,
  type Node,
  type TensorSource,
  type Value,
} from '@lithe/core';
import type { WeightPlan } from '../../weights/product-plans.ts';

/** An embedding table with the nodes that look rows up in it. */
export interface Table {
  /** The value that holds it, `[rows, width]`. */
  readonly weight: Value;
  /** Its elements. */
  readonly source: TensorSource;
  /** The lookups. */
  readonly nodes: readonly Node[];
}

/** The tables of a model: constant float32 matrices of which `Gather` takes rows. */
export function tablesOf(model: Model, minimumElements: number): readonly Table[] {
  const tables = new Map<Value, Table & { readonly nodes: Node[] }>();
  for (const node of model.graph.nodesDeep()) {
    if (!node.is('Gather')) continue;
    const weight = node.input(0);
    const source = constantOf(weight);
    const axis = node.attributes.get('axis');
    if (weight === null || source?.dtype !== 'float32' || source.shape.length !== 2) continue;
    if (axis !== undefined && !(axis.kind === 'int' && (axis.value === 0n || axis.value === -2n))) continue;
    if (source.byteLength < 4 * minimumElements) continue;
    const table = tables.get(weight) ?? { weight, source, nodes: [] };
    table.nodes.push(node);
    tables.set(weight, table);
  }
  return [...tables.values()];
}

/** A table as a weight whose rows are quantized. */
export function tablePlan(table: Table): WeightPlan {
  const [n, k] = table.source.shape as readonly [number, number];
  return { weight: table.weight, source: table.source, k, n, transposed: true, products: [] };
}

/** The largest block size the operators take, up to `most`, that divides the rows of a table. */
export function tableBlock(width: number, most: number): number | undefined {
  for (let size = most; size >= 16; size >>= 1) if (width % size === 0) return size;
  return undefined;
}

/** The constants that a lookup reads, as values. */
export interface TableConstants {
  /** Integers, `[rows, width * bits / 8]`. */
  readonly packed: Value;
  /** Scales, `[rows, blocks]`. */
  readonly scales: Value;
  /** Zero points; `null` when they lie in the middle. */
  readonly zeroPoints: Value | null;
}

/**
 * The operator that looks up rows of packed blocks. Its data are bytes: of `uint4` data without zero points
 * onnxruntime 1.30 takes 0 for the middle on the CPU and 8 on WebGPU (measured); bytes give the same on both.
 *
 * @see the specification of `com.microsoft.GatherBlockQuantized` version 1
 */
export function gatherAttributes(bits: 4 | 8, blockSize: number): Readonly<Record<string, Attribute>> {
  return {
    bits: attribute.int(bits),
    block_size: attribute.int(blockSize),
    gather_axis: attribute.int(0),
    quantize_axis: attribute.int(1),
  };
}

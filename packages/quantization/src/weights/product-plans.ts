import {
  constantOf,
  type Model,
  type Node,
  type ReportBuilder,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { type MatrixProduct, matrixProduct, type NotAProduct } from '../graph/matrix-product.ts';

/** A constant matrix in one orientation, with every product that reads it. */
export interface WeightPlan {
  /** The value that holds it. */
  readonly weight: Value;
  /** Its elements. */
  readonly source: TensorSource;
  /** Length of the sums. */
  readonly k: number;
  /** Number of output channels. */
  readonly n: number;
  /** Whether it is stored `[N, K]`. */
  readonly transposed: boolean;
  /** The products. */
  readonly products: readonly { readonly node: Node; readonly product: MatrixProduct }[];
}

/** Whether a node swaps the two axes of a matrix. */
function swapsAxes(node: Node): boolean {
  if (!node.is('Transpose')) return false;
  const perm = node.attributes.get('perm');
  return perm === undefined || (perm.kind === 'ints' && perm.value.map(Number).join() === '1,0');
}

/** The same product with a factor that is a constant behind a `Transpose`, as exporters write tied weights. */
function throughTranspose(node: Node): MatrixProduct | undefined {
  const turned = node.input(1);
  const inner = turned?.producer?.input(0);
  if (turned?.producer === null || turned?.producer === undefined || !swapsAxes(turned.producer))
    return undefined;
  const source = constantOf(inner);
  const input = node.input(0);
  if (input === null || inner === null || inner === undefined) return undefined;
  if (source?.dtype !== 'float32' || source.shape.length !== 2 || source.byteLength === 0) return undefined;
  if (!node.is('MatMul')) return undefined;
  const [n, k] = source.shape as readonly [number, number];
  return { input, weight: inner, source, k, n, transposed: true, bias: null };
}

/** Reads a `MatMul` or `Gemm` as a product with a constant matrix, also one behind a `Transpose`. */
export function constantProduct(node: Node): MatrixProduct | NotAProduct {
  const found = matrixProduct(node);
  return 'code' in found ? (throughTranspose(node) ?? found) : found;
}

/** Which products are wanted. */
export interface ProductPlanOptions {
  /** Matrices with fewer elements are left out. */
  readonly minimumElements: number;
  /** Names of nodes that are left out. */
  readonly exclude?: ReadonlySet<string> | undefined;
  /** Where what is left out is reported. */
  readonly report?: ReportBuilder | undefined;
}

/**
 * The constant matrices of a model's products, subgraphs included, in the order of their first readers. Products whose
 * matrix is no constant, or a small one, are reported as skipped.
 */
export function productPlans(model: Model, options: ProductPlanOptions): readonly WeightPlan[] {
  const { minimumElements, exclude, report } = options;
  const plans = new Map<
    Value,
    (WeightPlan & { readonly products: { node: Node; product: MatrixProduct }[] })[]
  >();
  const order: WeightPlan[] = [];
  for (const node of model.graph.nodesDeep()) {
    if (!node.is('MatMul') && !node.is('Gemm')) continue;
    if (exclude?.has(node.name) === true) {
      report?.skip(node.name, 'excluded', 'it was excluded by name');
      continue;
    }
    const product = constantProduct(node);
    if ('code' in product) {
      report?.skip(node.name, product.code, product.reason);
      continue;
    }
    const { weight, source, k, n, transposed } = product;
    if (k * n < minimumElements) {
      report?.skip(node.name, 'small', `its weight has ${k * n} elements, fewer than ${minimumElements}`);
      continue;
    }
    const forms = plans.get(weight) ?? [];
    plans.set(weight, forms);
    const known = forms.find((form) => form.transposed === transposed);
    if (known !== undefined) known.products.push({ node, product });
    else {
      const plan = { weight, source, k, n, transposed, products: [{ node, product }] };
      forms.push(plan);
      order.push(plan);
    }
  }
  return order;
}

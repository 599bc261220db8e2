import { constantOf, type Node, type TensorSource, type Value } from '@lithe/core';

/** A product of activations with a constant matrix, whichever operator says it. */
export interface MatrixProduct {
  /** Activations, `[…, K]`. */
  readonly input: Value;
  /** The constant. */
  readonly weight: Value;
  /** Its elements: `[K, N]`, or `[N, K]` when {@link transposed}. */
  readonly source: TensorSource;
  /** Length of the sums. */
  readonly k: number;
  /** Number of columns. */
  readonly n: number;
  /** Whether the constant is `[N, K]`. */
  readonly transposed: boolean;
  /** What is added to the product. */
  readonly bias: Value | null;
}

/** Why a node is not such a product. */
export interface NotAProduct {
  /** Short stable code. */
  readonly code: string;
  /** Why, as a clause. */
  readonly reason: string;
}

function number(node: Node, name: string, fallback: number): number {
  const found = node.attributes.get(name);
  return found?.kind === 'int' || found?.kind === 'float' ? Number(found.value) : fallback;
}

const no = (code: string, reason: string): NotAProduct => ({ code, reason });

/** Reads a `MatMul` or `Gemm` as a product with a constant float32 matrix. */
export function matrixProduct(node: Node): MatrixProduct | NotAProduct {
  const [input, weight] = [node.input(0), node.input(1)];
  const source = constantOf(weight);
  if (input === null || weight === null || source === undefined) {
    return constantOf(input) === undefined
      ? no('weight-not-constant', 'both operands are computed')
      : no('weight-on-the-left', 'the constant is the left operand');
  }
  if (source.dtype !== 'float32') return no('not-float32', `the weight is ${source.dtype}`);
  if (source.shape.length !== 2)
    return no('weight-rank', `the weight has ${source.shape.length} axes, not 2`);
  const [rows, columns] = source.shape as readonly [number, number];
  if (rows === 0 || columns === 0) return no('empty', 'the weight has no elements');
  if (node.is('MatMul')) return { input, weight, source, k: rows, n: columns, transposed: false, bias: null };
  if (number(node, 'transA', 0) !== 0) return no('gemm-transposed-input', 'transA is set');
  if (number(node, 'alpha', 1) !== 1) return no('gemm-alpha', 'alpha is not 1');
  const bias = node.input(2);
  if (bias !== null && number(node, 'beta', 1) !== 1) return no('gemm-beta', 'beta is not 1');
  const transposed = number(node, 'transB', 0) !== 0;
  return {
    input,
    weight,
    source,
    k: transposed ? columns : rows,
    n: transposed ? rows : columns,
    transposed,
    bias,
  };
}

import { constantOf, type Node, type Target } from '@lithe/core';

/** Which nodes static quantization may take. */
export interface EligibilityOptions {
  /** Whether depthwise convolutions are quantized; `auto`: the plan weighs it. */
  readonly depthwise: boolean | 'auto';
  /** Whether products of two activations are quantized. */
  readonly activationProducts: boolean;
  /** Weights of products with fewer elements stay float. */
  readonly minimumElements: number;
  /** Names of nodes that stay float. */
  readonly exclude: readonly string[];
  /** What the model is for. */
  readonly target: Target | undefined;
  /** Whether the target's own integer operators decide; not for formats that only other runtimes compute in. */
  readonly asked?: boolean | undefined;
}

/** Why a node stays float. */
export interface Reason {
  /** Short stable code. */
  readonly code: string;
  /** Why, as a clause. */
  readonly reason: string;
}

const no = (code: string, reason: string): Reason => ({ code, reason });

function number(node: Node, name: string, fallback: number): number {
  const found = node.attributes.get(name);
  return found?.kind === 'int' || found?.kind === 'float' ? Number(found.value) : fallback;
}

/** Whether a bias is one that integers can hold: a constant float32 vector of `length`. */
function biasProblem(node: Node, length: number): Reason | undefined {
  const bias = node.input(2);
  if (bias === null) return undefined;
  const source = constantOf(bias);
  if (source === undefined) return no('bias-not-constant', 'its bias is computed');
  if (source.dtype !== 'float32') return no('not-float32', `its bias is ${source.dtype}`);
  if (source.shape.length !== 1 || source.shape[0] !== length) {
    return no('bias-shape', `its bias has shape [${source.shape.join(', ')}], not [${length}]`);
  }
  return undefined;
}

function convolution(node: Node, options: EligibilityOptions): Reason | undefined {
  const source = constantOf(node.input(1));
  if (source === undefined) return no('weight-not-constant', 'its weight is computed');
  if (source.dtype !== 'float32') return no('not-float32', `its weight is ${source.dtype}`);
  if (source.shape.length < 3 || source.byteLength === 0)
    return no('weight-rank', 'its weight is not a kernel');
  const groups = number(node, 'group', 1);
  if (groups > 1 && source.shape[1] === 1 && options.depthwise === false) {
    return no('depthwise', 'depthwise convolutions gain little or lose in integers');
  }
  return biasProblem(node, source.shape[0]!);
}

function product(node: Node, options: EligibilityOptions): Reason | undefined {
  const left = constantOf(node.input(0));
  const right = constantOf(node.input(1));
  if (left !== undefined) return no('weight-on-the-left', 'its left operand is a constant');
  if (right === undefined) {
    if (node.is('Gemm')) return no('weight-not-constant', 'its weight is computed');
    return options.activationProducts
      ? undefined
      : no('activation-product', 'products of two activations stay float');
  }
  if (right.dtype !== 'float32') return no('not-float32', `its weight is ${right.dtype}`);
  if (right.shape.length !== 2) return no('weight-rank', `its weight has ${right.shape.length} axes, not 2`);
  const elements = right.byteLength / 4;
  if (elements < options.minimumElements)
    return no('small', `its weight has ${elements} elements, fewer than ${options.minimumElements}`);
  if (node.is('MatMul')) return undefined;
  if (number(node, 'transA', 0) !== 0) return no('gemm-transposed-input', 'transA is set');
  if (number(node, 'alpha', 1) !== 1) return no('gemm-alpha', 'alpha is not 1');
  if (number(node, 'beta', 1) !== 1) return no('gemm-beta', 'beta is not 1');
  return biasProblem(node, right.shape[number(node, 'transB', 0) === 0 ? 1 : 0]!);
}

/** Why a node of the table cannot be quantized; `undefined` when it can. */
export function ineligible(node: Node, options: EligibilityOptions): Reason | undefined {
  if (options.exclude.includes(node.name)) return no('excluded', 'it was excluded by name');
  const own = node.is('Conv')
    ? convolution(node, options)
    : node.is('MatMul') || node.is('Gemm')
      ? product(node, options)
      : undefined;
  if (own !== undefined) return own;
  const fuses = options.asked === false ? undefined : options.target?.profile.fusesQdq(node);
  return fuses === undefined || fuses.ok ? undefined : no('target', fuses.reason);
}

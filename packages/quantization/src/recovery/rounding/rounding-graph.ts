import { GraphBuilder, type Model, Tensor, type Value } from '@lithe/core';

/** The layer whose rounding is learned, as matrices. */
export interface RoundingProblem {
  /** Groups, outputs and length of the sums of a group. */
  readonly sizes: { readonly groups: number; readonly outputs: number; readonly length: number };
  /** Rows of {@link inputs}. */
  readonly rows: number;
  /** `[groups, rows, length]`. */
  readonly inputs: Float32Array<ArrayBuffer>;
  /** What the float layer gives behind its activation, `[groups, rows, outputs]`. */
  readonly targets: Float32Array<ArrayBuffer>;
  /** Added to the sums, `[groups, outputs]`. */
  readonly bias: Float32Array<ArrayBuffer>;
  /** Scale of each weight, `[groups, outputs, length]`. */
  readonly scales: Float32Array<ArrayBuffer>;
  /** Each weight over its scale, rounded down. */
  readonly floors: Float32Array<ArrayBuffer>;
  /** Smallest and largest integer, the zero point taken off. */
  readonly bounds: readonly [number, number];
  /** Bounds of the activation behind the layer; infinite where there are none. */
  readonly activation: { readonly low: number; readonly high: number };
}

/** Stretch of the rectified sigmoid, equation 23 of the paper. */
export const ZETA = 1.1;
/** Its lower end. */
export const GAMMA = -0.1;
const ADAM = { first: 0.9, second: 0.999, epsilon: 1e-8 } as const;

const scalar = (value: number): Tensor => Tensor.from('float32', [], Float32Array.of(value));
const vector = (values: readonly number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));

function finite(bound: number): Tensor | null {
  return Number.isFinite(bound) ? scalar(bound) : null;
}

/** Error of the layer's result and the gradient of half its square by the expanded weights, over some rows. */
function reconstruction(
  b: GraphBuilder,
  problem: RoundingProblem,
  data: { readonly x: Value; readonly y: Value; readonly weight: Value },
): { readonly error: Value; readonly gradient: Value } {
  const { op } = b;
  const { groups, outputs } = problem.sizes;
  const { low, high } = problem.activation;
  const bias = Tensor.from('float32', [groups, 1, outputs], problem.bias);
  const sums = op.Add([op.MatMul([data.x, op.Transpose([data.weight], { perm: [0, 2, 1] })]), bias]);
  if (!Number.isFinite(low) && !Number.isFinite(high)) {
    const error = op.Sub([sums, data.y]);
    return { error, gradient: op.MatMul([op.Transpose([error], { perm: [0, 2, 1] }), data.x]) };
  }
  const clipped = op.Clip([sums, finite(low), finite(high)]);
  const error = op.Sub([clipped, data.y]);
  // Where the activation is flat nothing that changes the sum changes the result.
  const moving = op.Cast([op.Equal([clipped, sums])], { to: 1 });
  const through = op.Transpose([op.Mul([error, moving])], { perm: [0, 2, 1] });
  return { error, gradient: op.MatMul([through, data.x]) };
}

/**
 * One step of learning how each weight is rounded, as a graph of standard operators: the soft rounding
 * `h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1)`, the squared error of the layer's result on a batch of rows,
 * the regularizer `1 - |2h - 1|^beta`, their gradient by `V` and an Adam update.
 *
 * Inputs: `rows` int64 `[batch]`; scalars `beta`, `weight` (of the regularizer), `step` (learning rate over
 * `1 - 0.9^t`), `correction` (`1 / (1 - 0.999^t)`), `reconstruction` (factor of the error's gradient). State: `v`,
 * `first`, `second`, all `[groups, outputs, length]`. Output: `error`, the mean over rows of the squared error.
 *
 * @see Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020, equations 21 to 25
 */
export async function roundingStep(problem: RoundingProblem, batch: number): Promise<Model> {
  const b = new GraphBuilder('adaptive_rounding');
  const { op } = b;
  const { groups, outputs, length } = problem.sizes;
  const shape = [groups, outputs, length];
  const rows = b.input('rows', 'int64', [batch]);
  const [beta, regularizer, step, correction, factor] = [
    'beta',
    'weight',
    'step',
    'correction',
    'reconstruction',
  ].map((name) => b.input(name, 'float32', [])) as [Value, Value, Value, Value, Value];
  const [v, first, second] = ['v', 'first', 'second'].map((name) => b.input(name, 'float32', shape)) as [
    Value,
    Value,
    Value,
  ];
  const constant = (name: string, dims: readonly number[], data: Float32Array<ArrayBuffer>): Value =>
    b.constant(name, Tensor.from('float32', dims, data));
  const scales = constant('scales', shape, problem.scales);
  const sigmoid = op.Sigmoid([v]);
  const raw = op.Add([op.Mul([sigmoid, scalar(ZETA - GAMMA)]), scalar(GAMMA)]);
  const soft = op.Clip([raw, scalar(0), scalar(1)]);
  const [lowest, highest] = problem.bounds;
  const levels = op.Clip([
    op.Add([constant('floors', shape, problem.floors), soft]),
    scalar(lowest),
    scalar(highest),
  ]);
  const x = op.Gather([constant('inputs', [groups, problem.rows, length], problem.inputs), rows], {
    axis: 1,
  });
  const y = op.Gather([constant('targets', [groups, problem.rows, outputs], problem.targets), rows], {
    axis: 1,
  });
  const { error, gradient } = reconstruction(b, problem, { x, y, weight: op.Mul([levels, scales]) });
  b.output('error', op.Div([op.ReduceSumSquare([error], { keepdims: false }), scalar(batch)]));
  // d/dh (1 - |2h - 1|^beta) = -2 beta |2h - 1|^(beta - 1) sign(2h - 1)
  const centred = op.Sub([op.Mul([soft, scalar(2)]), scalar(1)]);
  const power = op.Pow([op.Abs([centred]), op.Sub([beta, scalar(1)])]);
  const pull = op.Mul([
    op.Mul([power, op.Sign([centred])]),
    op.Mul([op.Mul([beta, regularizer]), scalar(-2)]),
  ]);
  const push = op.Mul([op.Mul([gradient, scales]), op.Mul([factor, scalar(2 / batch)])]);
  const inside = op.Cast([op.Equal([raw, soft])], { to: 1 });
  const slope = op.Mul([op.Mul([sigmoid, op.Sub([scalar(1), sigmoid])]), inside]);
  const total = op.Mul([op.Mul([op.Add([push, pull]), slope]), scalar(ZETA - GAMMA)]);
  const mixed = (state: Value, fresh: Value, keep: number): Value =>
    op.Add([op.Mul([state, scalar(keep)]), op.Mul([fresh, scalar(1 - keep)])]);
  const nextFirst = b.output('first_next', mixed(first, total, ADAM.first));
  const nextSecond = b.output('second_next', mixed(second, op.Mul([total, total]), ADAM.second));
  const root = op.Add([op.Sqrt([op.Mul([nextSecond, correction])]), scalar(ADAM.epsilon)]);
  b.output('v_next', op.Sub([v, op.Mul([op.Div([nextFirst, root]), step])]));
  return b.build();
}

/**
 * The error of given weights on all rows of a problem. Input: `weight` `[groups, outputs, length]`; outputs: `error`,
 * the mean over rows of the squared error, and `gradient`, the root mean square of its gradient by the rounding.
 */
export async function roundingError(problem: RoundingProblem): Promise<Model> {
  const b = new GraphBuilder('rounding_error');
  const { op } = b;
  const { groups, outputs, length } = problem.sizes;
  const shape = [groups, outputs, length];
  const weight = b.input('weight', 'float32', shape);
  const x = b.constant('inputs', Tensor.from('float32', [groups, problem.rows, length], problem.inputs));
  const y = b.constant('targets', Tensor.from('float32', [groups, problem.rows, outputs], problem.targets));
  const { error, gradient } = reconstruction(b, problem, { x, y, weight });
  b.output('error', op.Div([op.ReduceSumSquare([error], { keepdims: false }), scalar(problem.rows)]));
  const scaled = op.Mul([
    op.Mul([gradient, Tensor.from('float32', shape, problem.scales)]),
    scalar(2 / problem.rows),
  ]);
  b.output(
    'gradient',
    op.Sqrt([op.ReduceMean([op.Mul([scaled, scaled]), vector([0, 1, 2])], { keepdims: false })]),
  );
  return b.build();
}

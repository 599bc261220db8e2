import { constantOf, standardOpDefs, Tensor, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';

/** Wraps a rule of one float input: `local` gives the gradient by it. */
function unary(
  local: (emit: Emitter, gradient: Value, x: Value, y: Value, context: GradientContext) => Value,
): GradientRule {
  return (context, gradient) => [local(context.emit, gradient, context.input(0), context.output(), context)];
}

const ifNeeded = (context: GradientContext, index: number, make: () => Value): Value | null =>
  context.needs(index) ? make() : null;

/** The gradient goes to whichever input gave the result; ties go to the first of them alone. */
const selectRule =
  (comparison: 'GreaterOrEqual' | 'LessOrEqual'): GradientRule =>
  (context, gradient) => {
    const { emit, node } = context;
    const inputs = node.inputs as readonly Value[];
    if (inputs.length === 1) return [gradient];
    const results: Value[] = [];
    // Input k wins where it is at least as good as all later ones and strictly better than all earlier ones.
    let best = inputs[0] as Value;
    const wins: Value[] = [];
    for (let index = 1; index < inputs.length; index++) {
      const challenger = inputs[index] as Value;
      const keeps = emit.op(comparison, [best, challenger]);
      const loses = emit.op('Not', [keeps]);
      for (let earlier = 0; earlier < wins.length; earlier++)
        wins[earlier] = emit.op('And', [wins[earlier] as Value, keeps]);
      if (index === 1) wins.push(keeps);
      wins.push(loses);
      best = emit.op(comparison === 'GreaterOrEqual' ? 'Max' : 'Min', [best, challenger]);
    }
    const dtype = gradient.dtype ?? 'float32';
    for (const win of wins) results.push(emit.mul(gradient, emit.mask(win, dtype)));
    return results;
  };

/** Whether a value may hold a 0: whatever is no constant in memory may. */
function mayBeZero(value: Value): boolean {
  const source = constantOf(value);
  return !(source instanceof Tensor) || source.toFloat64Array().includes(0);
}

const pow: GradientRule = (context, gradient) => {
  const { emit } = context;
  const [base, exponent] = [context.input(0), context.input(1)];
  const dtype = base.dtype ?? 'float32';
  const power = emit.cast(exponent, dtype);
  return [
    ifNeeded(context, 0, () => {
      const slope = emit.mul(power, emit.op('Pow', [base, emit.shift(power, -1)]));
      // b^0 is 1 everywhere, but 0 times 0^-1 is no number.
      const flat = (): Value => emit.op('Equal', [power, emit.scalar(0, dtype)]);
      return emit.mul(
        gradient,
        mayBeZero(exponent) ? emit.op('Where', [flat(), emit.scalar(0, dtype), slope]) : slope,
      );
    }),
    // d/dp b^p = b^p ln b; the logarithm is taken of 1 where b is not positive, which gives 0 as for b = 0.
    ifNeeded(context, 1, () => {
      const positive = emit.op('Greater', [base, emit.scalar(0, dtype)]);
      const safe = emit.op('Where', [positive, base, emit.scalar(1, dtype)]);
      return emit.mul(gradient, emit.mul(context.output(), emit.op('Log', [safe])));
    }),
  ];
};

const oneMinusSquare = (emit: Emitter, value: Value): Value =>
  emit.sub(emit.scalar(1, value.dtype), emit.mul(value, value));
const onePlusSquare = (emit: Emitter, value: Value): Value => emit.shift(emit.mul(value, value), 1);

const clip: GradientRule = (context, gradient) => {
  const { emit } = context;
  const x = context.input(0);
  const dtype = x.dtype ?? 'float32';
  let inside: Value | undefined;
  const bounds = [
    [1, 'GreaterOrEqual', 'Less'],
    [2, 'LessOrEqual', 'Greater'],
  ] as const;
  const results: (Value | null)[] = [null, null, null];
  for (const [index, holds, beyond] of bounds) {
    if (!context.has(index)) continue;
    const bound = context.input(index);
    const within = emit.op(holds, [x, bound]);
    inside = inside === undefined ? within : emit.op('And', [inside, within]);
    if (context.needs(index))
      results[index] = emit.mul(gradient, emit.mask(emit.op(beyond, [x, bound]), dtype));
  }
  results[0] = inside === undefined ? gradient : emit.mul(gradient, emit.mask(inside, dtype));
  return results;
};

/** x / y rounded towards zero. */
function wholeQuotient({ emit, input }: GradientContext): Value {
  const quotient = emit.div(input(0), input(1));
  return emit.mul(emit.op('Sign', [quotient]), emit.op('Floor', [emit.op('Abs', [quotient])]));
}

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);

/** Gradients of elementwise arithmetic. Broadcasting is undone by the caller. */
export const elementwiseGradients: GradientRules<
  | 'Add'
  | 'Sub'
  | 'Mul'
  | 'Div'
  | 'Pow'
  | 'Neg'
  | 'Abs'
  | 'Sqrt'
  | 'Exp'
  | 'Log'
  | 'Reciprocal'
  | 'Erf'
  | 'Sin'
  | 'Cos'
  | 'Tan'
  | 'Asin'
  | 'Acos'
  | 'Atan'
  | 'Sinh'
  | 'Cosh'
  | 'Asinh'
  | 'Acosh'
  | 'Atanh'
  | 'Max'
  | 'Min'
  | 'Sum'
  | 'Mean'
  | 'Where'
  | 'Clip'
  | 'Identity'
  | 'Cast'
  | 'CastLike'
  | 'Sign'
  | 'Floor'
  | 'Ceil'
  | 'Round'
  | 'Mod'
  | 'Shrink'
> = {
  Add: (_, gradient) => [gradient, gradient],
  Sub: (context, gradient) => [gradient, ifNeeded(context, 1, () => context.emit.neg(gradient))],
  Mul: (context, gradient) => [
    ifNeeded(context, 0, () => context.emit.mul(gradient, context.input(1))),
    ifNeeded(context, 1, () => context.emit.mul(gradient, context.input(0))),
  ],
  Div: (context, gradient) => {
    const { emit } = context;
    const byLeft = emit.div(gradient, context.input(1));
    return [byLeft, ifNeeded(context, 1, () => emit.neg(emit.mul(byLeft, context.output())))];
  },
  Pow: pow,
  Neg: unary((emit, gradient) => emit.neg(gradient)),
  Abs: unary((emit, gradient, x) => emit.mul(gradient, emit.op('Sign', [x]))),
  Sqrt: unary((emit, gradient, _x, y) => emit.div(gradient, emit.scale(y, 2))),
  Exp: unary((emit, gradient, _x, y) => emit.mul(gradient, y)),
  Log: unary((emit, gradient, x) => emit.div(gradient, x)),
  Reciprocal: unary((emit, gradient, _x, y) => emit.neg(emit.mul(gradient, emit.mul(y, y)))),
  Erf: unary((emit, gradient, x) =>
    emit.mul(gradient, emit.scale(emit.op('Exp', [emit.neg(emit.mul(x, x))]), TWO_OVER_SQRT_PI)),
  ),
  Sin: unary((emit, gradient, x) => emit.mul(gradient, emit.op('Cos', [x]))),
  Cos: unary((emit, gradient, x) => emit.neg(emit.mul(gradient, emit.op('Sin', [x])))),
  Tan: unary((emit, gradient, _x, y) => emit.mul(gradient, onePlusSquare(emit, y))),
  Asin: unary((emit, gradient, x) => emit.div(gradient, emit.op('Sqrt', [oneMinusSquare(emit, x)]))),
  Acos: unary((emit, gradient, x) =>
    emit.neg(emit.div(gradient, emit.op('Sqrt', [oneMinusSquare(emit, x)]))),
  ),
  Atan: unary((emit, gradient, x) => emit.div(gradient, onePlusSquare(emit, x))),
  Sinh: unary((emit, gradient, x) => emit.mul(gradient, emit.op('Cosh', [x]))),
  Cosh: unary((emit, gradient, x) => emit.mul(gradient, emit.op('Sinh', [x]))),
  Asinh: unary((emit, gradient, x) => emit.div(gradient, emit.op('Sqrt', [onePlusSquare(emit, x)]))),
  Acosh: unary((emit, gradient, x) => emit.div(gradient, emit.op('Sqrt', [emit.shift(emit.mul(x, x), -1)]))),
  Atanh: unary((emit, gradient, x) => emit.div(gradient, oneMinusSquare(emit, x))),
  Max: selectRule('GreaterOrEqual'),
  Min: selectRule('LessOrEqual'),
  Sum: (context, gradient) => context.node.inputs.map(() => gradient),
  Mean: (context, gradient) => {
    const share = context.emit.scale(gradient, 1 / context.node.inputs.length);
    return context.node.inputs.map(() => share);
  },
  Where: (context, gradient) => {
    const { emit } = context;
    const mask = emit.mask(context.input(0), gradient.dtype ?? 'float32');
    const chosen = emit.mul(gradient, mask);
    return [null, chosen, ifNeeded(context, 2, () => emit.sub(gradient, chosen))];
  },
  Clip: clip,
  Identity: (_, gradient) => [gradient],
  Cast: (context, gradient) => [context.emit.cast(gradient, context.input(0).dtype ?? 'float32')],
  CastLike: (context, gradient) => [context.emit.cast(gradient, context.input(0).dtype ?? 'float32'), null],
  // Piecewise constant: the gradient is zero wherever it exists.
  Sign: 'none',
  Floor: 'none',
  Ceil: 'none',
  Round: 'none',
  // x - y trunc(x / y): the quotient is constant wherever the gradient exists.
  Mod: (context, gradient) => {
    const { emit } = context;
    return [gradient, ifNeeded(context, 1, () => emit.neg(emit.mul(gradient, wholeQuotient(context))))];
  },
  Shrink: (context, gradient) => {
    const { emit } = context;
    const { lambd } = context.attributes(standardOpDefs.Shrink);
    const x = context.input(0);
    return [
      emit.mul(
        gradient,
        emit.mask(
          emit.op('Greater', [emit.op('Abs', [x]), emit.scalar(lambd, x.dtype)]),
          x.dtype ?? 'float32',
        ),
      ),
    ];
  },
};

import { errors, type Value } from '@lithe/core';
import type { Optimizer, UpdateContext } from './optimizer.ts';

/** Options by what they may be. */
interface Bounds {
  /** At least 0 and below 1: decays of running means, momentum. */
  readonly shares?: Readonly<Record<string, number>>;
  /** Above 0: what keeps a division finite. */
  readonly positive?: Readonly<Record<string, number>>;
  /** At least 0. */
  readonly weightDecay: number;
}

function check(optimizer: string, { shares = {}, positive = {}, weightDecay }: Bounds): void {
  const problems = Object.entries(shares)
    .filter(([, value]) => !(value >= 0 && value < 1))
    .map(([name]) => `"${name}" must be in [0, 1).`);
  for (const [name, value] of Object.entries(positive))
    if (!(value > 0 && Number.isFinite(value))) problems.push(`"${name}" must be above 0.`);
  if (!(weightDecay >= 0 && Number.isFinite(weightDecay))) problems.push('"weightDecay" must be 0 or more.');
  if (problems.length > 0) throw errors.optionsInvalid(optimizer, problems);
}

/** Weight decay as a gradient (L2 regularization): g + lambda w. */
function decayed({ emit, gradient, parameter, weightDecay }: UpdateContext): Value {
  return weightDecay === 0 ? gradient : emit.add(gradient, emit.scale(parameter, weightDecay));
}

/** Weight decay apart from the gradient: w (1 - lr lambda) (Loshchilov and Hutter, "Decoupled Weight Decay", 2019). */
function shrunk({ emit, parameter, learningRate, weightDecay }: UpdateContext): Value {
  if (weightDecay === 0) return parameter;
  return emit.mul(
    parameter,
    emit.sub(emit.scalar(1, parameter.dtype), emit.scale(learningRate, weightDecay)),
  );
}

/** Running mean: b m + (1 - b) x, kept in a slot. */
function running(context: UpdateContext, name: string, value: Value, beta: number): Value {
  const { emit } = context;
  const next = emit.add(emit.scale(context.slot(name), beta), emit.scale(value, 1 - beta));
  context.setSlot(name, next);
  return next;
}

/** Running mean without its factor: M = b M + x, so that the mean is (1 - b) M. One operation less per element. */
function decaying(context: UpdateContext, name: string, value: Value, beta: number): Value {
  const { emit } = context;
  const next = emit.add(emit.scale(context.slot(name), beta), value);
  context.setSlot(name, next);
  return next;
}

/** Options of {@link sgd}. */
export interface SgdOptions {
  /** Momentum; 0 by default. */
  readonly momentum?: number | undefined;
  /** Nesterov's form of momentum; off by default. */
  readonly nesterov?: boolean | undefined;
  /** Weight decay, as a gradient; 0 by default. */
  readonly weightDecay?: number | undefined;
}

/**
 * Stochastic gradient descent: v = mu v + g; w - lr v, or w - lr (g + mu v) in Nesterov's form (Sutskever et al., 2013).
 *
 * @throws {LitheError} OPTIONS_INVALID when an option is out of range, or Nesterov's form has no momentum
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  const { momentum = 0, nesterov = false, weightDecay = 0 } = options;
  check('sgd', { shares: { momentum }, weightDecay });
  if (nesterov && momentum === 0)
    throw errors.optionsInvalid('sgd', ['"nesterov" is a form of momentum: it needs "momentum".']);
  return {
    name: momentum === 0 ? 'SGD' : nesterov ? 'SGD, Nesterov momentum' : 'SGD, momentum',
    weightDecay,
    update: (context) => {
      const { emit, parameter, learningRate } = context;
      const gradient = decayed(context);
      if (momentum === 0) return emit.sub(parameter, emit.mul(learningRate, gradient));
      const velocity = emit.add(emit.scale(context.slot('velocity'), momentum), gradient);
      context.setSlot('velocity', velocity);
      const direction = nesterov ? emit.add(gradient, emit.scale(velocity, momentum)) : velocity;
      return emit.sub(parameter, emit.mul(learningRate, direction));
    },
  };
}

/** Options of {@link adam} and {@link adamW}. */
export interface AdamOptions {
  /** Decay of the mean of gradients; 0.9 by default. */
  readonly beta1?: number | undefined;
  /** Decay of the mean of squared gradients; 0.999 by default. */
  readonly beta2?: number | undefined;
  /** Keeps the division finite; 1e-8 by default. */
  readonly epsilon?: number | undefined;
  /** Weight decay; 0 by default in Adam, 0.01 in AdamW. */
  readonly weightDecay?: number | undefined;
}

function checkAdam(optimizer: string, options: AdamOptions): void {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  check(optimizer, { shares: { beta1, beta2 }, positive: { epsilon }, weightDecay });
}

/** Adam's step from a gradient: lr m^ / (sqrt(v^) + eps) with bias-corrected means (Kingma and Ba, 2015, algorithm 1). */
function adamStep(context: UpdateContext, gradient: Value, options: AdamOptions): Value {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  const { emit, step, learningRate, parameter } = context;
  const dtype = parameter.dtype ?? 'float32';
  const sum = decaying(context, 'mean', gradient, beta1);
  const squares = decaying(context, 'square', emit.mul(gradient, gradient), beta2);
  // 1 - beta^t = 1 - e^-y with y = -t ln beta, as 2 u / (1 + u) with u = tanh(y / 2): the difference of two numbers near
  // 1 would lose four digits in the first steps.
  const correction = (beta: number): Value => {
    const u = emit.op('Tanh', [emit.scale(step, -Math.log(beta) / 2)]);
    return emit.cast(emit.div(emit.scale(u, 2), emit.shift(u, 1)), dtype);
  };
  // With m = (1 - b1) M and v = (1 - b2) V: lr m / c1 / (sqrt(v / c2) + eps) = rate M / (sqrt(V) + eps width) with the
  // scalar width = sqrt(c2 / (1 - b2)), so that an element takes five operations and no more.
  const width = emit.op('Sqrt', [emit.scale(correction(beta2), 1 / (1 - beta2))]);
  const rate = emit.mul(emit.div(emit.scale(learningRate, 1 - beta1), correction(beta1)), width);
  const deviation = emit.add(emit.op('Sqrt', [squares]), emit.scale(width, epsilon));
  return emit.div(emit.mul(sum, rate), deviation);
}

/**
 * Adam (Kingma and Ba, 2015), with weight decay as a gradient.
 *
 * @throws {LitheError} OPTIONS_INVALID when an option is out of range
 */
export function adam(options: AdamOptions = {}): Optimizer {
  checkAdam('adam', options);
  return {
    name: 'Adam',
    scaleInvariant: true,
    weightDecay: options.weightDecay ?? 0,
    update: (context) => context.emit.sub(context.parameter, adamStep(context, decayed(context), options)),
  };
}

/**
 * AdamW: Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019).
 *
 * @throws {LitheError} OPTIONS_INVALID when an option is out of range
 */
export function adamW(options: AdamOptions = {}): Optimizer {
  checkAdam('adamW', options);
  return {
    name: 'AdamW',
    scaleInvariant: true,
    weightDecay: options.weightDecay ?? 0.01,
    update: (context) => context.emit.sub(shrunk(context), adamStep(context, context.gradient, options)),
  };
}

/** Options of {@link rmsprop}. */
export interface RmspropOptions {
  /** Decay of the mean of squared gradients; 0.99 by default. */
  readonly alpha?: number | undefined;
  /** Keeps the division finite; 1e-8 by default. */
  readonly epsilon?: number | undefined;
  /** Momentum; 0 by default. */
  readonly momentum?: number | undefined;
  /** Weight decay, as a gradient; 0 by default. */
  readonly weightDecay?: number | undefined;
}

/**
 * RMSprop (Tieleman and Hinton, 2012, lecture 6.5): w - lr g / (sqrt(v) + eps).
 *
 * @throws {LitheError} OPTIONS_INVALID when an option is out of range
 */
export function rmsprop(options: RmspropOptions = {}): Optimizer {
  const { alpha = 0.99, epsilon = 1e-8, momentum = 0, weightDecay = 0 } = options;
  check('rmsprop', { shares: { alpha, momentum }, positive: { epsilon }, weightDecay });
  return {
    name: 'RMSprop',
    scaleInvariant: true,
    weightDecay,
    update: (context) => {
      const { emit, parameter, learningRate } = context;
      const gradient = decayed(context);
      const square = running(context, 'square', emit.mul(gradient, gradient), alpha);
      let direction = emit.div(gradient, emit.shift(emit.op('Sqrt', [square]), epsilon));
      if (momentum !== 0) {
        direction = emit.add(emit.scale(context.slot('velocity'), momentum), direction);
        context.setSlot('velocity', direction);
      }
      return emit.sub(parameter, emit.mul(learningRate, direction));
    },
  };
}

/** Options of {@link lion}. */
export interface LionOptions {
  /** Weight of the mean in the direction; 0.9 by default. */
  readonly beta1?: number | undefined;
  /** Decay of the mean; 0.99 by default. */
  readonly beta2?: number | undefined;
  /** Weight decay, apart from the gradient; 0 by default. */
  readonly weightDecay?: number | undefined;
}

/**
 * Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, program 1): w - lr sign(b1 m + (1 - b1) g).
 *
 * @throws {LitheError} OPTIONS_INVALID when an option is out of range
 */
export function lion(options: LionOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.99, weightDecay = 0 } = options;
  check('lion', { shares: { beta1, beta2 }, weightDecay });
  return {
    name: 'Lion',
    scaleInvariant: true,
    weightDecay,
    update: (context) => {
      const { emit, gradient, learningRate } = context;
      const direction = emit.op('Sign', [
        emit.add(emit.scale(context.slot('mean'), beta1), emit.scale(gradient, 1 - beta1)),
      ]);
      running(context, 'mean', gradient, beta2);
      return emit.sub(shrunk(context), emit.mul(learningRate, direction));
    },
  };
}

import type { KernelContext } from '../kernel.ts';
import { sigmoid, softplus } from './special-functions.ts';

/** A function of one number. */
export type Activation = (value: number) => number;

/** How an activation of `RNN`, `GRU` and `LSTM` is made, and its defaults where it takes parameters. */
interface ActivationSpec {
  readonly alpha?: number;
  readonly beta?: number;
  readonly make: (alpha: number, beta: number) => Activation;
}

/** The activations that the specification of `RNN` lists. */
const activations: Readonly<Record<string, ActivationSpec>> = {
  affine: { alpha: 1, beta: 0, make: (alpha, beta) => (x) => alpha * x + beta },
  elu: { alpha: 1, make: (alpha) => (x) => (x >= 0 ? x : alpha * Math.expm1(x)) },
  hardsigmoid: {
    alpha: Math.fround(0.2),
    beta: 0.5,
    make: (alpha, beta) => (x) => Math.min(Math.max(alpha * x + beta, 0), 1),
  },
  leakyrelu: { alpha: Math.fround(0.01), make: (alpha) => (x) => (x >= 0 ? x : alpha * x) },
  relu: { make: () => (x) => Math.max(0, x) },
  scaledtanh: { alpha: 1, beta: 1, make: (alpha, beta) => (x) => alpha * Math.tanh(beta * x) },
  sigmoid: { make: () => sigmoid },
  softplus: { make: () => softplus },
  softsign: { make: () => (x) => x / (1 + Math.abs(x)) },
  tanh: { make: () => Math.tanh },
  thresholdedrelu: { alpha: 1, make: (alpha) => (x) => (x >= alpha ? x : 0) },
};

/** Names and parameters of activations, as attributes give them. */
export interface ActivationAttributes {
  /** Names, for all directions one behind the other. */
  readonly activations: readonly string[] | undefined;
  /** First parameters of those that take one, in order. */
  readonly activation_alpha: readonly number[] | undefined;
  /** Second parameters of those that take one, in order. */
  readonly activation_beta: readonly number[] | undefined;
}

/** The activations of every direction: `count` each, `defaults` where none are named. */
export function activationsOf(
  context: KernelContext,
  attributes: ActivationAttributes,
  { directions, defaults }: { readonly directions: number; readonly defaults: readonly string[] },
): Activation[][] {
  const names = attributes.activations ?? Array.from({ length: directions }, () => defaults).flat();
  if (names.length !== directions * defaults.length)
    context.fail(`${names.length} activations for ${directions * defaults.length} places`);
  let nextAlpha = 0;
  let nextBeta = 0;
  const made = names.map((name) => {
    const spec = activations[name.toLowerCase()] ?? context.fail(`activation "${name}" is not known`);
    const alpha = spec.alpha === undefined ? 0 : (attributes.activation_alpha?.[nextAlpha++] ?? spec.alpha);
    const beta = spec.beta === undefined ? 0 : (attributes.activation_beta?.[nextBeta++] ?? spec.beta);
    return spec.make(alpha, beta);
  });
  return Array.from({ length: directions }, (_, index) =>
    made.slice(index * defaults.length, (index + 1) * defaults.length),
  );
}

/** Limits to [-clip, clip]; the identity without a clip. */
export function clipper(clip: number | undefined): Activation {
  return clip === undefined ? (x) => x : (x) => Math.min(Math.max(x, -clip), clip);
}

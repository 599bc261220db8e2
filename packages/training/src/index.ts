/**
 * Training as graphs: a training step is an ordinary graph of standard operators, derived from the inference graph.
 *
 * @packageDocumentation
 */
export { Emitter, type EmitAttributes } from './autodiff/emitter.ts';
export { gradient, type GradientContext, type GradientRule } from './autodiff/gradient-rule.ts';
export { addGradients, type GradientRequest, gradients } from './autodiff/gradients.ts';
export { standardGradients } from './rules/standard-gradients.ts';

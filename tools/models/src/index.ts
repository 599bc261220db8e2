/**
 * Small networks trained on Fashion-MNIST, and the images held out, for tests and benchmarks.
 *
 * @packageDocumentation
 */

export { type FashionPart, fashionMnist } from './fashion-mnist.ts';
export type { TrainedName } from './networks.ts';
export { accuracyOn, loadTrainedModel } from './trained.ts';

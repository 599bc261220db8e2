import { createRng, type GraphBuilder, Tensor, type Value } from '@lithe/core';

/** Makes weights for models that are measured, not trained. */
export interface Weights {
  /** A normal weight of the standard deviation `deviation`. */
  normal(shape: readonly number[], deviation: number): Value;
  /** A constant vector. */
  fill(length: number, value: number): Value;
  /** A constant of whole numbers. */
  integers(values: readonly number[]): Value;
}

/** Weights drawn from a seed, as initializers of a builder's graph. */
export function seededWeights(builder: GraphBuilder, seed: number): Weights {
  const rng = createRng(seed);
  const { graph } = builder;
  const constant = (stem: string, tensor: Tensor): Value => builder.constant(graph.uniqueName(stem), tensor);
  return {
    normal: (shape, deviation) => {
      const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
      for (let index = 0; index < data.length; index++) data[index] = rng.normal() * deviation;
      return constant('weight', Tensor.from('float32', shape, data));
    },
    fill: (length, value) =>
      constant('vector', Tensor.from('float32', [length], new Float32Array(length).fill(value))),
    integers: (values) =>
      constant('sizes', Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt))),
  };
}

import { type Attribute, attribute, createRng, type Dim, Graph, Model, type Rng, Tensor, tensorType, type Value } from '@lithe/core';

/** Writes a graph node by node, with weights drawn from a seed. */
export interface Author {
  /** The graph. */
  readonly graph: Graph;
  /** Adds an input. */
  input(name: string, shape: readonly Dim[]): Value;
  /** Adds a node with one output. */
  add(opType: string, inputs: readonly (Value | null)[], attributes?: Readonly<Record<string, Attribute>>): Value;
  /** A normal weight of the standard deviation `deviation`. */
  weight(shape: readonly number[], deviation: number): Value;
  /** A constant vector. */
  fill(length: number, value: number): Value;
  /** A constant of whole numbers. */
  integers(values: readonly number[]): Value;
  /** Finishes the model. */
  model(outputs: readonly Value[]): Model;
}

/** Starts a graph. */
export function author(name: string, seed: number): Author {
  const graph = new Graph(name);
  const rng: Rng = createRng(seed);
  const constant = (stem: string, tensor: Tensor): Value => graph.addInitializer(graph.uniqueName(stem), tensor);
  return {
    graph,
    input: (label, shape) => graph.addInput(label, tensorType('float32', shape)),
    add: (opType, inputs, attributes = {}) => graph.addNode({ opType, inputs, attributes }).output(),
    weight: (shape, deviation) => {
      const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
      for (let index = 0; index < data.length; index++) data[index] = rng.normal() * deviation;
      return constant('weight', Tensor.from('float32', shape, data));
    },
    fill: (length, value) => constant('vector', Tensor.from('float32', [length], new Float32Array(length).fill(value))),
    integers: (values) => constant('sizes', Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt))),
    model: (outputs) => {
      graph.setOutputs(outputs);
      for (const value of outputs) value.type ??= tensorType('float32');
      return new Model({ graph });
    },
  };
}

/** Attributes of a convolution or pooling window. */
export function window(kernel: number, stride: number, pad: number): Readonly<Record<string, Attribute>> {
  return {
    kernel_shape: attribute.ints([kernel, kernel]),
    strides: attribute.ints([stride, stride]),
    pads: attribute.ints([pad, pad, pad, pad]),
  };
}

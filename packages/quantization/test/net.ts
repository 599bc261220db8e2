import {
  type Attribute,
  type Dim,
  type DType,
  Graph,
  Model,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { normal } from './support.ts';

/** Writes small test models. */
export interface Net {
  readonly graph: Graph;
  input(name: string, shape: readonly Dim[], dtype?: DType): Value;
  add(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes?: Readonly<Record<string, Attribute>>,
  ): Value;
  weight(shape: readonly number[], deviation?: number): Value;
  constant(tensor: Tensor): Value;
  integers(...values: readonly number[]): Value;
  model(...outputs: readonly Value[]): Model;
}

/** Starts a test model. */
export function net(): Net {
  const graph = new Graph('test');
  let seed = 40;
  const constant = (tensor: Tensor): Value => graph.addInitializer(graph.uniqueName('constant'), tensor);
  return {
    graph,
    input: (name, shape, dtype = 'float32') => graph.addInput(name, tensorType(dtype, shape)),
    add: (opType, inputs, attributes = {}) => graph.addNode({ opType, inputs, attributes }).output(),
    weight: (shape, deviation = 0.2) => constant(normal(shape, seed++, deviation)),
    constant,
    integers: (...values) =>
      constant(Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt))),
    model: (...outputs) => {
      graph.setOutputs(outputs);
      for (const value of outputs) value.type ??= tensorType('float32');
      return new Model({ graph });
    },
  };
}

/** How often each operator occurs, subgraphs included. */
export function operators(model: Model): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const node of model.graph.nodesDeep()) counts[node.opType] = (counts[node.opType] ?? 0) + 1;
  return counts;
}

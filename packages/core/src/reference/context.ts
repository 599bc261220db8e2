import type { Rng } from '../context/rng.ts';
import { errors, formatShape } from '../errors/catalogue.ts';
import type { Graph } from '../ir/graph.ts';
import type { Node } from '../ir/node.ts';
import { readAttributes } from '../op/attributes.ts';
import { byteLengthOf, elementsOf } from '../tensor/dtype.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';
import { isTensor, type KernelContext, type ReferenceValue } from './kernel.ts';

/** Bytes that one output may take by default. */
export const MAX_OUTPUT_BYTES: number = 2 ** 31;

/** What surrounds the nodes of a run. */
export interface Surroundings {
  /** Opset of `ai.onnx`. */
  readonly opset: number;
  /** Randomness. */
  readonly rng: Rng;
  /** Bytes that one output may take. */
  readonly maxOutputBytes: number;
  /** The loaded tensor of an attribute, `undefined` where it was not loaded. */
  attributeTensor(source: TensorSource): Tensor | undefined;
  /** Runs a subgraph of `node`. */
  run(
    graph: Graph,
    inputs: readonly (ReferenceValue | null)[],
    node: Node,
  ): readonly (ReferenceValue | null)[];
}

/** Makes what a kernel sees of a node. */
export function makeContext(
  node: Node,
  inputs: readonly (ReferenceValue | null)[],
  around: Surroundings,
): KernelContext {
  const fail = (problem: string): never => {
    throw errors.shapeMismatch(node.name, `${node.op}: ${problem}`);
  };
  const value = (index: number): ReferenceValue => inputs[index] ?? fail(`input ${index} is missing`);
  return {
    node,
    inputs,
    outputCount: node.outputs.length,
    opset: around.opset,
    rng: around.rng,
    value,
    tensor: (index) => {
      const found = value(index);
      return isTensor(found) ? found : fail(`input ${index} is ${found.kind}, not a tensor`);
    },
    optional: (index) => {
      const found = inputs[index];
      if (found === null || found === undefined) return undefined;
      return isTensor(found) ? found : fail(`input ${index} is ${found.kind}, not a tensor`);
    },
    wants: (index) => {
      const output = node.outputs[index];
      return output !== undefined && output.name !== '';
    },
    attributes: (specs) => readAttributes(node, specs),
    attributeTensor: (name) => {
      const found = node.attributes.get(name);
      if (found === undefined) return undefined;
      if (found.kind !== 'tensor')
        throw errors.attributeInvalid(node.name, name, `is of kind "${found.kind}", not "tensor"`);
      if (found.value instanceof Tensor) return found.value;
      const loaded = around.attributeTensor(found.value);
      if (loaded === undefined)
        throw errors.attributeInvalid(node.name, name, 'holds a lazy tensor that was not loaded');
      return loaded;
    },
    run: (graph, values) => around.run(graph, values, node),
    guard: (dtype, shape) => {
      const elements = elementsOf(shape);
      if (!shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) {
        fail(`the output would have shape ${formatShape(shape)}`);
      }
      // A string slot is a pointer; results are computed in float64 before they are rounded to the dtype.
      const bytes = dtype === 'string' ? elements * 8 : byteLengthOf(dtype, elements);
      if (bytes > around.maxOutputBytes) {
        throw errors.limitExceeded(
          'maxOutputBytes',
          around.maxOutputBytes,
          bytes,
          `An output of node "${node.name}"`,
        );
      }
      return elements;
    },
    fail,
    wrongType: (dtype, supported) => {
      throw errors.dtypeUnsupported(`Operator ${node.op} (node "${node.name}")`, dtype, supported);
    },
  };
}

import { createRng } from '../context/rng.ts';
import { errors } from '../errors/catalogue.ts';
import { WORKING_OPSET } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';
import { MAX_OUTPUT_BYTES, makeContext } from './context.ts';
import { isTensor, type KernelTable } from './kernel.ts';
import { referenceKernels } from './kernels/table.ts';

/** How one node is evaluated. */
export interface EvaluateNodeOptions {
  /** Kernels beside (or in place of) {@link referenceKernels}. */
  readonly kernels?: KernelTable | undefined;
  /** Seed for operators that draw numbers; 0 by default. */
  readonly seed?: number | undefined;
  /** Bytes that one output may take; 2^31 by default. */
  readonly maxOutputBytes?: number | undefined;
  /** Loaded tensors of attributes whose source is lazy. */
  readonly attributeTensors?: ReadonlyMap<TensorSource, Tensor> | undefined;
}

/**
 * Computes a node from the values of its inputs, synchronously: for constant folding.
 *
 * @param inputs one per input of the node; `null` where it is left out
 * @returns one tensor per output, or `undefined` when that cannot be done here: there is no kernel, the node has
 *   subgraphs, an attribute holds a lazy tensor that `attributeTensors` lacks, or an output is not a tensor
 * @throws {LitheError} SHAPE_MISMATCH when the inputs do not fit the operator
 * @throws {LitheError} ATTRIBUTE_INVALID when an attribute does not
 * @throws {LitheError} DTYPE_UNSUPPORTED when the operator is not computed for a dtype
 * @throws {LitheError} LIMIT_EXCEEDED when an output would be larger than `maxOutputBytes`
 */
export function evaluateNode(
  node: Node,
  inputs: readonly (Tensor | null)[],
  options: EvaluateNodeOptions = {},
): readonly Tensor[] | undefined {
  const kernel = options.kernels?.[node.op] ?? referenceKernels[node.op];
  if (kernel === undefined || node.subgraphs.length > 0) return undefined;
  const loaded = options.attributeTensors;
  for (const attribute of node.attributes.values()) {
    if (attribute.kind !== 'tensor' || attribute.value instanceof Tensor) continue;
    if (loaded?.has(attribute.value) !== true) return undefined;
  }
  const context = makeContext(node, inputs, {
    opset: WORKING_OPSET,
    rng: createRng(options.seed ?? 0),
    maxOutputBytes: options.maxOutputBytes ?? MAX_OUTPUT_BYTES,
    attributeTensor: (source) => loaded?.get(source),
    run: () => {
      throw errors.internal('a node without subgraphs ran one');
    },
  });
  const outputs = kernel(context);
  const tensors: Tensor[] = [];
  for (let index = 0; index < node.outputs.length; index++) {
    const output = outputs[index];
    if (!isTensor(output)) return undefined;
    tensors.push(output);
  }
  return tensors;
}

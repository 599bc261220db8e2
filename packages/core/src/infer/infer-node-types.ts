import type { Node } from '../ir/node.ts';
import { constantOf, type Value } from '../ir/value.ts';
import type { OpSet } from '../op/op-set.ts';
import { standardOps } from '../ops/standard-ops.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';
import { Contradiction, contradictionError, inferNode, type Known } from './infer-context.ts';
import { isSmall } from './known-values.ts';

/**
 * Sets the types of one node's outputs from the types of its inputs, without looking at the rest of the graph: for
 * code that adds nodes and wants to know at once what it made. Only constants in memory are looked into, and sizes
 * are not followed through other nodes; for a whole model see `inferShapes`. The outputs of an unknown operator keep
 * the types they have.
 *
 * @throws {LitheError} SHAPE_MISMATCH or ATTRIBUTE_INVALID when the node contradicts its operator
 */
export function inferNodeTypes(node: Node, opset: OpSet = standardOps): void {
  const def = opset.of(node);
  if (def === undefined) return;
  const loaded = (source: TensorSource | undefined): Tensor | undefined =>
    source instanceof Tensor && isSmall(source) ? source : undefined;
  const known = (value: Value): Known => ({ type: value.type, constant: loaded(constantOf(value)) });
  let fresh = 0;
  try {
    const inferred = inferNode(node, def, {
      inputs: node.inputs.map((value) => (value === null ? null : known(value))),
      loaded,
      // A value's name is unique, and so is a symbol made of it.
      fresh: (hint) => `${node.outputs[0]?.name ?? node.name}.${hint}_${fresh++}`,
      subgraph: (graph) => graph.outputs.map((value) => value.type),
    });
    node.outputs.forEach((value, index) => {
      value.type = inferred[index]?.type ?? value.type;
    });
  } catch (error) {
    throw error instanceof Contradiction ? contradictionError(node, error.message) : error;
  }
}

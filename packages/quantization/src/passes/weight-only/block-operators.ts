import { attribute, type Graph, type Node, Tensor, type TensorSource, type Value } from '@lithe/core';
import { replaceNode } from '../../graph/replace-node.ts';
import type { WeightPlan } from '../../weights/product-plans.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import { gatherAttributes, type Table, type TableConstants } from './embeddings.ts';
import type { BlockForm, NBitsParts } from './nbits-parts.ts';

/** A weight's constants in the layout of `MatMulNBits`. */
export interface StoredWeight extends TableConstants {
  /** How it is laid out. */
  readonly form: BlockForm;
}

/** Adds a weight's parts to the graph that holds it. */
export function storeWeight(weight: Value, parts: NBitsParts, form: BlockForm): StoredWeight {
  const { graph, name } = weight;
  const add = (suffix: string, source: TensorSource): Value =>
    graph.addInitializer(graph.uniqueName(`${name}_${suffix}`), source);
  return {
    form,
    packed: add(`Q${form.bits}`, parts.packed),
    scales: add('scales', parts.scales),
    zeroPoints: form.symmetric ? null : add('zero_points', parts.zeroPoints),
  };
}

/** Removes a weight that nothing reads any more, and a `Transpose` before it that nothing reads either. */
function removeWeight(weight: Value): void {
  for (const { node } of weight.uses) {
    if (node.is('Transpose') && node.output().isUnused) node.graph.remove(node);
  }
  removeConstant(weight);
}

/** Makes the products of a weight read its blocks. */
export function toMatMulNBits(plan: WeightPlan, stored: StoredWeight, accuracyLevel: number): void {
  const { packed, scales, zeroPoints, form } = stored;
  for (const { node, product } of plan.products) {
    // Not those of the plan: activations may have been scaled since, and the bias with them.
    const input = node.input(0) as Value;
    const bias = product.bias === null ? null : node.input(2);
    replaceNode(node, (insert) => {
      const inputs = [input, packed, scales, ...(zeroPoints === null ? [] : [zeroPoints])];
      const [made] = insert.node('MatMulNBits', inputs, {
        domain: 'com.microsoft',
        name: `${node.name}_Q${form.bits}`,
        attributes: {
          K: attribute.int(plan.k),
          N: attribute.int(plan.n),
          bits: attribute.int(form.bits),
          block_size: attribute.int(form.blockSize),
          ...(accuracyLevel === 0 ? {} : { accuracy_level: attribute.int(accuracyLevel) }),
        },
      }) as readonly [Value];
      return bias === null ? made : (insert.node('Add', [made, bias])[0] as Value);
    });
  }
  removeWeight(plan.weight);
}

function firstNode(graph: Graph): Node | undefined {
  for (const node of graph.nodes()) return node;
  return undefined;
}

/** Makes the lookups in a table read its blocks: those of a tied product where there is one, by another shape. */
export function toGatherBlocks(table: Table, stored: StoredWeight): void {
  const { graph } = table.weight;
  const { n, k, bits, blockSize } = stored.form;
  const flat = BigInt64Array.of(BigInt(n), BigInt((k * bits) / 8));
  const shape = graph.addInitializer(
    graph.uniqueName(`${table.weight.name}_shape`),
    Tensor.from('int64', [2], flat),
  );
  const rows = graph
    .addNode({ opType: 'Reshape', inputs: [stored.packed, shape] }, 1, { before: firstNode(graph) })
    .output();
  rows.type = { kind: 'tensor', dtype: 'uint8', shape: [n, (k * bits) / 8] };
  for (const node of table.nodes) {
    replaceNode(node, (insert) => {
      const inputs = [
        rows,
        node.input(1),
        stored.scales,
        ...(stored.zeroPoints === null ? [] : [stored.zeroPoints]),
      ];
      const options = {
        domain: 'com.microsoft',
        name: `${node.name}_Q${bits}`,
        attributes: gatherAttributes(bits, blockSize),
      };
      return insert.node('GatherBlockQuantized', inputs, options)[0] as Value;
    });
  }
  removeWeight(table.weight);
}

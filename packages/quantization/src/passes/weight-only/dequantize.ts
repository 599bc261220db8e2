import { attribute, type Node, Tensor, type TensorSource, type Value } from '@lithe/core';
import { replaceNode } from '../../graph/replace-node.ts';
import { type IntegerRange, integerRange } from '../../parameters/integer-range.ts';
import type { IntegerArray } from '../../parameters/kernels.ts';
import { fromRows, type RowForm } from '../../parameters/row-form.ts';
import { lazyParts } from '../../weights/lazy-parts.ts';
import type { WeightPlan } from '../../weights/product-plans.ts';
import { integerTensor } from '../../weights/quantized-weight.ts';
import { type ConstantBuilder, removeConstant, replaceConstant } from '../../weights/replace-constant.ts';
import type { WeightResult } from '../../weights/weight-request.ts';
import type { Table } from './embeddings.ts';

/** How a weight is stored for the standard operator. */
export interface DequantizeForm {
  /** Elements along K that share a scale. */
  readonly blockSize: number;
  /** Integers used. */
  readonly range: IntegerRange;
  /** Whether zero points are stored. */
  readonly symmetric: boolean;
}

/** The integers of the standard format: signed where 0 lies in the middle. */
export function dequantizeRange(bits: 4 | 8, symmetric: boolean): IntegerRange {
  const signed = bits === 4 ? 'int4' : 'int8';
  return integerRange(symmetric ? signed : `u${signed}`);
}

function parts(
  plan: WeightPlan,
  result: WeightResult,
  form: DequantizeForm,
): Readonly<Record<'values' | 'scales' | 'zeroPoints', TensorSource>> {
  const { k, n, transposed, source } = plan;
  const { range, blockSize, symmetric } = form;
  const blocks = Math.ceil(k / blockSize);
  const elements: RowForm = { matrices: 1, rows: k, columns: n, transposed: !transposed };
  const groups: RowForm = { matrices: 1, rows: blocks, columns: n, transposed: !transposed };
  const scaleShape = transposed ? [n, blocks] : [blocks, n];
  return lazyParts(
    {
      values: { dtype: range.dtype, shape: source.shape },
      scales: { dtype: 'float32', shape: scaleShape },
      zeroPoints: { dtype: range.dtype, shape: symmetric ? [0] : scaleShape },
    },
    async (signal) => {
      const { levels, parameters } = await result(signal);
      const zeros = parameters.zeroPoints;
      const small: IntegerArray =
        symmetric || zeros === undefined ? new Int8Array(0) : Uint8Array.from(fromRows(zeros, groups));
      return {
        values: integerTensor(range, source.shape, fromRows(levels as Int8Array | Uint8Array, elements)),
        scales: Tensor.from('float32', scaleShape, fromRows(parameters.scales, groups)),
        zeroPoints: integerTensor(range, symmetric ? [0] : scaleShape, small),
      };
    },
  );
}

/**
 * Puts `DequantizeLinear` in the place of a weight.
 *
 * @param keeps says of a reader that it goes on reading floats; none by default
 */
export function toDequantizeLinear(
  plan: WeightPlan,
  { result, form }: { readonly result: WeightResult; readonly form: DequantizeForm },
  keeps?: (reader: Node) => boolean,
): void {
  const { weight, transposed } = plan;
  const found = parts(plan, result, form);
  const build = (builder: ConstantBuilder): Value => {
    const add = (suffix: string, source: TensorSource): Value =>
      builder.initializer(`${weight.name}_${suffix}`, source);
    const inputs = [
      add(`Q${form.range.dtype.endsWith('4') ? 4 : 8}`, found.values),
      add('scales', found.scales),
      ...(form.symmetric ? [] : [add('zero_points', found.zeroPoints)]),
    ];
    const attributes = {
      axis: attribute.int(transposed ? 1 : 0),
      block_size: attribute.int(form.blockSize),
    };
    return builder.node('DequantizeLinear', inputs, { attributes });
  };
  replaceConstant(weight, build, keeps);
}

/** Looks rows up as integers, with their scales, and expands those only: the table itself stays small in memory. */
export function toGatheredIntegers(
  table: Table,
  plan: WeightPlan,
  { result, form }: { readonly result: WeightResult; readonly form: DequantizeForm },
): void {
  const { weight, nodes } = table;
  const { graph, name } = weight;
  const found = parts(plan, result, form);
  const add = (suffix: string, source: TensorSource): Value =>
    graph.addInitializer(graph.uniqueName(`${name}_${suffix}`), source);
  const constants = [
    add('Q8', found.values),
    add('scales', found.scales),
    ...(form.symmetric ? [] : [add('zero_points', found.zeroPoints)]),
  ];
  for (const node of nodes) {
    replaceNode(node, (insert) => {
      const gathered = constants.map(
        (constant) =>
          insert.node('Gather', [constant, node.input(1)], {
            attributes: { axis: attribute.int(0) },
          })[0] as Value,
      );
      const attributes = { axis: attribute.int(-1), block_size: attribute.int(form.blockSize) };
      return insert.node('DequantizeLinear', gathered, { attributes })[0] as Value;
    });
  }
  removeConstant(weight);
}

import { attribute, constantOf, dtypes, type Node, type ReportBuilder } from '@lithe/core';
import { replaceNode } from '../graph/replace-node.ts';
import { granularity } from '../parameters/granularity.ts';
import { integerRange } from '../parameters/integer-range.ts';
import { quantizedWeight } from '../weights/quantized-weight.ts';
import { removeConstant } from '../weights/replace-constant.ts';
import type { DynamicContext } from './dynamic-context.ts';

/**
 * Turns a `Gather` of rows of a float32 table into a `Gather` of int8 rows, times their scales: the rows that are asked
 * for are expanded, the table never. Standard operators only. Reports why not.
 *
 * A scale per row costs 4 bytes a row and keeps the rows of rare tokens, which are small, as exact as the large ones;
 * one scale for the table would not.
 */
export function quantizeEmbedding(
  node: Node,
  context: Pick<DynamicContext, 'tables' | 'minimumElements'>,
  report: ReportBuilder,
): void {
  const [table, indices] = [node.input(0), node.input(1)];
  const source = constantOf(table);
  if (table === null || indices === null || source === undefined || source.shape.length !== 2) return;
  const [rows, columns] = source.shape as readonly [number, number];
  const axis = node.attributes.get('axis');
  if (axis?.kind === 'int' && axis.value !== 0n && axis.value !== -2n) {
    report.skip(node.name, 'gather-axis', 'it does not read rows');
    return;
  }
  if (source.dtype !== 'float32') {
    report.skip(node.name, 'not-float32', `its table is ${source.dtype}`);
    return;
  }
  if (rows * columns < context.minimumElements) {
    report.skip(
      node.name,
      'small',
      `its table has ${rows * columns} elements, fewer than ${context.minimumElements}`,
    );
    return;
  }
  const { values, scales } = context.tables.get(table, 'rows', () => {
    const { graph, name } = table;
    const quantized = quantizedWeight(source, {
      granularity: granularity.perBlock(1, columns),
      // Nothing is summed in 16 bits here: the reduced range has no use.
      range: integerRange('int8', { extent: 'narrow' }),
      scheme: 'symmetric',
      what: `table "${name}"`,
    });
    return {
      values: graph.addInitializer(graph.uniqueName(`${name}_quantized`), quantized.values),
      scales: graph.addInitializer(graph.uniqueName(`${name}_row_scale`), quantized.scales),
    };
  });
  replaceNode(node, (insert) => {
    const attributes = { axis: attribute.int(0) };
    const [row] = insert.node('Gather', [values, indices], { attributes, name: `${node.name}_quant` });
    const [scale] = insert.node('Gather', [scales, indices], { attributes });
    const [real] = insert.node('Cast', [row!], { attributes: { to: attribute.int(dtypes.float32.onnx) } });
    return insert.node('Mul', [real!, scale!])[0]!;
  });
  removeConstant(table);
  report.apply(`store the table of Gather "${node.name}" in 8 bits`);
}

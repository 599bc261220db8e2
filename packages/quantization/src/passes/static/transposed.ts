import { attribute, constantOf, type Model, type Node, type ReportBuilder, type Value } from '@lithe/core';
import { inserter } from '../../graph/replace-node.ts';
import { granularity } from '../../parameters/granularity.ts';
import { integerRange } from '../../parameters/integer-range.ts';
import { quantizedWeight } from '../../weights/quantized-weight.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import { SharedWeights } from '../../weights/shared.ts';
import type { StaticInt8Settings } from './settings.ts';

/** Whether a node is a transposed convolution with constant float weights. */
function isTransposed(node: Node, exclude: readonly string[]): boolean {
  const source = constantOf(node.input(1));
  return node.is('ConvTranspose') && source?.dtype === 'float32' && !exclude.includes(node.name);
}

/**
 * Stores the weights of transposed convolutions in int8, with a scale per output channel (axis 1 of their weights), and
 * expands them with `DequantizeLinear`: they have no integer kernel in onnxruntime. Grouped ones have one scale per
 * channel of a group, which all groups share.
 */
export function storeTransposed(model: Model, settings: StaticInt8Settings, report: ReportBuilder): void {
  const { graph } = model;
  const shared = new SharedWeights<Value>();
  for (const node of [...graph.nodes()]) {
    if (!isTransposed(node, settings.exclude)) continue;
    const weight = node.input(1) as Value;
    const source = constantOf(weight);
    if (source === undefined) continue;
    const stored = shared.get(weight, 'transposed', () => {
      const { values, scales, zeroPoints } = quantizedWeight(source, {
        granularity:
          settings.weightScales === 'per-channel' ? granularity.perChannel(1) : granularity.perTensor(),
        range: integerRange('int8', { extent: 'narrow' }),
        scheme: 'symmetric',
        what: `weight "${weight.name}"`,
      });
      const insert = inserter(graph, node);
      const inputs = [
        insert.initializer(`${weight.name}_quantized`, values),
        insert.initializer(`${weight.name}_scale`, scales),
        insert.initializer(`${weight.name}_zero_point`, zeroPoints),
      ];
      return insert.node('DequantizeLinear', inputs, { attributes: { axis: attribute.int(1) } })[0] as Value;
    });
    graph.setInput(node, 1, stored);
    removeConstant(weight);
    report.apply(`store the weights of ConvTranspose "${node.name}" in 8 bits; it computes in floats`);
  }
}

import { attribute, constantOf, dtypes, type Node, type ReportBuilder, Tensor } from '@lithe/core';
import { replaceNode } from '../graph/replace-node.ts';
import { granularity } from '../parameters/granularity.ts';
import { integerRange } from '../parameters/integer-range.ts';
import { quantizedWeight } from '../weights/quantized-weight.ts';
import { removeConstant } from '../weights/replace-constant.ts';
import { type DynamicContext, quantizeActivation } from './dynamic-context.ts';

/**
 * Turns a `Conv` into `ConvInteger` with unsigned weights and one scale, which is all that onnxruntime's kernel takes,
 * or reports why not.
 */
export function quantizeConvolution(node: Node, context: DynamicContext, report: ReportBuilder): void {
  const [input, weight, bias] = [node.input(0), node.input(1), node.input(2)];
  const source = constantOf(weight);
  if (input === null || weight === null || source === undefined) {
    report.skip(node.name, 'weight-not-constant', 'its weight is computed');
    return;
  }
  if (source.dtype !== 'float32') {
    report.skip(node.name, 'not-float32', `its weight is ${source.dtype}`);
    return;
  }
  const biasShape = bias?.shape;
  if (bias !== null && (biasShape?.length !== 1 || biasShape[0] !== source.shape[0])) {
    report.skip(node.name, 'bias-shape', 'its bias has an unknown shape');
    return;
  }
  const quantized = quantizedWeight(source, {
    granularity: granularity.perTensor(),
    // All 8 bits, whatever the processor: only products with signed weights saturate 16 bits.
    range: integerRange('uint8'),
    scheme: 'asymmetric',
    what: `weight "${weight.name}"`,
  });
  replaceNode(node, (insert) => {
    const { name } = weight;
    const values = insert.initializer(`${name}_quantized`, quantized.values);
    const scales = insert.initializer(`${name}_scale`, quantized.scales);
    const zeroPoint = insert.initializer(`${name}_zero_point`, quantized.zeroPoints);
    const activation = quantizeActivation(insert, input, context);
    const [sum] = insert.node('ConvInteger', [activation.values, values, activation.zeroPoint, zeroPoint], {
      name: `${node.name}_quant`,
      attributes: node.attributes,
    });
    const [real] = insert.node('Cast', [sum!], { attributes: { to: attribute.int(dtypes.float32.onnx) } });
    const [scale] = insert.node('Mul', [activation.scale, scales]);
    const [scaled] = insert.node('Mul', [real!, scale!]);
    if (bias === null) return scaled!;
    const shape = BigInt64Array.from(source.shape.map((_, axis) => (axis === 1 ? -1n : 1n)));
    const target = insert.initializer(`${node.name}_bias_shape`, Tensor.from('int64', [shape.length], shape));
    const [shaped] = insert.node('Reshape', [bias, target]);
    return insert.node('Add', [scaled!, shaped!])[0]!;
  });
  removeConstant(weight);
  report.apply(`quantize Conv "${node.name}"`);
}

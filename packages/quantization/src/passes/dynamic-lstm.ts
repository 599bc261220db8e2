import {
  constantOf,
  type Node,
  type ReportBuilder,
  Tensor,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { granularity } from '../parameters/granularity.ts';
import { groupLayout } from '../parameters/group-layout.ts';
import { groupParameters } from '../parameters/group-parameters.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { quantizeGroups } from '../parameters/kernels.ts';
import { transposeLevels } from '../parameters/transpose-levels.ts';
import { float32Data, lazyParts } from '../weights/lazy-parts.ts';
import { removeConstant } from '../weights/replace-constant.ts';
import { addConstant, type DynamicContext, type QuantizedConstant } from './dynamic-context.ts';

/** A recurrent weight `[directions, 4 * hidden, inputs]`, turned to `[directions, inputs, 4 * hidden]` as integers. */
function recurrentWeight(
  source: TensorSource,
  range: IntegerRange,
  what: string,
): Readonly<Record<'values' | 'scales' | 'zeroPoints', TensorSource>> {
  const [matrices, rows, columns] = source.shape as readonly [number, number, number];
  return lazyParts(
    {
      values: { dtype: 'int8', shape: [matrices, columns, rows] },
      scales: { dtype: 'float32', shape: [matrices, rows] },
      zeroPoints: { dtype: 'int8', shape: [matrices, rows] },
    },
    async (signal) => {
      const data = float32Data(await source.load(signal), what);
      const layout = groupLayout(source.shape, granularity.perBlock(2, columns));
      const parameters = groupParameters(data, layout, { range, scheme: 'symmetric', what });
      const levels = quantizeGroups(data, layout, { parameters, range }) as Int8Array;
      return {
        values: Tensor.from(
          'int8',
          [matrices, columns, rows],
          transposeLevels(levels, { matrices, rows, columns }),
        ),
        scales: Tensor.from('float32', [matrices, rows], parameters.scales),
        zeroPoints: Tensor.from('int8', [matrices, rows], new Int8Array(matrices * rows)),
      };
    },
  );
}

function sharedWeight(value: Value, source: TensorSource, context: DynamicContext): QuantizedConstant {
  return context.weights.get(value, 'recurrent', () =>
    addConstant(value, recurrentWeight(source, context.range, `weight "${value.name}"`)),
  );
}

/** Turns an `LSTM` into `com.microsoft.DynamicQuantizeLSTM`, or reports why not. */
export function quantizeLstm(node: Node, context: DynamicContext, report: ReportBuilder): void {
  const [weight, recurrence] = [node.input(1), node.input(2)];
  const [weightSource, recurrenceSource] = [constantOf(weight), constantOf(recurrence)];
  if (
    weight === null ||
    recurrence === null ||
    weightSource === undefined ||
    recurrenceSource === undefined
  ) {
    report.skip(node.name, 'weight-not-constant', 'its weights are computed');
    return;
  }
  if (weightSource.dtype !== 'float32' || recurrenceSource.dtype !== 'float32') {
    report.skip(node.name, 'not-float32', `its weights are ${weightSource.dtype}`);
    return;
  }
  const layout = node.attributes.get('layout');
  if (layout?.kind === 'int' && layout.value !== 0n) {
    report.skip(node.name, 'batch-first', 'the quantized operator has no batch-first layout');
    return;
  }
  if (weightSource.shape.length !== 3 || recurrenceSource.shape.length !== 3) {
    report.skip(node.name, 'weight-rank', 'its weights do not have 3 axes');
    return;
  }
  const elements = weightSource.byteLength / 4 + recurrenceSource.byteLength / 4;
  if (elements < context.minimumElements) {
    report.skip(
      node.name,
      'small',
      `its weights have ${elements} elements, fewer than ${context.minimumElements}`,
    );
    return;
  }
  const w = sharedWeight(weight, weightSource, context);
  const r = sharedWeight(recurrence, recurrenceSource, context);
  const { graph } = node;
  const attributes = new Map([...node.attributes].filter(([name]) => name !== 'layout'));
  const rest = [3, 4, 5, 6, 7].map((index) => node.input(index));
  const made = graph.addNode(
    {
      opType: 'DynamicQuantizeLSTM',
      domain: 'com.microsoft',
      name: `${node.name}_quant`,
      inputs: [node.input(0), w.values, r.values, ...rest, w.scales, w.zeroPoints, r.scales, r.zeroPoints],
      attributes,
    },
    node.outputs.map((output) => (output.name === '' ? { name: '' } : { type: output.type })),
    { before: node },
  );
  node.outputs.forEach((output, index) => {
    if (output.name !== '') graph.replaceAllUses(output, made.output(index));
  });
  graph.remove(node);
  removeConstant(weight);
  removeConstant(recurrence);
  report.apply(`quantize LSTM "${node.name}"`);
}

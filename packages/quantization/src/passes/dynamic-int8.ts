import {
  attribute,
  constantOf,
  definePass,
  dtypes,
  type Node,
  type Pass,
  ReportBuilder,
  Tensor,
  type TensorSource,
} from '@lithe/core';
import { z } from 'zod';
import { type MatrixProduct, matrixProduct } from '../graph/matrix-product.ts';
import { replaceNode } from '../graph/replace-node.ts';
import { granularity } from '../parameters/granularity.ts';
import { groupLayout } from '../parameters/group-layout.ts';
import { groupParameters } from '../parameters/group-parameters.ts';
import { type IntegerRange, integerRange } from '../parameters/integer-range.ts';
import { quantizeGroups } from '../parameters/kernels.ts';
import { transposeLevels } from '../parameters/transpose-levels.ts';
import { float32Data, lazyParts } from '../weights/lazy-parts.ts';
import { removeConstant } from '../weights/replace-constant.ts';
import { SharedWeights } from '../weights/shared.ts';
import { addConstant, type DynamicContext, quantizeActivation } from './dynamic-context.ts';
import { quantizeConvolution } from './dynamic-convolution.ts';
import { quantizeLstm } from './dynamic-lstm.ts';
import type { Resolved } from './resolved.ts';

/** Options of {@link dynamicInt8}. */
export interface DynamicInt8Options {
  /**
   * Whether convolutions become `ConvInteger` too, with unsigned weights; off by default, since most get slower: with
   * signed weights onnxruntime's is 7 times slower than float, with unsigned ones about as fast on a CPU.
   */
  readonly convolutions?: boolean | undefined;
  /** Whether LSTM nodes become `com.microsoft.DynamicQuantizeLSTM`; on by default. */
  readonly recurrent?: boolean | undefined;
  /** Weights in [-64, 64], so that processors without VNNI cannot overflow; off by default. */
  readonly reducedRange?: boolean | undefined;
  /** Weights with fewer elements stay float; 1024 by default. */
  readonly minimumElements?: number | undefined;
}

const schema = z.strictObject({
  convolutions: z.boolean().default(false),
  recurrent: z.boolean().default(true),
  reducedRange: z.boolean().default(false),
  minimumElements: z.int().min(1).default(1024),
});

type Options = Resolved<DynamicInt8Options>;

function productWeight(
  product: MatrixProduct,
  range: IntegerRange,
): Readonly<Record<'values' | 'scales' | 'zeroPoints', TensorSource>> {
  const { k, n, transposed, source } = product;
  const what = `weight "${product.weight.name}"`;
  return lazyParts(
    {
      values: { dtype: 'int8', shape: [k, n] },
      scales: { dtype: 'float32', shape: [n] },
      zeroPoints: { dtype: 'int8', shape: [n] },
    },
    async (signal) => {
      const data = float32Data(await source.load(signal), what);
      const layout = groupLayout(source.shape, granularity.perChannel(transposed ? 0 : 1));
      const parameters = groupParameters(data, layout, { range, scheme: 'symmetric', what });
      const levels = quantizeGroups(data, layout, { parameters, range }) as Int8Array;
      const values = transposed ? transposeLevels(levels, { matrices: 1, rows: n, columns: k }) : levels;
      return {
        values: Tensor.from('int8', [k, n], values),
        scales: Tensor.from('float32', [n], parameters.scales),
        zeroPoints: Tensor.from('int8', [n], new Int8Array(n)),
      };
    },
  );
}

function quantizeProduct(node: Node, product: MatrixProduct, context: DynamicContext): void {
  const { weight } = product;
  const form = product.transposed ? 'transposed product' : 'product';
  const { values, scales, zeroPoints } = context.weights.get(weight, form, () =>
    addConstant(weight, productWeight(product, context.range)),
  );
  replaceNode(node, (insert) => {
    const input = quantizeActivation(insert, product.input, context);
    // This order of nodes is the one that onnxruntime fuses to DynamicQuantizeMatMul.
    const [sum] = insert.node('MatMulInteger', [input.values, values, input.zeroPoint, zeroPoints], {
      name: `${node.name}_quant`,
    });
    const [real] = insert.node('Cast', [sum!], { attributes: { to: attribute.int(dtypes.float32.onnx) } });
    const [scale] = insert.node('Mul', [input.scale, scales]);
    const [scaled] = insert.node('Mul', [real!, scale!]);
    return product.bias === null ? scaled! : insert.node('Add', [scaled!, product.bias])[0]!;
  });
  removeConstant(weight);
}

/** Quantizes one node, or reports why not. */
function treat(
  node: Node,
  options: Options,
  context: DynamicContext & { readonly report: ReportBuilder },
): void {
  const { report } = context;
  if (node.domain !== '') return;
  switch (node.opType) {
    case 'MatMul':
    case 'Gemm': {
      const product = matrixProduct(node);
      if ('code' in product) report.skip(node.name, product.code, product.reason);
      else if (product.k * product.n < options.minimumElements) {
        report.skip(
          node.name,
          'small',
          `its weight has ${product.k * product.n} elements, fewer than ${options.minimumElements}`,
        );
      } else {
        quantizeProduct(node, product, context);
        report.apply(`quantize ${node.opType} "${node.name}"`);
      }
      return;
    }
    case 'LSTM':
      if (options.recurrent) quantizeLstm(node, context, report);
      else report.skip(node.name, 'not-asked', 'recurrent nodes are switched off');
      return;
    case 'GRU':
    case 'RNN':
      report.skip(node.name, 'no-kernel', `onnxruntime has no quantized ${node.opType}`);
      return;
    case 'Conv':
      if (options.convolutions) quantizeConvolution(node, context, report);
      else
        report.skip(
          node.name,
          'slower',
          'dynamic quantization makes convolutions slower; use static quantization',
        );
      return;
    case 'ConvTranspose':
      if (constantOf(node.input(1)) !== undefined)
        report.skip(node.name, 'no-kernel', 'onnxruntime has no integer ConvTranspose');
      return;
    default:
      return;
  }
}

/**
 * Computes matrix products in 8-bit integers with activation scales found at run time: no calibration data. `MatMul`
 * and `Gemm` with a constant matrix become `DynamicQuantizeLinear`, `MatMulInteger`, `Cast`, `Mul`, which onnxruntime
 * fuses; activations are unsigned, weights signed with a scale per column. LSTM nodes become
 * `com.microsoft.DynamicQuantizeLSTM`.
 *
 * Meant for transformers and recurrent models on a CPU or WASM. On WebGPU the operators run on the CPU: do not use
 * it there.
 *
 * @example
 * ```ts
 * import { dynamicInt8 } from '@lithe/quantization';
 *
 * dynamicInt8().name; // => 'quantization/dynamic-int8'
 * ```
 */
export const dynamicInt8: Pass<DynamicInt8Options, Options> = definePass({
  name: 'quantization/dynamic-int8',
  version: 1,
  summary: 'Computes matrix products in 8-bit integers, with activation scales found at run time.',
  options: schema,
  preserves: 'accuracy',
  run: (draft, options) => {
    const report = new ReportBuilder();
    const context: DynamicContext = {
      reducedRange: options.reducedRange,
      minimumElements: options.minimumElements,
      range: integerRange('int8', { extent: options.reducedRange ? 'reduced' : 'narrow' }),
      activations: new Map(),
      weights: new SharedWeights(),
    };
    for (const node of [...draft.graph.nodesDeep()]) treat(node, options, { ...context, report });
    for (const node of draft.graph.nodesDeep()) {
      if (node.domain === 'com.microsoft') draft.opsetImports.set('com.microsoft', 1);
    }
    return report.build();
  },
});

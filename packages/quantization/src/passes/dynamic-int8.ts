import { attribute, constantOf, definePass, dtypes, type Node, type Pass, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { type MatrixProduct, matrixProduct } from '../graph/matrix-product.ts';
import { replaceNode } from '../graph/replace-node.ts';
import { integerRange } from '../parameters/integer-range.ts';
import { removeConstant } from '../weights/replace-constant.ts';
import { SharedWeights } from '../weights/shared.ts';
import { addConstant, type DynamicContext, quantizeActivation } from './dynamic-context.ts';
import { quantizeConvolution } from './dynamic-convolution.ts';
import { quantizeEmbedding } from './dynamic-embedding.ts';
import { quantizeLstm } from './dynamic-lstm.ts';
import { productWeight } from './dynamic-product-weight.ts';
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
  /** Signed weights in [-64, 64], so that processors without VNNI cannot overflow; off by default. */
  readonly reducedRange?: boolean | undefined;
  /**
   * Integers of the matrices: `int8` (default) symmetric, `uint8` with zero points. Processors without VNNI saturate
   * signed weights only, so unsigned ones keep all 8 bits under {@link DynamicInt8Options.reducedRange}.
   */
  readonly weights?: 'int8' | 'uint8' | undefined;
  /** Whether a matrix has a scale per column (default) or one scale. */
  readonly granularity?: 'per-channel' | 'per-tensor' | undefined;
  /**
   * Whether tables that `Gather` reads rows of are stored as int8, with a scale per row, and expanded row by row as
   * they are read; off by default.
   */
  readonly embeddings?: boolean | undefined;
  /** Weights with fewer elements stay float; 1024 by default. */
  readonly minimumElements?: number | undefined;
}

const schema = z.strictObject({
  convolutions: z.boolean().default(false),
  recurrent: z.boolean().default(true),
  reducedRange: z.boolean().default(false),
  weights: z.enum(['int8', 'uint8']).default('int8'),
  granularity: z.enum(['per-channel', 'per-tensor']).default('per-channel'),
  embeddings: z.boolean().default(false),
  minimumElements: z.int().min(1).default(1024),
});

type Options = Resolved<DynamicInt8Options>;

function quantizeProduct(node: Node, product: MatrixProduct, context: DynamicContext): void {
  const { weight } = product;
  const form = product.transposed ? 'transposed product' : 'product';
  const { values, scales, zeroPoints } = context.weights.get(weight, form, () =>
    addConstant(weight, productWeight(product, context.product)),
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
    case 'Gather':
      if (options.embeddings) quantizeEmbedding(node, context, report);
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
 * fuses; activations are unsigned, weights signed with a scale per column unless asked otherwise. LSTM nodes become
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
    const signed = integerRange('int8', { extent: options.reducedRange ? 'reduced' : 'narrow' });
    const context: DynamicContext = {
      minimumElements: options.minimumElements,
      range: signed,
      product: {
        range: options.weights === 'int8' ? signed : integerRange('uint8'),
        perColumn: options.granularity === 'per-channel',
      },
      activations: new Map(),
      weights: new SharedWeights(),
      tables: new SharedWeights(),
    };
    for (const node of [...draft.graph.nodesDeep()]) treat(node, options, { ...context, report });
    for (const node of draft.graph.nodesDeep()) {
      if (node.domain === 'com.microsoft') draft.opsetImports.set('com.microsoft', 1);
    }
    return report.build();
  },
});

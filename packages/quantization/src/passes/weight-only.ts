import {
  attribute,
  definePass,
  type Model,
  type Node,
  type Pass,
  ReportBuilder,
  Tensor,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { z } from 'zod';
import { type MatrixProduct, matrixProduct } from '../graph/matrix-product.ts';
import { replaceNode } from '../graph/replace-node.ts';
import { integerRange } from '../parameters/integer-range.ts';
import { packNBits } from '../parameters/nbits.ts';
import { findWeights } from '../weights/find-weights.ts';
import { float32Data, lazyParts } from '../weights/lazy-parts.ts';
import { quantizedWeight } from '../weights/quantized-weight.ts';
import { removeConstant, replaceConstant } from '../weights/replace-constant.ts';
import { SharedWeights } from '../weights/shared.ts';
import type { Resolved } from './resolved.ts';

/** Options of {@link weightOnly}. */
export interface WeightOnlyOptions {
  /** Bits per weight; 4 by default. */
  readonly bits?: 4 | 8 | undefined;
  /** Elements that share a scale: 16, 32, 64, 128 or 256; 32 by default. */
  readonly blockSize?: 16 | 32 | 64 | 128 | 256 | undefined;
  /** Zero point in the middle of the range (default), or one of its own for each block: more exact, a little larger. */
  readonly symmetric?: boolean | undefined;
  /**
   * `matmul-nbits` (default): onnxruntime's `com.microsoft.MatMulNBits`. `dequantize-linear`: the standard operator of
   * opset 21 with blocks, which any runtime of that opset reads.
   */
  readonly format?: 'matmul-nbits' | 'dequantize-linear' | undefined;
  /**
   * Least precision in which `MatMulNBits` may compute: 0 unset, 1 float32, 2 float16, 3 bfloat16, 4 int8. 4 by
   * default: on a CPU the others are several times slower.
   */
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4 | undefined;
  /** Weights with fewer elements stay float; 1024 by default. */
  readonly minimumElements?: number | undefined;
  /** Names of nodes whose weights stay float. */
  readonly exclude?: readonly string[] | undefined;
}

const schema = z.strictObject({
  bits: z.union([z.literal(4), z.literal(8)]).default(4),
  blockSize: z
    .union([z.literal(16), z.literal(32), z.literal(64), z.literal(128), z.literal(256)])
    .default(32),
  symmetric: z.boolean().default(true),
  format: z.enum(['matmul-nbits', 'dequantize-linear']).default('matmul-nbits'),
  accuracyLevel: z.union([z.literal(0), z.literal(1), z.literal(2), z.literal(3), z.literal(4)]).default(4),
  minimumElements: z.int().min(1).default(1024),
  exclude: z.array(z.string()).readonly().default([]),
});

type Options = Resolved<WeightOnlyOptions>;

/** The constant inputs of one weight, made once even when several nodes share it. */
interface Packed {
  readonly packed: Value;
  readonly scales: Value;
  readonly zeroPoints: Value | null;
}

function nbitsSources(
  product: MatrixProduct,
  options: Options,
): Readonly<Record<'packed' | 'scales' | 'zeroPoints', TensorSource>> {
  const { k, n, transposed, source } = product;
  const { bits, blockSize, symmetric } = options;
  const blocks = Math.ceil(k / blockSize);
  const what = `weight "${product.weight.name}"`;
  const shapes = {
    packed: [n, blocks, (blockSize * bits) / 8],
    scales: [n * blocks],
    zeroPoints: symmetric ? [0] : [n * Math.ceil((blocks * bits) / 8)],
  };
  return lazyParts(
    {
      packed: { dtype: 'uint8', shape: shapes.packed },
      scales: { dtype: 'float32', shape: shapes.scales },
      zeroPoints: { dtype: 'uint8', shape: shapes.zeroPoints },
    },
    async (signal) => {
      const data = float32Data(await source.load(signal), what);
      const weight = packNBits(data, { k, n, transposed }, { bits, blockSize, symmetric, what });
      return {
        packed: Tensor.from('uint8', shapes.packed, weight.packed),
        scales: Tensor.from('float32', shapes.scales, weight.scales),
        zeroPoints: Tensor.from('uint8', shapes.zeroPoints, weight.zeroPoints ?? new Uint8Array(0)),
      };
    },
  );
}

function toNBits(
  node: Node,
  product: MatrixProduct,
  context: { readonly options: Options; readonly shared: SharedWeights<Packed> },
): void {
  const { options, shared } = context;
  const { weight } = product;
  const { packed, scales, zeroPoints } = shared.get(weight, product.transposed ? 'rows' : 'columns', () => {
    const sources = nbitsSources(product, options);
    const { graph, name } = weight;
    const add = (suffix: string, source: TensorSource): Value =>
      graph.addInitializer(graph.uniqueName(`${name}_${suffix}`), source);
    return {
      packed: add(`Q${options.bits}`, sources.packed),
      scales: add('scales', sources.scales),
      zeroPoints: options.symmetric ? null : add('zero_points', sources.zeroPoints),
    };
  });
  replaceNode(node, (insert) => {
    const [made] = insert.node(
      'MatMulNBits',
      zeroPoints === null ? [product.input, packed, scales] : [product.input, packed, scales, zeroPoints],
      {
        domain: 'com.microsoft',
        name: `${node.name}_Q${options.bits}`,
        attributes: {
          K: attribute.int(product.k),
          N: attribute.int(product.n),
          bits: attribute.int(options.bits),
          block_size: attribute.int(options.blockSize),
          ...(options.accuracyLevel === 0 ? {} : { accuracy_level: attribute.int(options.accuracyLevel) }),
        },
      },
    ) as readonly [Value];
    return product.bias === null ? made : insert.node('Add', [made, product.bias])[0]!;
  });
  removeConstant(weight);
}

function toDequantizeLinear(product: MatrixProduct, options: Options): void {
  const { bits, blockSize, symmetric } = options;
  const { weight, source } = product;
  const axis = product.transposed ? 1 : 0;
  const signed = bits === 4 ? 'int4' : 'int8';
  const quantized = quantizedWeight(source, {
    granularity: { kind: 'per-block', axis, size: blockSize },
    range: integerRange(symmetric ? signed : `u${signed}`),
    scheme: symmetric ? 'extreme' : 'asymmetric',
    what: `weight "${weight.name}"`,
  });
  const { name } = weight;
  replaceConstant(weight, (builder) => {
    const inputs = [
      builder.initializer(`${name}_Q${bits}`, quantized.values),
      builder.initializer(`${name}_scales`, quantized.scales),
    ];
    if (!symmetric) inputs.push(builder.initializer(`${name}_zero_points`, quantized.zeroPoints));
    return builder.node('DequantizeLinear', inputs, {
      attributes: { axis: attribute.int(axis), block_size: attribute.int(blockSize) },
    });
  });
}

function reportOthers(draft: Model, options: Options, report: ReportBuilder): void {
  for (const { value, uses, source } of findWeights(draft, options.minimumElements, report)) {
    const reader = uses.find(({ node }) => !node.is('MatMul') && !node.is('Gemm'));
    if (reader !== undefined && source.shape.length > 1) {
      report.skip(
        value.name,
        'no-kernel',
        `it is read by ${reader.node.op}, for which the format has no operator`,
      );
    }
  }
}

/**
 * Stores the weights of matrix products in blocks of 4 or 8 bits that the runtime expands as it multiplies: `MatMul`
 * and `Gemm` with a constant matrix. What it does for speed depends on the runtime: in onnxruntime 1.30 4-bit
 * blocks at `accuracyLevel` 4 run 4 times as fast as float on a CPU at one token and fast on WebGPU, and 30 times
 * slower on WASM. Measure on the target.
 *
 * K need not be a multiple of the block size: the last block is filled up. A weight that several nodes share is
 * stored once.
 *
 * @see the specifications of `com.microsoft.MatMulNBits` version 1 and of `DequantizeLinear` 21
 *
 * @example
 * ```ts
 * import { weightOnly } from '@lithe/quantization';
 *
 * weightOnly({ bits: 4, blockSize: 32 }).name; // => 'quantization/weight-only'
 * ```
 */
export const weightOnly: Pass<WeightOnlyOptions, Options> = definePass({
  name: 'quantization/weight-only',
  version: 1,
  summary: 'Stores the weights of matrix products in blocks of 4 or 8 bits.',
  options: schema,
  preserves: 'accuracy',
  run: (draft, options) => {
    const report = new ReportBuilder();
    const shared = new SharedWeights<Packed>();
    const done = new Set<Value>();
    const exclude = new Set(options.exclude);
    for (const node of draft.graph.nodesDeep()) {
      if (!node.is('MatMul') && !node.is('Gemm')) continue;
      const product = matrixProduct(node);
      const readers =
        'code' in product || options.format === 'matmul-nbits'
          ? [node]
          : product.weight.uses.map((use) => use.node);
      const excluded = readers.find(({ name }) => exclude.has(name));
      if (excluded !== undefined) {
        report.skip(node.name, 'excluded', `"${excluded.name}" was excluded by name`);
      } else if ('code' in product) report.skip(node.name, product.code, product.reason);
      else if (done.has(product.weight)) continue;
      else if (product.k * product.n < options.minimumElements) {
        report.skip(
          node.name,
          'small',
          `its weight has ${product.k * product.n} elements, fewer than ${options.minimumElements}`,
        );
      } else if (options.format === 'matmul-nbits') {
        toNBits(node, product, { options, shared });
        report.apply(
          `store the weight of "${node.name}" in ${options.bits} bits, blocks of ${options.blockSize}`,
        );
      } else {
        done.add(product.weight);
        toDequantizeLinear(product, options);
        report.apply(
          `store the weight of "${node.name}" in ${options.bits} bits, blocks of ${options.blockSize}`,
        );
      }
    }
    reportOthers(draft, options, report);
    if (options.format === 'matmul-nbits' && report.appliedCount > 0)
      draft.opsetImports.set('com.microsoft', 1);
    return report.build();
  },
});

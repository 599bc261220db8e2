import {
  attribute,
  definePass,
  type Pass,
  ReportBuilder,
  Tensor,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { z } from 'zod';
import { type MatrixProduct, matrixProduct } from '../graph/matrix-product.ts';
import { replaceNode } from '../graph/replace-node.ts';
import { quantizeNormalFloat4 } from '../parameters/normal-float4.ts';
import { float32Data, lazyParts } from '../weights/lazy-parts.ts';
import { removeConstant } from '../weights/replace-constant.ts';
import { SharedWeights } from '../weights/shared.ts';
import type { Resolved } from './resolved.ts';

/** Options of {@link normalFloat4}. */
export interface NormalFloat4Options {
  /** Elements that share a scale: 16, 32, 64 (default), 128 or 256. */
  readonly blockSize?: 16 | 32 | 64 | 128 | 256 | undefined;
  /** Weights with fewer elements stay float; 1024 by default. */
  readonly minimumElements?: number | undefined;
}

const schema = z.strictObject({
  blockSize: z
    .union([z.literal(16), z.literal(32), z.literal(64), z.literal(128), z.literal(256)])
    .default(64),
  minimumElements: z.int().min(1).default(1024),
});

type Options = Resolved<NormalFloat4Options>;

/** `quant_type` of the operator for NF4. */
const NF4 = 1;

/** `[K, N]` as `[N, K]`, in tiles that stay in the cache. */
function transposed(data: Float32Array, k: number, n: number): Float32Array {
  const out = new Float32Array(data.length);
  const tile = 16;
  for (let k0 = 0; k0 < k; k0 += tile) {
    const k1 = Math.min(k, k0 + tile);
    for (let n0 = 0; n0 < n; n0 += tile) {
      const n1 = Math.min(n, n0 + tile);
      for (let column = n0; column < n1; column++) {
        for (let row = k0; row < k1; row++) out[column * k + row] = data[row * n + column]!;
      }
    }
  }
  return out;
}

/** A weight's codes and magnitudes as graph values. */
interface Stored {
  readonly packed: Value;
  readonly magnitudes: Value;
}

function sourcesOf(
  product: MatrixProduct,
  blockSize: number,
): Readonly<Record<'packed' | 'magnitudes', TensorSource>> {
  const { k, n, source } = product;
  const what = `weight "${product.weight.name}"`;
  const shapes = { packed: [(k * n + 1) >> 1], magnitudes: [Math.ceil((k * n) / blockSize)] };
  return lazyParts(
    {
      packed: { dtype: 'uint8', shape: shapes.packed },
      magnitudes: { dtype: 'float32', shape: shapes.magnitudes },
    },
    async (signal) => {
      const data = float32Data(await source.load(signal), what);
      const rows = product.transposed ? data : transposed(data, k, n);
      const weight = quantizeNormalFloat4(rows, blockSize, what);
      return {
        packed: Tensor.from('uint8', shapes.packed, weight.packed),
        magnitudes: Tensor.from('float32', shapes.magnitudes, weight.magnitudes),
      };
    },
  );
}

/**
 * Stores the weights of matrix products as 4-bit NormalFloat codes for onnxruntime's `com.microsoft.MatMulBnb4`, the
 * format of bitsandbytes: `MatMul`, and `Gemm` (its bias becomes an `Add`), with a constant matrix. It is kept for
 * those who ask for it by name: on every CPU measured it is slower than `weightOnly`, and hardly closer to the floats.
 *
 * @see Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023, section 3; the specification of
 *   `com.microsoft.MatMulBnb4` version 1
 *
 * @example
 * ```ts
 * import { normalFloat4 } from '@lithe/quantization';
 *
 * normalFloat4({ blockSize: 64 }).name; // => 'quantization/normal-float4'
 * ```
 */
export const normalFloat4: Pass<NormalFloat4Options, Options> = definePass({
  name: 'quantization/normal-float4',
  version: 1,
  summary: 'Stores the weights of matrix products as 4-bit NormalFloat codes.',
  options: schema,
  preserves: 'accuracy',
  run: (draft, options) => {
    const report = new ReportBuilder();
    const shared = new SharedWeights<Stored>();
    for (const node of [...draft.graph.nodesDeep()]) {
      if (!node.is('MatMul') && !node.is('Gemm')) continue;
      const product = matrixProduct(node);
      if ('code' in product) {
        report.skip(node.name, product.code, product.reason);
        continue;
      }
      const { k, n, weight, input, bias } = product;
      if (k * n < options.minimumElements) {
        report.skip(
          node.name,
          'small',
          `its weight has ${k * n} elements, fewer than ${options.minimumElements}`,
        );
        continue;
      }
      const stored = shared.get(weight, product.transposed ? 'rows' : 'columns', () => {
        const sources = sourcesOf(product, options.blockSize);
        const { graph, name } = weight;
        const add = (suffix: string, source: TensorSource): Value =>
          graph.addInitializer(graph.uniqueName(`${name}_${suffix}`), source);
        return { packed: add('Bnb4', sources.packed), magnitudes: add('absmax', sources.magnitudes) };
      });
      replaceNode(node, (insert) => {
        const [made] = insert.node('MatMulBnb4', [input, stored.packed, stored.magnitudes], {
          domain: 'com.microsoft',
          name: `${node.name}_Bnb4`,
          attributes: {
            K: attribute.int(k),
            N: attribute.int(n),
            block_size: attribute.int(options.blockSize),
            quant_type: attribute.int(NF4),
          },
        }) as readonly [Value];
        return bias === null ? made : insert.node('Add', [made, bias])[0]!;
      });
      removeConstant(weight);
      report.apply(`store the weight of "${node.name}" as NF4, blocks of ${options.blockSize}`);
    }
    if (report.appliedCount > 0) draft.opsetImports.set('com.microsoft', 1);
    return report.build();
  },
});

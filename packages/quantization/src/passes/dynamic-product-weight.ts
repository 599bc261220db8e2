import { Tensor, type TensorSource } from '@lithe/core';
import type { MatrixProduct } from '../graph/matrix-product.ts';
import { granularity } from '../parameters/granularity.ts';
import { groupLayout } from '../parameters/group-layout.ts';
import { groupParameters } from '../parameters/group-parameters.ts';
import { quantizeGroups } from '../parameters/kernels.ts';
import { transposeLevels } from '../parameters/transpose-levels.ts';
import { float32Data, lazyParts } from '../weights/lazy-parts.ts';
import type { ProductForm } from './dynamic-context.ts';

/** The matrix of a product as `[K, N]` integers for `MatMulInteger`, read and computed when it is loaded. */
export function productWeight(
  product: MatrixProduct,
  form: ProductForm,
): Readonly<Record<'values' | 'scales' | 'zeroPoints', TensorSource>> {
  const { k, n, transposed, source } = product;
  const { range, perColumn } = form;
  const dtype = range.low < 0 ? 'int8' : 'uint8';
  const what = `weight "${product.weight.name}"`;
  const scaleShape = perColumn ? [n] : [];
  return lazyParts(
    {
      values: { dtype, shape: [k, n] },
      scales: { dtype: 'float32', shape: scaleShape },
      zeroPoints: { dtype, shape: scaleShape },
    },
    async (signal) => {
      const data = float32Data(await source.load(signal), what);
      const layout = groupLayout(
        source.shape,
        perColumn ? granularity.perChannel(transposed ? 0 : 1) : granularity.perTensor(),
      );
      const scheme = range.low < 0 ? 'symmetric' : 'asymmetric';
      const parameters = groupParameters(data, layout, { range, scheme, what });
      const levels = quantizeGroups(data, layout, { parameters, range });
      // Moving bytes does not look at their sign.
      const bytes = new Int8Array(levels.buffer, levels.byteOffset, levels.byteLength);
      const placed = transposed ? transposeLevels(bytes, { matrices: 1, rows: n, columns: k }) : bytes;
      const zeroPoints = parameters.zeroPoints ?? new Int32Array(parameters.scales.length);
      const make = (shape: readonly number[], values: Int8Array): Tensor =>
        dtype === 'int8'
          ? Tensor.from('int8', shape, values)
          : Tensor.from(
              'uint8',
              shape,
              new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength),
            );
      return {
        values: make([k, n], placed),
        scales: Tensor.from('float32', scaleShape, parameters.scales),
        zeroPoints: make(scaleShape, Int8Array.from(zeroPoints)),
      };
    },
  );
}

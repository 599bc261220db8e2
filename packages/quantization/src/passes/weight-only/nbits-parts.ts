import { Tensor, type TensorSource } from '@lithe/core';
import { packLevels } from '../../parameters/nbits.ts';
import type { QuantizedMatrix } from '../../weight-algorithms/weight-algorithm.ts';
import { lazyParts } from '../../weights/lazy-parts.ts';
import type { WeightResult } from '../../weights/weight-request.ts';

/** Sizes and form of a weight in blocks. */
export interface BlockForm {
  /** Rows. */
  readonly n: number;
  /** Length of the rows. */
  readonly k: number;
  /** Bits per element. */
  readonly bits: 4 | 8;
  /** Elements that share a scale. */
  readonly blockSize: number;
  /** Whether zero points lie in the middle, and so are not stored. */
  readonly symmetric: boolean;
  /** Whether lookups read it too, which want a row of scales for each row. Older runtimes want a flat list otherwise. */
  readonly table: boolean;
}

/** The parts of a weight, as `MatMulNBits` and `GatherBlockQuantized` read them. */
export interface NBitsParts {
  /** Integers `[N, blocks, blockSize * bits / 8]`. */
  readonly packed: TensorSource;
  /** Scales `[N * blocks]`, or `[N, blocks]` of a table. */
  readonly scales: TensorSource;
  /** Zero points `[N * ceil(blocks * bits / 8)]`, or in two axes; no elements when they are not stored. */
  readonly zeroPoints: TensorSource;
}

function partsOf(
  found: QuantizedMatrix,
  form: BlockForm,
  shapes: Record<keyof NBitsParts, readonly number[]>,
) {
  // Packing writes over the levels, which belong to a result that may be asked for again.
  const levels = (found.levels as Uint8Array).slice();
  const weight = packLevels({ levels, parameters: found.parameters }, form, form);
  return {
    packed: Tensor.from('uint8', shapes.packed, weight.packed),
    scales: Tensor.from('float32', shapes.scales, weight.scales),
    zeroPoints: Tensor.from('uint8', shapes.zeroPoints, weight.zeroPoints ?? new Uint8Array(0)),
  };
}

/** A quantized weight in the layout of onnxruntime's block operators; computed when it is loaded. */
export function nbitsParts(result: WeightResult, form: BlockForm): NBitsParts {
  const { n, k, bits, blockSize, symmetric, table } = form;
  const blocks = Math.ceil(k / blockSize);
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const shapes = {
    packed: [n, blocks, (blockSize * bits) / 8],
    scales: table ? [n, blocks] : [n * blocks],
    zeroPoints: symmetric ? [0] : table ? [n, zeroBytes] : [n * zeroBytes],
  };
  return lazyParts(
    {
      packed: { dtype: 'uint8', shape: shapes.packed },
      scales: { dtype: 'float32', shape: shapes.scales },
      zeroPoints: { dtype: 'uint8', shape: shapes.zeroPoints },
    },
    async (signal) => partsOf(await result(signal), form, shapes),
  );
}

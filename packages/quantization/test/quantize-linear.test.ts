import { createRng, packNibbles, Tensor } from '@lithe/core';
import {
  asymmetricParameters,
  dequantizeGroups,
  type Granularity,
  type GroupParameters,
  granularity,
  groupLayout,
  groupParameters,
  integerRange,
  type QuantizedDType,
  quantizeGroups,
} from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net } from './net.ts';
import { runModel } from './support.ts';

type Stored = Exclude<QuantizedDType, 'int32'>;

const shape = [6, 32, 5];

/** Ties, clipped values, both signs, several magnitudes, denormals. */
function values(): Float32Array {
  const rng = createRng(11);
  return Float32Array.from({ length: 6 * 32 * 5 }, (_, index) => {
    if (index % 7 === 0) return (rng.integer(41) - 20) / 2;
    if (index % 31 === 0) return 1e-42;
    return rng.normal() * 2 ** (rng.integer(9) - 4);
  });
}

function zeroPoints(dtype: Stored, dims: readonly number[], parameters: GroupParameters): Tensor {
  const { scales, zeroPoints: points, middle } = parameters;
  const integers = Array.from(scales, (_, group) => points?.[group] ?? middle);
  switch (dtype) {
    case 'int4':
    case 'uint4':
      return Tensor.from(dtype, dims, packNibbles(Int8Array.from(integers)) as never);
    case 'int8':
      return Tensor.from(dtype, dims, Int8Array.from(integers));
    case 'uint8':
      return Tensor.from(dtype, dims, Uint8Array.from(integers));
    case 'int16':
      return Tensor.from(dtype, dims, Int16Array.from(integers));
    case 'uint16':
      return Tensor.from(dtype, dims, Uint16Array.from(integers));
  }
}

function scaleShape(by: Granularity): readonly number[] {
  if (by.kind === 'per-tensor') return [];
  if (by.kind === 'per-channel') return [shape[by.axis]!];
  return shape.map((dim, axis) => (axis === by.axis ? Math.ceil(dim / by.size) : dim));
}

/** What onnxruntime's QuantizeLinear and DequantizeLinear make of the values. */
async function byRuntime(
  data: Float32Array,
  dtype: Stored,
  by: Granularity,
  parameters: GroupParameters,
): Promise<Float32Array> {
  const n = net();
  const x = n.input('x', shape);
  const dims = scaleShape(by);
  const scale = n.constant(Tensor.from('float32', dims, parameters.scales));
  const zero = n.constant(zeroPoints(dtype, dims, parameters));
  const attributes = {
    axis: { kind: 'int', value: BigInt(by.kind === 'per-tensor' ? 1 : by.axis) },
    block_size: { kind: 'int', value: BigInt(by.kind === 'per-block' ? by.size : 0) },
  } as const;
  const levels = n.add('QuantizeLinear', [x, scale, zero], attributes);
  const y = n.add('DequantizeLinear', [levels, scale, zero], attributes);
  const outputs = await runModel(n.model(y), { x: Tensor.from('float32', shape, data) });
  return outputs[y.name]?.data as Float32Array;
}

const dtypes: readonly Stored[] = ['int4', 'uint4', 'int8', 'uint8', 'int16', 'uint16'];
const granularities = [
  granularity.perTensor(),
  granularity.perChannel(0),
  granularity.perChannel(1),
  granularity.perBlock(1, 16),
];

describe.each(dtypes)('%s', (dtype) => {
  it.each(granularities)('is quantized as QuantizeLinear of the runtime does it, %o', async (by) => {
    const data = values();
    const layout = groupLayout(shape, by);
    for (const scheme of ['symmetric', 'asymmetric'] as const) {
      const range = integerRange(dtype);
      const found = groupParameters(data, layout, { range, scheme, what: 'x' });
      // Scales a third as large, so that values are clipped at both ends; a power of two somewhere, so that ties occur.
      const scales = found.scales.map((scale, group) => (group % 2 === 0 ? scale / 3 : 0.5));
      const parameters = { ...found, scales };
      const ours = dequantizeGroups(quantizeGroups(data, layout, { parameters, range }), layout, parameters);
      expect(ours).toEqual(await byRuntime(data, dtype, by, parameters));
    }
  });

  it('covers an asymmetric range to half a step, with zero exact', () => {
    const range = integerRange(dtype);
    for (const [low, high] of [
      [-3, 5],
      [-0.01, 100],
      [0, 7],
      [-7, 0],
      [2, 3],
    ] as const) {
      const { scale, zeroPoint } = asymmetricParameters(low, high, range);
      expect(Number.isInteger(zeroPoint) && zeroPoint >= range.low && zeroPoint <= range.high).toBe(true);
      expect((range.low - zeroPoint) * scale).toBeLessThanOrEqual(low + scale * 0.501);
      expect((range.high - zeroPoint) * scale).toBeGreaterThanOrEqual(high - scale * 0.501);
    }
  });
});

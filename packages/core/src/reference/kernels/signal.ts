import { attr } from '../../op/attributes.ts';
import { fromNumbers, toIntegers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { aroundAxis } from './lanes.ts';
import { outputType } from './numeric.ts';
import { requireAxis } from './reduce.ts';

/** One-dimensional complex numbers. */
interface ComplexLane {
  readonly real: Float64Array;
  readonly imaginary: Float64Array;
}

/** The first `bins` terms of the discrete Fourier transform, by its definition (or of the inverse one, unscaled). */
function transform({ real, imaginary }: ComplexLane, bins: number, inverse: boolean): ComplexLane {
  const length = real.length;
  const cosines = Float64Array.from({ length }, (_, index) => Math.cos((2 * Math.PI * index) / length));
  const sines = Float64Array.from(
    { length },
    (_, index) => (inverse ? 1 : -1) * Math.sin((2 * Math.PI * index) / length),
  );
  const out = { real: new Float64Array(bins), imaginary: new Float64Array(bins) };
  for (let bin = 0; bin < bins; bin++) {
    let [sumReal, sumImaginary] = [0, 0];
    for (let index = 0; index < length; index++) {
      const turn = (bin * index) % length;
      sumReal += real[index]! * cosines[turn]! - imaginary[index]! * sines[turn]!;
      sumImaginary += real[index]! * sines[turn]! + imaginary[index]! * cosines[turn]!;
    }
    out.real[bin] = sumReal;
    out.imaginary[bin] = sumImaginary;
  }
  return out;
}

/** ONNX `DFT` (opset 20): along one axis of `[…, 1 or 2]`; cut or zero-padded to `dft_length` first. */
const dft: ReferenceKernel = (context) => {
  const { inverse, onesided } = context.attributes({ inverse: attr.flag(false), onesided: attr.flag(false) });
  const input = context.tensor(0);
  const parts = input.shape.at(-1);
  if (input.shape.length < 2 || (parts !== 1 && parts !== 2))
    return context.fail('the last axis must hold real or complex parts');
  if (inverse && onesided) context.fail('a one-sided inverse is not defined at this opset');
  const axis = requireAxis(context, context.optional(2)?.toFloat64Array()[0] ?? -2, input.shape.length);
  if (axis === input.shape.length - 1) context.fail('the axis is that of the parts');
  const { outer, length, inner } = aroundAxis(input.shape.slice(0, -1), axis);
  const points = context.optional(1)?.toFloat64Array()[0] ?? length;
  if (!(points >= 1)) context.fail(`dft_length is ${points}`);
  const bins = onesided ? Math.floor(points / 2) + 1 : points;
  const shape = [...input.shape.slice(0, -1), 2];
  shape[axis] = bins;
  const out = new Float64Array(context.guard(input.dtype, shape));
  const values = input.toFloat64Array();
  for (let lane = 0; lane < outer * inner; lane++) {
    const [row, column] = [Math.floor(lane / inner), lane % inner];
    const source = { real: new Float64Array(points), imaginary: new Float64Array(points) };
    for (let index = 0; index < Math.min(points, length); index++) {
      const at = ((row * length + index) * inner + column) * parts;
      source.real[index] = values[at]!;
      if (parts === 2) source.imaginary[index] = values[at + 1]!;
    }
    const result = transform(source, bins, inverse);
    for (let bin = 0; bin < bins; bin++) {
      const at = ((row * bins + bin) * inner + column) * 2;
      out[at] = result.real[bin]! / (inverse ? points : 1);
      out[at + 1] = result.imaginary[bin]! / (inverse ? points : 1);
    }
  }
  return [fromNumbers(input.dtype, shape, out)];
};

/** ONNX `STFT` (opset 17): `DFT`s of windowed frames, `[batch, frames, bins, 2]`. */
const stft: ReferenceKernel = (context) => {
  const { onesided } = context.attributes({ onesided: attr.flag(true) });
  const signal = context.tensor(0);
  const step = context.tensor(1).toFloat64Array()[0] ?? 0;
  const window = context.optional(2)?.toFloat64Array();
  const [batch, length, parts = 1] = signal.shape as [number, number, number?];
  const frame = context.optional(3)?.toFloat64Array()[0] ?? window?.length ?? length;
  if (step < 1 || frame < 1 || frame > length)
    context.fail(`frames of ${frame} every ${step} do not fit a signal of ${length}`);
  if (window !== undefined && window.length !== frame)
    context.fail(`a window of ${window.length} for frames of ${frame}`);
  const frames = Math.floor((length - frame) / step) + 1;
  const bins = onesided ? Math.floor(frame / 2) + 1 : frame;
  const shape = [batch, frames, bins, 2];
  const out = new Float64Array(context.guard(signal.dtype, shape));
  const values = signal.toFloat64Array();
  for (let index = 0; index < batch * frames; index++) {
    const start = Math.floor(index / frames) * length + (index % frames) * step;
    const source = { real: new Float64Array(frame), imaginary: new Float64Array(frame) };
    for (let at = 0; at < frame; at++) {
      const weight = window === undefined ? 1 : window[at]!;
      source.real[at] = values[(start + at) * parts]! * weight;
      if (parts === 2) source.imaginary[at] = values[(start + at) * 2 + 1]! * weight;
    }
    const result = transform(source, bins, false);
    for (let bin = 0; bin < bins; bin++) {
      out[(index * bins + bin) * 2] = result.real[bin]!;
      out[(index * bins + bin) * 2 + 1] = result.imaginary[bin]!;
    }
  }
  return [fromNumbers(signal.dtype, shape, out)];
};

/** ONNX `HannWindow`, `HammingWindow`, `BlackmanWindow` (opset 17): sums of cosines with these coefficients. */
function windowKernel(coefficients: readonly [number, number, number]): ReferenceKernel {
  return (context: KernelContext) => {
    const { output_datatype: code, periodic } = context.attributes({
      output_datatype: attr.int(1),
      periodic: attr.flag(true),
    });
    const size = toIntegers(context.tensor(0))[0] ?? context.fail('the size is empty');
    const dtype = outputType(context, code, 'float32');
    const out = new Float64Array(context.guard(dtype, [size]));
    const period = periodic ? size : size - 1;
    for (let index = 0; index < size; index++) {
      const turn = period === 0 ? 0 : (2 * Math.PI * index) / period;
      out[index] = coefficients[0] - coefficients[1] * Math.cos(turn) + coefficients[2] * Math.cos(2 * turn);
    }
    return [fromNumbers(dtype, [size], out)];
  };
}

/** ONNX `MelWeightMatrix` (opset 17): triangles on the mel scale, `[dft_length / 2 + 1, bins]`. */
const melWeightMatrix: ReferenceKernel = (context) => {
  const { output_datatype: code } = context.attributes({ output_datatype: attr.int(1) });
  const [bins, length, rate, low, high] = [0, 1, 2, 3, 4].map(
    (index) => context.tensor(index).toFloat64Array()[0] ?? Number.NaN,
  ) as [number, number, number, number, number];
  const dtype = outputType(context, code, 'float32');
  const rows = Math.floor(length / 2) + 1;
  const out = new Float64Array(context.guard(dtype, [rows, bins]));
  const melOf = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
  const step = (melOf(high) - melOf(low)) / (bins + 2);
  const edges = Array.from({ length: bins + 2 }, (_, index) => {
    const hertz = 700 * (10 ** ((index * step + melOf(low)) / 2595) - 1);
    return Math.floor(((length + 1) * hertz) / rate);
  });
  for (let bin = 0; bin < bins; bin++) {
    const [left, centre, right] = edges.slice(bin, bin + 3) as [number, number, number];
    if (left < 0 || right > rows || !Number.isFinite(right))
      context.fail(`the edges [${left}, ${right}] are outside ${rows} bins`);
    if (left === centre && centre < rows) out[centre * bins + bin] = 1;
    for (let row = left; row <= centre && left !== centre; row++)
      out[row * bins + bin] = (row - left) / (centre - left);
    for (let row = centre; row < right; row++) out[row * bins + bin] = (right - row) / (right - centre);
  }
  return [fromNumbers(dtype, [rows, bins], out)];
};

/** Signal processing: `ai.onnx`. */
export const signalKernels: KernelTable = {
  BlackmanWindow: windowKernel([0.42, 0.5, 0.08]),
  DFT: dft,
  HammingWindow: windowKernel([25 / 46, 21 / 46, 0]),
  HannWindow: windowKernel([0.5, 0.5, 0]),
  MelWeightMatrix: melWeightMatrix,
  STFT: stft,
};

import { errors } from '../../errors/catalogue.ts';
import { attr } from '../../op/attributes.ts';
import { type DType, dtypeFromOnnx, dtypes } from '../../tensor/dtype.ts';
import { type Float8DType, toFloat8Bits } from '../../tensor/half.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers, fromStore, isWide, makeStore } from '../elements.ts';
import type { KernelTable, ReferenceKernel } from '../kernel.ts';

/** The shortest decimal that reads back as the same float32 number. */
function shortestFloat32(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  for (let digits = 1; digits <= 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(value);
}

/** A number as ONNX `Cast` writes it: plain or scientific decimal; `INF`, `-INF` and `NaN`. */
function formatNumber(value: number, dtype: DType): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'INF' : '-INF';
  const text = dtype === 'float64' ? String(value) : shortestFloat32(value);
  return dtypes[dtype].category === 'float' && /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** Reads what ONNX `Cast` allows in a string: decimals, and INF and NaN of any case. */
function parseNumber(text: string): number {
  const trimmed = text.trim();
  const infinite = /^([+-]?)inf(inity)?$/i.exec(trimmed);
  if (infinite !== null) return infinite[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^[+-]?nan$/i.test(trimmed)) return Number.NaN;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed)) {
    throw errors.valueOutOfRange(`The string "${text}"`, Number.NaN, 'the numbers that Cast reads');
  }
  return Number(trimmed);
}

/**
 * Converts a tensor as ONNX `Cast` (opset 21) does: floats round to nearest even; floats become integers towards
 * zero, those out of range wrap (undefined in the specification; 4-bit ones saturate); bool is "is not zero".
 *
 * @param saturate whether overflow of an 8-bit float gives its largest value instead of infinity or NaN
 * @throws {LitheError} DTYPE_UNSUPPORTED for conversions to or from complex numbers
 * @throws {LitheError} VALUE_OUT_OF_RANGE when a string is not a number
 */
export function castTensor(input: Tensor, to: DType, saturate: boolean): Tensor {
  if (input.dtype === to) return input;
  if (dtypes[input.dtype].category === 'complex')
    throw errors.dtypeUnsupported('Operator Cast', input.dtype, ['real numbers', 'string']);
  if (to === 'string') return castToStrings(input);
  if (input.dtype === 'string') {
    const texts = input.data as readonly string[];
    if (isWide(to) && texts.every((text) => /^\s*[+-]?\d+\s*$/.test(text))) {
      const out = makeStore(to, texts.length);
      for (let index = 0; index < texts.length; index++)
        out[index] = BigInt(texts[index]!.trim().replace(/^\+/, ''));
      return fromStore(to, input.shape, out);
    }
    return fromNumbers(to, input.shape, Float64Array.from(texts, parseNumber));
  }
  if (isWide(input.dtype)) return castFromWide(input, to, saturate);
  return castNumbers(input.toFloat64Array(), input.shape, { to, saturate });
}

function castNumbers(
  values: Float64Array,
  shape: readonly number[],
  { to, saturate }: { readonly to: DType; readonly saturate: boolean },
): Tensor {
  if (dtypes[to].bits === 4) {
    // Defined, unlike for wider integers: out of range saturates.
    const [low, high] = dtypes[to].range ?? [0n, 0n];
    return fromNumbers(
      to,
      shape,
      values.map((value) => Math.min(Math.max(value, Number(low)), Number(high))),
    );
  }
  if (!to.startsWith('float8') || saturate) return fromNumbers(to, shape, values);
  const out = new Uint8Array(values.length);
  for (let index = 0; index < out.length; index++)
    out[index] = toFloat8Bits(values[index]!, to as Float8DType, saturate);
  return Tensor.from(to as Float8DType, shape, out);
}

function castFromWide(input: Tensor, to: DType, saturate: boolean): Tensor {
  const values = input.data as BigInt64Array;
  const { category, bits } = dtypes[to];
  if (category === 'int' || category === 'uint') {
    const out = makeStore(to, values.length);
    if (isWide(to)) for (let index = 0; index < values.length; index++) out[index] = values[index]!;
    else
      for (let index = 0; index < values.length; index++)
        out[index] = Number(BigInt.asIntN(bits, values[index]!));
    return fromStore(to, input.shape, out);
  }
  return castNumbers(input.toFloat64Array(), input.shape, { to, saturate });
}

function castToStrings(input: Tensor): Tensor {
  if (isWide(input.dtype)) {
    return Tensor.from(
      'string',
      input.shape,
      Array.from(input.data as BigInt64Array, (value) => String(value)),
    );
  }
  const texts: string[] = [];
  for (const value of input.toFloat64Array()) texts.push(formatNumber(value, input.dtype));
  return Tensor.from('string', input.shape, texts);
}

/** ONNX `Cast` (opset 21): to the dtype with the number `to`. */
const cast: ReferenceKernel = (context) => {
  const { to, saturate } = context.attributes({ to: attr.requiredInt(), saturate: attr.flag(true) });
  const dtype = dtypeFromOnnx(to);
  if (dtype === undefined)
    throw errors.attributeInvalid(context.node.name, 'to', `is ${to}, not the number of a known dtype`);
  return [castTensor(context.tensor(0), dtype, saturate)];
};

/** ONNX `CastLike` (opset 21): to the dtype of the second input. */
const castLike: ReferenceKernel = (context) => {
  const { saturate } = context.attributes({ saturate: attr.flag(true) });
  return [castTensor(context.tensor(0), context.tensor(1).dtype, saturate)];
};

/** Conversions of `ai.onnx`. */
export const castKernels: KernelTable = { Cast: cast, CastLike: castLike };

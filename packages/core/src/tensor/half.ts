/**
 * Exact conversions between float32 and the 16-bit and 8-bit float formats, rounding to nearest, ties to even.
 * Sources: IEEE 754-2019 binary16; bfloat16 (upper half of binary32); "FP8 Formats for Deep Learning"
 * (Micikevicius et al., 2022) for e4m3fn and e5m2; the `fnuz` forms as in the ONNX float8 specification.
 */
const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/**
 * Bits of a float32 from which a shorter format can be rounded as if from `value` itself: what float32 cannot hold is
 * cut off, and the last bit is set to tell that something was (rounding to odd; Boldo and Melquiond, "Emulation of a
 * FMA and Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd", 2008).
 */
function stickyBits(value: number): number {
  scratchFloat[0] = value;
  const single = scratchFloat[0] as number;
  const bits = scratchBits[0] as number;
  if (single === value || Number.isNaN(value)) return bits;
  return ((Math.abs(single) > Math.abs(value) ? bits - 1 : bits) | 1) >>> 0;
}

/** Bits of the binary16 number nearest to `value`; overflow gives infinity. */
export function toFloat16Bits(value: number): number {
  const bits = stickyBits(value);
  const sign = (bits >>> 16) & 0x8000;
  const exponent = (bits >>> 23) & 0xff;
  const mantissa = bits & 0x7fffff;
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa === 0 ? 0 : 0x200 | (mantissa >>> 13));
  const unbiased = exponent - 112; // binary16 exponent, biased by 15
  if (unbiased >= 31) return sign | 0x7c00;
  if (unbiased > 0) {
    const half = (unbiased << 10) | (mantissa >>> 13);
    const rest = mantissa & 0x1fff;
    return sign | (half + (rest > 0x1000 || (rest === 0x1000 && (half & 1) === 1) ? 1 : 0));
  }
  if (unbiased < -10) return sign;
  const full = mantissa | 0x800000;
  const shift = 14 - unbiased;
  const half = full >>> shift;
  const rest = full & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  return sign | (half + (rest > tie || (rest === tie && (half & 1) === 1) ? 1 : 0));
}

/** The number that the binary16 `bits` stand for. */
export function fromFloat16Bits(bits: number): number {
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  let magnitude: number;
  if (exponent === 0) magnitude = mantissa * 2 ** -24;
  else if (exponent === 31) magnitude = mantissa === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
  else magnitude = (mantissa + 1024) * 2 ** (exponent - 25);
  return (bits & 0x8000) === 0 ? magnitude : -magnitude;
}

/** Bits of the bfloat16 number nearest to `value`; overflow gives infinity. */
export function toBfloat16Bits(value: number): number {
  const bits = stickyBits(value);
  if (Number.isNaN(value)) return ((bits >>> 16) & 0x8000) | 0x7fc0;
  const rounding = 0x7fff + ((bits >>> 16) & 1);
  return ((bits + rounding) >>> 16) & 0xffff;
}

/** The number that the bfloat16 `bits` stand for. */
export function fromBfloat16Bits(bits: number): number {
  scratchBits[0] = (bits << 16) >>> 0;
  return scratchFloat[0] as number;
}

/** The four 8-bit float formats of ONNX. */
export type Float8DType = 'float8e4m3fn' | 'float8e4m3fnuz' | 'float8e5m2' | 'float8e5m2fnuz';

const float8Values = new Map<Float8DType, Float32Array>();

/** The 256 values of an 8-bit float format, indexed by bits. Computed on first use. */
export function float8Table(dtype: Float8DType): Float32Array {
  const known = float8Values.get(dtype);
  if (known !== undefined) return known;
  const mantissaBits = dtype.startsWith('float8e4m3') ? 3 : 2;
  const exponentBits = 7 - mantissaBits;
  const unsignedZero = dtype.endsWith('fnuz');
  const bias = 2 ** (exponentBits - 1) - 1 + (unsignedZero ? 1 : 0);
  const top = 2 ** exponentBits - 1;
  const table = new Float32Array(256);
  for (let bits = 0; bits < 256; bits++) {
    const sign = bits & 0x80 ? -1 : 1;
    const exponent = (bits & 0x7f) >> mantissaBits;
    const mantissa = bits & (2 ** mantissaBits - 1);
    let value = sign * (exponent === 0 ? mantissa : mantissa + 2 ** mantissaBits);
    value *= 2 ** ((exponent === 0 ? 1 : exponent) - bias - mantissaBits);
    if (unsignedZero) {
      if (bits === 0x80) value = Number.NaN;
    } else if (dtype === 'float8e5m2') {
      if (exponent === top) value = mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    } else if ((bits & 0x7f) === 0x7f) value = Number.NaN;
    table[bits] = value;
  }
  float8Values.set(dtype, table);
  return table;
}

/** The number that `bits` stand for in an 8-bit float format. */
export function fromFloat8Bits(bits: number, dtype: Float8DType): number {
  return float8Table(dtype)[bits & 0xff] as number;
}

/**
 * Bits of the 8-bit float nearest to `value`, ties to even.
 *
 * @param saturate whether overflow gives the largest finite value (ONNX `Cast` default) instead of infinity or NaN
 */
export function toFloat8Bits(value: number, dtype: Float8DType, saturate: boolean): number {
  const unsignedZero = dtype.endsWith('fnuz');
  const nan = unsignedZero ? 0x80 : 0x7f;
  if (Number.isNaN(value)) return nan;
  const table = float8Table(dtype);
  const negative = value < 0 || Object.is(value, -0);
  const magnitude = Math.abs(value);
  // Positive codes rise with their value; find the last finite one and bisect.
  const largest = dtype === 'float8e4m3fn' ? 0x7e : dtype === 'float8e5m2' ? 0x7b : 0x7f;
  const sign = negative ? 0x80 : 0;
  const maximum = table[largest] as number;
  const step = maximum - (table[largest - 1] as number);
  if (magnitude > maximum + step / 2 || (magnitude === maximum + step / 2 && (largest & 1) === 1)) {
    if (saturate) return sign | largest;
    return unsignedZero ? nan : dtype === 'float8e5m2' ? sign | 0x7c : sign | 0x7f;
  }
  let low = 0;
  let high = largest;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((table[middle] as number) <= magnitude) low = middle;
    else high = middle - 1;
  }
  if (low < largest) {
    const below = magnitude - (table[low] as number);
    const above = (table[low + 1] as number) - magnitude;
    if (above < below || (above === below && (low & 1) === 1)) low++;
  }
  if (low === 0 && unsignedZero) return 0;
  return sign | low;
}

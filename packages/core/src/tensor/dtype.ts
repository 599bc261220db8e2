/** Element types: those of ONNX. `bool` is one byte, `int4`/`uint4` two elements a byte, low nibble first. */
export type DType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'bfloat16'
  | 'float8e4m3fn'
  | 'float8e4m3fnuz'
  | 'float8e5m2'
  | 'float8e5m2fnuz'
  | 'int4'
  | 'uint4'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'bool'
  | 'complex64'
  | 'complex128'
  | 'string';

/** Typed arrays that hold tensor elements. */
export type NumericArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** What holds the elements of each dtype; half floats and float8 are carried as their bits, complex numbers interleaved. */
export interface DTypeArrays {
  /** Plain. */
  float32: Float32Array;
  /** Plain. */
  float64: Float64Array;
  /** Bit patterns. */
  float16: Uint16Array;
  /** Bit patterns. */
  bfloat16: Uint16Array;
  /** Bit patterns. */
  float8e4m3fn: Uint8Array;
  /** Bit patterns. */
  float8e4m3fnuz: Uint8Array;
  /** Bit patterns. */
  float8e5m2: Uint8Array;
  /** Bit patterns. */
  float8e5m2fnuz: Uint8Array;
  /** Two elements a byte, low nibble first. */
  int4: Uint8Array;
  /** Two elements a byte, low nibble first. */
  uint4: Uint8Array;
  /** Plain. */
  int8: Int8Array;
  /** Plain. */
  uint8: Uint8Array;
  /** Plain. */
  int16: Int16Array;
  /** Plain. */
  uint16: Uint16Array;
  /** Plain. */
  int32: Int32Array;
  /** Plain. */
  uint32: Uint32Array;
  /** Plain. */
  int64: BigInt64Array;
  /** Plain. */
  uint64: BigUint64Array;
  /** 0 or 1. */
  bool: Uint8Array;
  /** Interleaved real and imaginary parts. */
  complex64: Float32Array;
  /** Interleaved real and imaginary parts. */
  complex128: Float64Array;
  /** Plain. */
  string: readonly string[];
}

/** Facts about a dtype. */
export interface DTypeInfo {
  /** Bits an element takes; 0 for `string`, whose elements vary. */
  readonly bits: number;
  /** What kind of number it is. */
  readonly category: 'float' | 'int' | 'uint' | 'bool' | 'complex' | 'string';
  /** Smallest and largest value of an integer dtype. */
  readonly range?: readonly [bigint, bigint];
  /** The `TensorProto.DataType` number in ONNX files. */
  readonly onnx: number;
}

/** Facts about every dtype. */
export const dtypes: Readonly<Record<DType, DTypeInfo>> = {
  float32: { bits: 32, category: 'float', onnx: 1 },
  uint8: { bits: 8, category: 'uint', range: [0n, 255n], onnx: 2 },
  int8: { bits: 8, category: 'int', range: [-128n, 127n], onnx: 3 },
  uint16: { bits: 16, category: 'uint', range: [0n, 65535n], onnx: 4 },
  int16: { bits: 16, category: 'int', range: [-32768n, 32767n], onnx: 5 },
  int32: { bits: 32, category: 'int', range: [-(2n ** 31n), 2n ** 31n - 1n], onnx: 6 },
  int64: { bits: 64, category: 'int', range: [-(2n ** 63n), 2n ** 63n - 1n], onnx: 7 },
  string: { bits: 0, category: 'string', onnx: 8 },
  bool: { bits: 8, category: 'bool', range: [0n, 1n], onnx: 9 },
  float16: { bits: 16, category: 'float', onnx: 10 },
  float64: { bits: 64, category: 'float', onnx: 11 },
  uint32: { bits: 32, category: 'uint', range: [0n, 2n ** 32n - 1n], onnx: 12 },
  uint64: { bits: 64, category: 'uint', range: [0n, 2n ** 64n - 1n], onnx: 13 },
  complex64: { bits: 64, category: 'complex', onnx: 14 },
  complex128: { bits: 128, category: 'complex', onnx: 15 },
  bfloat16: { bits: 16, category: 'float', onnx: 16 },
  float8e4m3fn: { bits: 8, category: 'float', onnx: 17 },
  float8e4m3fnuz: { bits: 8, category: 'float', onnx: 18 },
  float8e5m2: { bits: 8, category: 'float', onnx: 19 },
  float8e5m2fnuz: { bits: 8, category: 'float', onnx: 20 },
  uint4: { bits: 4, category: 'uint', range: [0n, 15n], onnx: 21 },
  int4: { bits: 4, category: 'int', range: [-8n, 7n], onnx: 22 },
};

const byOnnx: ReadonlyMap<number, DType> = new Map(
  (Object.keys(dtypes) as DType[]).map((dtype) => [dtypes[dtype].onnx, dtype]),
);

/** The dtype with this `TensorProto.DataType` number, or `undefined` for one that Lithe does not know. */
export function dtypeFromOnnx(code: number): DType | undefined {
  return byOnnx.get(code);
}

/** Bytes that `elements` elements of `dtype` take; 4-bit types round up to whole bytes. Not defined for `string` (0). */
export function byteLengthOf(dtype: DType, elements: number): number {
  return Math.ceil((dtypes[dtype].bits * elements) / 8);
}

/** Whether the dtype is a real floating-point type. */
export function isFloat(dtype: DType): boolean {
  return dtypes[dtype].category === 'float';
}

/** Whether the dtype is a signed or unsigned integer type (not `bool`). */
export function isInteger(dtype: DType): boolean {
  const { category } = dtypes[dtype];
  return category === 'int' || category === 'uint';
}

/** Elements of a shape: the product of its dims, 1 for a scalar. */
export function elementsOf(shape: readonly number[]): number {
  let elements = 1;
  for (let axis = 0; axis < shape.length; axis++) elements *= shape[axis] as number;
  return elements;
}

/** Row-major strides of a shape, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] as number;
  }
  return strides;
}

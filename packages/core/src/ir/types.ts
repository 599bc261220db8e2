import type { DType } from '../tensor/dtype.ts';

/**
 * One dim of a shape: a number; a symbol or an expression over symbols (`"N"`, `"floor((H-1)/2)+1"`; equal text
 * means equal size); or `null` where nothing is known.
 */
export type Dim = number | string | null;

/** Type of a tensor value. Missing parts are unknown, not wildcards to be guessed. */
export interface TensorType {
  /** Tag. */
  readonly kind: 'tensor';
  /** Element type, if known. */
  readonly dtype: DType | undefined;
  /** Dims, if the rank is known. */
  readonly shape: readonly Dim[] | undefined;
}

/** Type of a sequence of values. */
export interface SequenceType {
  /** Tag. */
  readonly kind: 'sequence';
  /** What the sequence holds. */
  readonly element: ValueType;
}

/** Type of a value that may be absent. */
export interface OptionalType {
  /** Tag. */
  readonly kind: 'optional';
  /** What it holds when present. */
  readonly element: ValueType;
}

/** A type that Lithe carries without looking into it (maps, sparse tensors), as its serialized `TypeProto`. */
export interface OpaqueType {
  /** Tag. */
  readonly kind: 'opaque';
  /** The serialized `TypeProto`. */
  readonly proto: Uint8Array;
}

/** The type of a value. */
export type ValueType = TensorType | SequenceType | OptionalType | OpaqueType;

/** Makes a tensor type. */
export function tensorType(dtype: DType | undefined, shape?: readonly Dim[] | undefined): TensorType {
  return { kind: 'tensor', dtype, shape };
}

/** Whether every dim of a shape is a number. */
export function isStaticShape(shape: readonly Dim[] | undefined): shape is readonly number[] {
  return shape?.every((dim) => typeof dim === 'number') === true;
}

/** Prints a type: `float32[N, 3, 224, 224]`, `seq(int64[?])`. */
export function formatType(type: ValueType | undefined): string {
  if (type === undefined) return '?';
  switch (type.kind) {
    case 'tensor': {
      const dims = type.shape?.map((dim) => (dim === null ? '?' : String(dim))).join(', ') ?? '…';
      return `${type.dtype ?? '?'}[${dims}]`;
    }
    case 'sequence':
      return `seq(${formatType(type.element)})`;
    case 'optional':
      return `optional(${formatType(type.element)})`;
    case 'opaque':
      return 'opaque';
  }
}

import { createRng, elementsOf, type Rng, Tensor } from '@lithe/core';
import type { RuntimeCase } from './runtime.ts';

/** Domain of onnxruntime’s own operators. */
export const microsoft = 'com.microsoft';
/** A stream of numbers for a case. */
export const rngOf = (name: string): Rng => createRng(2026).fork(name);

/** Standard normal numbers. */
export const f32 = (rng: Rng, ...shape: number[]): Tensor =>
  Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: elementsOf(shape) }, () => rng.normal()),
  );
/** Bytes of any value. */
export const u8 = (rng: Rng, ...shape: number[]): Tensor =>
  Tensor.from(
    'uint8',
    shape,
    Uint8Array.from({ length: elementsOf(shape) }, () => rng.integer(256)),
  );
/** Signed bytes of any value. */
export const i8 = (rng: Rng, ...shape: number[]): Tensor =>
  Tensor.from(
    'int8',
    shape,
    Int8Array.from({ length: elementsOf(shape) }, () => rng.integer(256) - 128),
  );
/** Given numbers. */
export const i32 = (shape: readonly number[], ...values: number[]): Tensor =>
  Tensor.from('int32', shape, Int32Array.from(values));
/** Given numbers. */
export const i64 = (shape: readonly number[], ...values: number[]): Tensor =>
  Tensor.from('int64', shape, BigInt64Array.from(values, BigInt));
/** A scalar. */
export const scale = (value: number): Tensor => Tensor.from('float32', [], new Float32Array([value]));
/** Scales between 0.01 and 0.06. */
export const scales = (rng: Rng, ...shape: number[]): Tensor =>
  Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: elementsOf(shape) }, () => 0.01 + rng.next() * 0.05),
  );
/** A scalar zero point. */
export const zero = (dtype: 'uint8' | 'int8', value: number): Tensor =>
  dtype === 'uint8'
    ? Tensor.from('uint8', [], new Uint8Array([value]))
    : Tensor.from('int8', [], new Int8Array([value]));
/** One of several. */
export const pick = <T>(rng: Rng, ...items: T[]): T => items[rng.integer(items.length)] as T;

/** Makes a case from random numbers. */
export type Make = (rng: Rng) => RuntimeCase;

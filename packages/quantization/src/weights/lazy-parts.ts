import {
  byteLengthOf,
  type DType,
  elementsOf,
  errors,
  lazyTensor,
  type Tensor,
  type TensorSource,
} from '@lithe/core';

/** Dtype and shape of one result of a computation. */
export interface PartSpec {
  /** Element type. */
  readonly dtype: DType;
  /** Dims. */
  readonly shape: readonly number[];
}

/**
 * Lazy tensors that come out of one computation, such as integers and their scales. Loading the largest computes all
 * and keeps the small ones until each is asked for once, so that a writer that takes the largest first reads the
 * source once; the largest is never kept. Whatever the order of loading, results are the same.
 *
 * @param compute gives a tensor for every part
 */
export function lazyParts<K extends string>(
  parts: Readonly<Record<K, PartSpec>>,
  compute: (signal?: AbortSignal) => Promise<Readonly<Record<K, Tensor>>>,
): Readonly<Record<K, TensorSource>> {
  const names = Object.keys(parts) as K[];
  const bytes = (name: K): number => byteLengthOf(parts[name].dtype, elementsOf(parts[name].shape));
  const largest = names.reduce((best, name) => (bytes(name) > bytes(best) ? name : best));
  const kept = new Map<K, Tensor>();
  const sources = {} as Record<K, TensorSource>;
  for (const name of names) {
    sources[name] = lazyTensor(parts[name].dtype, parts[name].shape, async (signal) => {
      const ready = kept.get(name);
      kept.delete(name);
      if (ready !== undefined) return ready;
      const made = await compute(signal);
      if (name === largest) for (const other of names) if (other !== largest) kept.set(other, made[other]);
      return made[name];
    });
  }
  return sources;
}

/**
 * The elements of a float32 tensor.
 *
 * @throws {LitheError} DTYPE_UNSUPPORTED for another dtype
 */
export function float32Data(tensor: Tensor, what: string): Float32Array {
  if (tensor.dtype !== 'float32') throw errors.dtypeUnsupported(what, tensor.dtype, ['float32']);
  return tensor.data as Float32Array;
}

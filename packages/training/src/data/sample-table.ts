import { type Batch, byteLengthOf, elementsOf, errors, type Feeds, Tensor } from '@lithe/core';

/** Samples that can be read in any order: what training shuffles. */
export interface SampleTable {
  /** Number of samples. */
  readonly size: number;
  /** Where they came from, for reports. */
  readonly description: string;
  /** Joins the samples of these numbers to one batch, in this order. */
  gather(indices: Uint32Array, signal?: AbortSignal): Promise<Batch> | Batch;
}

/** Tensors with the samples as first axis. */
export interface TableArrays {
  /** Model inputs by name. */
  readonly inputs: Feeds;
  /** What the model should say, by name. */
  readonly targets?: Feeds | undefined;
}

/**
 * A table of tensors in memory. `gather` copies whole rows, as bytes.
 *
 * @throws {LitheError} DATA_INVALID when tensors differ in their number of samples, or have no plain rows
 */
export function sampleTable(arrays: TableArrays, description = 'tensors in memory'): SampleTable {
  const named = [...Object.values(arrays.inputs), ...Object.values(arrays.targets ?? {})];
  const size = named[0]?.shape[0];
  if (size === undefined) throw errors.dataInvalid(description, 'it has no samples.');
  for (const tensor of named) {
    if (tensor.shape[0] !== size)
      throw errors.dataInvalid(description, 'its tensors differ in their number of samples.');
    if (tensor.dtype === 'string' || byteLengthOf(tensor.dtype, 1) * tensor.size !== tensor.byteLength) {
      throw errors.dataInvalid(description, `${tensor.dtype} has no rows of whole bytes.`);
    }
  }
  return {
    size,
    description,
    gather: (indices) => ({
      inputs: gatherFeeds(arrays.inputs, indices),
      ...(arrays.targets === undefined ? {} : { targets: gatherFeeds(arrays.targets, indices) }),
      size: indices.length,
    }),
  };
}

function gatherFeeds(feeds: Feeds, indices: Uint32Array): Feeds {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, tensor]) => [name, gatherRows(tensor, indices)]),
  );
}

/** Rows of a tensor along its first axis, in the given order. */
export function gatherRows(tensor: Tensor, indices: Uint32Array): Tensor {
  const rest = tensor.shape.slice(1);
  const width = byteLengthOf(tensor.dtype, elementsOf(rest));
  const source = tensor.bytes;
  const bytes = new Uint8Array(width * indices.length);
  for (let row = 0; row < indices.length; row++) {
    const from = indices[row]! * width;
    bytes.set(source.subarray(from, from + width), row * width);
  }
  return Tensor.fromBytes(tensor.dtype, [indices.length, ...rest], bytes);
}

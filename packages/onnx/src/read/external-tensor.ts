import {
  byteLengthOf,
  type DType,
  elementsOf,
  errors,
  formatShape,
  Tensor,
  type TensorSource,
} from '@lithe/core';
import type { TensorProto } from '../proto/onnx_pb.ts';
import { quoted, type ReadContext } from './context.ts';
import type { ByteSource } from './external.ts';

/** The range of an external data file that a tensor occupies. */
export interface ExternalRange {
  /** File, as the model names it. */
  readonly location: string;
  /** First byte. */
  readonly offset: number;
  /** Number of bytes; `undefined` for the rest of the file. */
  readonly length: number | undefined;
}

/**
 * Reads the entries that say where a tensor lies.
 *
 * @throws {LitheError} TENSOR_INVALID when they do not say it
 */
export function externalRange(proto: TensorProto): ExternalRange {
  const what = `tensor ${quoted(proto.name)}`;
  let location: string | undefined;
  let offset = 0;
  let length: number | undefined;
  for (const { key, value } of proto.externalData) {
    if (key === 'location') location = value;
    else if (key === 'offset') offset = wholeNumber(value, `the offset of ${what}`);
    else if (key === 'length') length = wholeNumber(value, `the length of ${what}`);
  }
  if (location === undefined) throw errors.tensorInvalid(`${what} lies in another file but names none`);
  return { location, offset, length };
}

function wholeNumber(text: string, what: string): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number))
    throw errors.tensorInvalid(`${what} is "${text.slice(0, 40)}", not a whole number`);
  return number;
}

/** Finds and checks the range of a tensor in an opened file. */
export function locateExternal(
  proto: TensorProto,
  bytes: number | undefined,
  what: string,
  context: ReadContext,
): { readonly data: ByteSource; readonly offset: number; readonly length: number } {
  const { location, offset, length } = externalRange(proto);
  const data = context.external.get(location);
  if (data === undefined) {
    throw errors.fileNotFound(location, `${what} of "${context.file}" lies there, and it was not given.`);
  }
  const taken = length ?? bytes ?? data.size - offset;
  if (bytes !== undefined && taken !== bytes) {
    throw errors.tensorInvalid(`${what} takes ${bytes} bytes, its range in "${location}" has ${taken}`);
  }
  if (offset + taken > data.size || taken < 0) {
    throw errors.fileInvalid(
      location,
      `${what} of "${context.file}" lies at bytes ${offset} to ${offset + taken}, and the file has ${data.size}.`,
    );
  }
  return { data, offset, length: taken };
}

/** A tensor whose bytes stay in their file until they are asked for. */
export function readExternalTensor(
  proto: TensorProto,
  dtype: DType,
  shape: readonly number[],
  what: string,
  context: ReadContext,
): TensorSource {
  if (dtype === 'string')
    throw errors.tensorInvalid(`${what} holds texts in another file, which ONNX does not allow`);
  const byteLength = byteLengthOf(dtype, elementsOf(shape));
  const { data, offset } = locateExternal(proto, byteLength, what, context);
  return {
    dtype,
    shape: Object.freeze([...shape]),
    byteLength,
    async load(signal?: AbortSignal): Promise<Tensor> {
      signal?.throwIfAborted();
      const bytes = await data.read(offset, byteLength, signal);
      if (bytes.byteLength !== byteLength) {
        throw errors.fileInvalid(
          externalRange(proto).location,
          `${what} ${formatShape(shape)} could not be read in full; was the file changed?`,
        );
      }
      return Tensor.fromBytes(dtype, shape, bytes);
    },
  };
}

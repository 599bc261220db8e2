import type { TensorSource } from '@lithe/core';
import type { ValueData } from '../read/read-value-proto.ts';
import { Rope } from './rope.ts';
import { ropeBytes } from './write-onnx.ts';
import { tensorRope } from './write-tensor.ts';

/** Options of {@link writeTensorProto} and {@link writeValueProto}. */
export interface WriteValueOptions {
  /** Name of the value. */
  readonly name?: string | undefined;
  /** Stops writing. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes a tensor as a serialized `TensorProto`, as the `.pb` files beside ONNX test models hold it.
 *
 * @throws {LitheError} LIMIT_EXCEEDED when it would pass 2 GiB
 *
 * @example
 * ```ts
 * import { Tensor } from '@lithe/core';
 * import { readTensorProto, writeTensorProto } from '@lithe/onnx';
 *
 * const bytes = await writeTensorProto(Tensor.from('int64', [2], new BigInt64Array([4n, 5n])));
 * readTensorProto(bytes).shape; // => [2]
 * ```
 */
export async function writeTensorProto(
  tensor: TensorSource,
  options: WriteValueOptions = {},
): Promise<Uint8Array> {
  return ropeBytes(await tensorRope(tensor, { name: options.name ?? '' }, options.signal), options.signal);
}

/**
 * Writes a tensor, sequence or optional as a serialized `TensorProto`, `SequenceProto` or `OptionalProto`
 * (onnx-data.proto).
 *
 * @throws {LitheError} LIMIT_EXCEEDED when it would pass 2 GiB
 */
export async function writeValueProto(
  value: ValueData,
  options: WriteValueOptions = {},
): Promise<Uint8Array> {
  return ropeBytes(await valueRope(value, options.name ?? '', options.signal), options.signal);
}

/** In both messages: 1 name, 2 element type, and the field of the kind. */
const fields = { tensor: 3, sequence: 5, optional: 7 } as const;
/** Element types: 0 undefined, 1 tensor, 3 sequence, 5 optional. */
const elementTypes = { tensor: 1, sequence: 3, optional: 5 } as const;

const kindOf = (value: ValueData): keyof typeof fields => ('kind' in value ? value.kind : 'tensor');

async function valueRope(value: ValueData, name: string, signal: AbortSignal | undefined): Promise<Rope> {
  if (!('kind' in value)) return tensorRope(value, { name }, signal);
  const items = value.kind === 'sequence' ? value.items : value.value === null ? [] : [value.value];
  const rope = new Rope();
  if (name !== '') {
    const text = new Rope();
    text.bytes(new TextEncoder().encode(name));
    rope.messageField(1, text);
  }
  const [first] = items;
  rope.bytes(new Uint8Array([2 * 8, first === undefined ? 0 : elementTypes[kindOf(first)]]));
  for (const item of items) rope.messageField(fields[kindOf(item)], await valueRope(item, '', signal));
  return rope;
}

import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { errors } from '@lithe/core';
import type { ReadLimits } from '../limits.ts';
import { scanMessage } from './scan.ts';

/**
 * Decodes a message; byte fields are views of `bytes`.
 *
 * @throws {LitheError} FILE_INVALID when the bytes are not such a message
 * @throws {LitheError} LIMIT_EXCEEDED when the message is larger than the limits allow
 */
export function decodeMessage<D extends DescMessage>(
  desc: D,
  bytes: Uint8Array,
  limits: ReadLimits,
  file: string,
): MessageShape<D> {
  scanMessage(desc, bytes, limits, file);
  try {
    return fromBinary(desc, bytes, { recursionLimit: limits.maxDepth });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw errors.fileInvalid(file, `it is not an ONNX protobuf: ${reason}.`, cause);
  }
}

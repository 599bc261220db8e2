import { errors } from '@lithe/core';
import { gunzipSync, unzlibSync } from 'fflate';

/** Deflate makes at most 1,032 bytes of one; anything that claims more lies. */
const maxRatio = 1040;

/**
 * Expands a gzip file in bounded memory: what it claims to hold is checked before anything is allocated, and no more
 * than that is ever written.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed; LIMIT_EXCEEDED when it holds more than `maxBytes`
 */
export function gunzip(bytes: Uint8Array, name: string, maxBytes: number): Uint8Array {
  if (bytes.length < 18 || bytes[0] !== 0x1f || bytes[1] !== 0x8b)
    throw errors.dataInvalid(name, 'it is not a gzip file.');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(bytes.length - 4, true);
  checkClaim(size, bytes.length, name, maxBytes);
  return expand(name, size, (out) => gunzipSync(bytes, { out }));
}

/**
 * Expands a zlib stream that must give exactly `size` bytes.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed or gives fewer bytes
 */
export function unzlib(bytes: Uint8Array, size: number, name: string): Uint8Array {
  return expand(name, size, (out) => unzlibSync(bytes, { out }));
}

/** Stops where an archive claims to hold more than it can, or than is allowed. */
export function checkClaim(size: number, compressed: number, name: string, maxBytes: number): void {
  if (size > maxBytes) throw errors.limitExceeded('maxBytes', maxBytes, size, `File "${name}"`);
  if (size > compressed * maxRatio + 1024) {
    throw errors.dataInvalid(name, `it claims to expand to ${size} bytes, more than its compression can.`);
  }
}

function expand(name: string, size: number, run: (out: Uint8Array) => Uint8Array): Uint8Array {
  let result: Uint8Array;
  try {
    result = run(new Uint8Array(size));
  } catch (cause) {
    throw errors.dataInvalid(name, 'its compressed data is damaged.', undefined, cause);
  }
  if (result.length !== size) {
    throw errors.dataInvalid(
      name,
      `it expands to ${result.length} bytes instead of ${size}; it may be cut off.`,
    );
  }
  return result;
}

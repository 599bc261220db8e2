/**
 * Messages as bytes, for a worker that lives in another process: a JSON header, then the arrays, each aligned.
 *
 * Layout: the header's length (uint32, little-endian), the header (UTF-8), then the arrays at offsets counted from
 * the first multiple of 8 after the header.
 */

const arrayTypes = /** @type {const} */ ({
  Float32Array,
  Float64Array,
  Int8Array,
  Uint8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
});

/** @typedef {keyof typeof arrayTypes} ArrayName */

const mark = '~array';

/** @param {number} offset */
const aligned = (offset) => (offset + 7) & ~7;

/**
 * Encodes a message. Its arrays are not copied.
 *
 * @param {unknown} message plain objects, arrays, strings, numbers, booleans and typed arrays
 * @returns {Uint8Array<ArrayBuffer>[]} the pieces, in order
 */
export function encodeMessage(message) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const pieces = [];
  let offset = 0;
  const header = JSON.stringify(message, (_key, value) => {
    if (!ArrayBuffer.isView(value)) return value;
    const view = /** @type {Uint8Array<ArrayBuffer>} */ (value);
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const entry = { [mark]: nameOf(value), offset, length: view.length };
    pieces.push(bytes);
    const padding = aligned(bytes.length) - bytes.length;
    if (padding > 0) pieces.push(new Uint8Array(padding));
    offset += bytes.length + padding;
    return entry;
  });
  const text = new TextEncoder().encode(header);
  const head = new Uint8Array(aligned(4 + text.length));
  new DataView(head.buffer).setUint32(0, text.length, true);
  head.set(text, 4);
  return [head, ...pieces];
}

/**
 * The name of a typed array's type; a Node `Buffer` is a `Uint8Array`.
 *
 * @param {ArrayBufferView} value
 * @returns {ArrayName}
 */
function nameOf(value) {
  const name = /** @type {ArrayName} */ (Object.prototype.toString.call(value).slice(8, -1));
  if (!(name in arrayTypes)) throw new TypeError(`A message cannot hold a ${name}.`);
  return name;
}

/**
 * Decodes a message. Every array gets a buffer of its own, so that it can be transferred.
 *
 * @param {ArrayBuffer} buffer
 * @returns {unknown}
 */
export function decodeMessage(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const start = aligned(4 + length);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return JSON.parse(text, (_key, value) => {
    if (typeof value !== 'object' || value === null || !(mark in value)) return value;
    const entry = /** @type {{ '~array': ArrayName, offset: number, length: number }} */ (value);
    const type = arrayTypes[entry[mark]];
    const from = start + entry.offset;
    return new type(buffer.slice(from, from + entry.length * type.BYTES_PER_ELEMENT));
  });
}

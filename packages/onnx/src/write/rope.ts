import type { TensorSource } from '@lithe/core';

/** The bytes of a tensor, loaded when they are written. */
export interface TensorPiece {
  /** Where the bytes come from. */
  readonly source: TensorSource;
  /** Number of bytes. */
  readonly byteLength: number;
}

/** A piece of an encoded file. */
export type Piece = Uint8Array | TensorPiece;

/**
 * A message in encoding: pieces in order, whose total length is known before any weight is loaded. Protobuf puts the
 * length of a message in front of it; with all lengths known, a file is written piece by piece, with one tensor in
 * memory at a time.
 */
export class Rope {
  readonly #pieces: Piece[] = [];
  #byteLength = 0;

  /** Number of bytes. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** The pieces in order. */
  get pieces(): readonly Piece[] {
    return this.#pieces;
  }

  /** Appends encoded bytes. */
  bytes(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    this.#pieces.push(bytes);
    this.#byteLength += bytes.byteLength;
  }

  /** Appends a length-delimited field of bytes that a tensor gives. */
  tensorField(number: number, source: TensorSource): void {
    this.bytes(fieldHead(number, source.byteLength));
    this.#pieces.push({ source, byteLength: source.byteLength });
    this.#byteLength += source.byteLength;
  }

  /** Appends a message as a field. */
  messageField(number: number, message: Rope): void {
    this.bytes(fieldHead(number, message.byteLength));
    for (const piece of message.#pieces) this.#pieces.push(piece);
    this.#byteLength += message.byteLength;
  }
}

/** Tag and length of a length-delimited field. */
function fieldHead(number: number, length: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest of [number * 8 + 2, length]) {
    while (rest > 127) {
      bytes.push((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
  }
  return new Uint8Array(bytes);
}

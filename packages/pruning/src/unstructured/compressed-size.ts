/**
 * Bytes after DEFLATE (RFC 1951, in the wrapping of RFC 1950), by the platform's own `CompressionStream`: what a server
 * that compresses sends. Nothing is kept of what is compressed.
 */
export class CompressedSize {
  readonly #writer: WritableStreamDefaultWriter<BufferSource>;
  readonly #total: Promise<number>;

  constructor() {
    const stream = new CompressionStream('deflate');
    this.#writer = stream.writable.getWriter();
    this.#total = countBytes(stream.readable);
  }

  /** Takes in bytes. */
  async add(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes as Uint8Array<ArrayBuffer>);
  }

  /** Ends the stream and gives its size. */
  async finish(): Promise<number> {
    await this.#writer.close();
    return this.#total;
  }
}

async function countBytes(stream: ReadableStream<Uint8Array>): Promise<number> {
  const reader = stream.getReader();
  let total = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) total += part.value.byteLength;
  return total;
}

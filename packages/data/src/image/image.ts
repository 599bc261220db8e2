/** A decoded image: 8 bits a channel, red-green-blue, row by row from the top left. */
export interface Image {
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** `3 * width * height` bytes: R, G, B, R, … Transparency is dropped. */
  readonly rgb: Uint8Array;
}

/** Decodes what the built-in decoders do not know, through the platform: a browser, or `sharp` in Node. */
export type PlatformDecoder = (bytes: Uint8Array, name: string, maxPixels: number) => Promise<Image>;

import { errors } from '@lithe/core';
import { unzlib } from '../inflate.ts';
import type { Image } from './image.ts';

/** Header of a PNG file. */
interface PngHeader {
  readonly width: number;
  readonly height: number;
  /** Bits of one sample. */
  readonly depth: number;
  /** 0 grey, 2 colour, 3 palette, 4 grey with alpha, 6 colour with alpha. */
  readonly colour: number;
  readonly channels: number;
  readonly interlaced: boolean;
}

const channelsOf: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const depthsOf: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/** The passes of Adam7: first column and row, and steps. */
const adam7: readonly (readonly [number, number, number, number])[] = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/**
 * Decodes a PNG image of any colour type, depth and interlacing to 8-bit RGB. Written here, and not taken from a
 * library, because memory must stay bounded: the pixel data is expanded into exactly the bytes that the header asks
 * for, and chunks that are not needed (text, profiles) are never expanded. 16-bit samples keep their upper byte, alpha
 * is dropped, as common loaders do.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed; LIMIT_EXCEEDED when it has more than `maxPixels`
 * @see W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 2025
 */
export function decodePng(bytes: Uint8Array, name: string, maxPixels: number): Image {
  const { header, palette, data } = readChunks(bytes, name, maxPixels);
  const passes = header.interlaced ? adam7 : ([[0, 0, 1, 1]] as const);
  let total = 0;
  const sizes = passes.map(([column, row, stepX, stepY]) => {
    const width = Math.max(0, Math.ceil((header.width - column) / stepX));
    const height = Math.max(0, Math.ceil((header.height - row) / stepY));
    const stride = Math.ceil((width * header.channels * header.depth) / 8);
    if (width > 0) total += height * (stride + 1);
    return { width, height, stride };
  });
  const raw = unzlib(data, total, name);
  const rgb = new Uint8Array(3 * header.width * header.height);
  let start = 0;
  passes.forEach(([column, row, stepX, stepY], index) => {
    const { width, height, stride } = sizes[index] as { width: number; height: number; stride: number };
    if (width === 0 || height === 0) return;
    const pass = raw.subarray(start, start + height * (stride + 1));
    start += pass.length;
    unfilter(pass, { height, stride, unit: Math.max(1, (header.channels * header.depth) >> 3) }, name);
    for (let y = 0; y < height; y++) {
      const line = pass.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1));
      const to = 3 * ((row + y * stepY) * header.width + column);
      writeLine(line, { header, palette, width, step: 3 * stepX }, rgb, to);
    }
  });
  return { width: header.width, height: header.height, rgb };
}

function readChunks(
  bytes: Uint8Array,
  name: string,
  maxPixels: number,
): { readonly header: PngHeader; readonly palette: Uint8Array; readonly data: Uint8Array } {
  const invalid = (problem: string): Error => errors.dataInvalid(name, problem);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header: PngHeader | undefined;
  let palette: Uint8Array = new Uint8Array(0);
  const parts: Uint8Array[] = [];
  for (let offset = 8; offset + 12 <= bytes.length; ) {
    const length = view.getUint32(offset, false);
    const kind = String.fromCharCode(...bytes.subarray(offset + 4, offset + 8));
    const body = bytes.subarray(offset + 8, offset + 8 + length);
    if (body.length !== length || offset + 12 + length > bytes.length)
      throw invalid('the PNG image is cut off.');
    if (kind === 'IHDR') header = readHeader(body, name, maxPixels);
    else if (kind === 'PLTE') palette = body;
    else if (kind === 'IDAT') parts.push(body);
    else if (kind === 'IEND') break;
    offset += 12 + length;
  }
  if (header === undefined) throw invalid('the PNG image has no header.');
  if (header.colour === 3 && palette.length < 3) throw invalid('the PNG image has no palette.');
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let start = 0;
  for (const part of parts) {
    data.set(part, start);
    start += part.length;
  }
  return { header, palette, data };
}

function readHeader(body: Uint8Array, name: string, maxPixels: number): PngHeader {
  const invalid = (problem: string): Error => errors.dataInvalid(name, problem);
  if (body.length !== 13) throw invalid('the header of the PNG image is malformed.');
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const width = view.getUint32(0, false);
  const height = view.getUint32(4, false);
  const [depth = 0, colour = 0, , , interlace = 0] = body.subarray(8);
  if (width === 0 || height === 0) throw invalid('the PNG image has no pixels.');
  if (width * height > maxPixels)
    throw errors.limitExceeded('maxPixels', maxPixels, width * height, `Image "${name}"`);
  const channels = channelsOf[colour];
  if (channels === undefined || depthsOf[colour]?.includes(depth) !== true || interlace > 1) {
    throw invalid(`the PNG image has colour type ${colour} with ${depth} bits and interlacing ${interlace}.`);
  }
  return { width, height, depth, colour, channels, interlaced: interlace === 1 };
}

/** Undoes the filters of all lines, in place (section 9 of the specification). */
function unfilter(
  pass: Uint8Array,
  { height, stride, unit }: { readonly height: number; readonly stride: number; readonly unit: number },
  name: string,
): void {
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1) + 1;
    const filter = pass[start - 1]!;
    if (filter > 4) throw errors.dataInvalid(name, `the PNG image uses filter ${filter}; 0 to 4 exist.`);
    if (filter === 0) continue;
    const above = start - stride - 1;
    for (let x = 0; x < stride; x++) {
      const left = x >= unit ? pass[start + x - unit]! : 0;
      const up = y > 0 ? pass[above + x]! : 0;
      let predicted = left;
      if (filter === 2) predicted = up;
      else if (filter === 3) predicted = (left + up) >> 1;
      else if (filter === 4) {
        const corner = y > 0 && x >= unit ? pass[above + x - unit]! : 0;
        const guess = left + up - corner;
        const toLeft = Math.abs(guess - left);
        const toUp = Math.abs(guess - up);
        const toCorner = Math.abs(guess - corner);
        predicted = toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
      }
      pass[start + x] = pass[start + x]! + predicted;
    }
  }
}

/** Writes one line of samples as RGB, every `step` bytes from `to` on. */
function writeLine(
  line: Uint8Array,
  how: {
    readonly header: PngHeader;
    readonly palette: Uint8Array;
    readonly width: number;
    readonly step: number;
  },
  rgb: Uint8Array,
  to: number,
): void {
  const { header, palette, width, step } = how;
  const { depth, channels, colour } = header;
  const mask = (1 << depth) - 1;
  const spread = 255 / mask;
  const bytes = depth >> 3;
  for (let x = 0, at = to; x < width; x++, at += step) {
    if (depth < 8) {
      const bit = x * depth;
      const sample = (line[bit >> 3]! >> (8 - depth - (bit & 7))) & mask;
      if (colour === 3) copyEntry(palette, sample, rgb, at);
      else rgb.fill(sample * spread, at, at + 3);
      continue;
    }
    const from = x * channels * bytes;
    if (colour === 3) copyEntry(palette, line[from]!, rgb, at);
    else if (channels < 3) rgb.fill(line[from]!, at, at + 3);
    else {
      rgb[at] = line[from]!;
      rgb[at + 1] = line[from + bytes]!;
      rgb[at + 2] = line[from + 2 * bytes]!;
    }
  }
}

/** An index beyond the palette gives black, as the specification allows. */
function copyEntry(palette: Uint8Array, index: number, rgb: Uint8Array, at: number): void {
  rgb[at] = palette[3 * index] ?? 0;
  rgb[at + 1] = palette[3 * index + 1] ?? 0;
  rgb[at + 2] = palette[3 * index + 2] ?? 0;
}

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { unzlibSync } from 'fflate';

/** Path of a fixture; `make-fixtures.py` wrote them. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
}

/** Bytes of a fixture. */
export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(fixturePath(name)));
}

interface Pixels {
  readonly rgb: string;
}

/** What Pillow makes of the images. */
export const expectedImages = JSON.parse(readFileSync(fixturePath('images.json'), 'utf8')) as Readonly<
  Record<string, Pixels & { readonly shape: readonly [number, number, number] }>
> & {
  readonly resized: readonly (Pixels & {
    readonly width: number;
    readonly height: number;
    readonly interpolation: 'nearest' | 'bilinear' | 'bicubic';
  })[];
  readonly grey: string;
};

/** Expands pixels of {@link expectedImages}. */
export function pixelsOf(hex: string): Uint8Array {
  return unzlibSync(Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)));
}

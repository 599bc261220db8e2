import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isLitheError, type Tensor } from '@lithe/core';
import { readNpy, writeNpy } from '../npy.ts';
import type { SampleCache } from '../sample-cache.ts';

/**
 * A cache in a folder: one NPY file a sample, written beside and renamed, so that a run which was killed goes on where
 * it stopped. Keys are hashes of contents and configuration; a damaged entry is decoded anew.
 *
 * @param folder made when the first sample is kept
 */
export function folderCache(folder: string): SampleCache {
  const fileOf = (key: string): string => path.join(folder, key.slice(0, 2), `${key}.npy`);
  return {
    get: async (key): Promise<Tensor | undefined> => {
      let bytes: Uint8Array;
      try {
        bytes = await readFile(fileOf(key));
      } catch {
        // Not there, or not readable: then it is decoded.
        return undefined;
      }
      try {
        return await readNpy(bytes, fileOf(key));
      } catch (error) {
        if (isLitheError(error)) return undefined;
        throw error;
      }
    },
    put: async (key, tensor) => {
      const file = fileOf(key);
      await mkdir(path.dirname(file), { recursive: true });
      const temporary = `${file}.${randomUUID()}.tmp`;
      await writeFile(temporary, writeNpy(tensor));
      await rename(temporary, file);
    },
  };
}

import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errors } from '@lithe/core';
import type { CheckpointStore } from '../checkpoint/store.ts';

/**
 * Keeps checkpoints in a file. A new one is written beside it, brought to the disk, and renamed: whatever happens, the
 * file holds a whole checkpoint, the old one or the new one.
 *
 * @param path the `.safetensors` file
 */
export function fileCheckpoints(path: string): CheckpointStore {
  return {
    read: async (signal) => {
      try {
        return new Uint8Array(await readFile(path, { signal }));
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        if (signal?.aborted === true) throw cause;
        throw errors.fileNotFound(path, cause instanceof Error ? cause.message : String(cause), cause);
      }
    },
    write: async (bytes) => {
      await mkdir(dirname(path), { recursive: true });
      const temporary = `${path}.tmp`;
      const handle = await open(temporary, 'w');
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, path);
    },
  };
}

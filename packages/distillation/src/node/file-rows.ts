import { mkdir, open, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errors } from '@lithe/core';
import type { RowStore } from '../teacher/row-store.ts';

/** What the file beside the rows says. */
interface Header {
  readonly identity: string;
  readonly rowBytes: number;
}

/**
 * Keeps rows in a file, and what they are of in a `.json` beside it. A run that was stopped left whole rows and
 * perhaps half of one, which is cut off: it goes on where it was.
 *
 * @param path the file of rows
 */
export function fileRows(path: string): RowStore {
  const headerPath = `${path}.json`;
  const header = async (): Promise<Header | undefined> => {
    const text = await readFile(headerPath, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined;
      throw errors.fileNotFound(headerPath, cause.message, cause);
    });
    return text === undefined ? undefined : headerOf(headerPath, text);
  };
  const known = async (): Promise<Header> => {
    const found = await header();
    if (found === undefined) throw errors.fileInvalid(headerPath, 'it is missing.');
    return found;
  };
  return {
    identity: async () => (await header())?.identity,
    reset: async (identity, rowBytes) => {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, new Uint8Array(0));
      await writeFile(`${headerPath}.tmp`, JSON.stringify({ identity, rowBytes } satisfies Header));
      await rename(`${headerPath}.tmp`, headerPath);
    },
    rows: async () => {
      const { rowBytes } = await known();
      const handle = await open(path, 'r');
      try {
        const { size } = await handle.stat();
        const whole = Math.floor(size / rowBytes);
        if (size > whole * rowBytes) await truncate(path, whole * rowBytes);
        return whole;
      } finally {
        await handle.close();
      }
    },
    append: async (bytes) => {
      const handle = await open(path, 'a');
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
    read: async (indices) => {
      const { rowBytes } = await known();
      const result = new Uint8Array(indices.length * rowBytes);
      const handle = await open(path, 'r');
      try {
        for (let row = 0; row < indices.length; row++) {
          const { bytesRead } = await handle.read(result, row * rowBytes, rowBytes, indices[row]! * rowBytes);
          if (bytesRead !== rowBytes) throw errors.fileInvalid(path, `it has no row ${indices[row]}.`);
        }
        return result;
      } finally {
        await handle.close();
      }
    },
  };
}

function headerOf(path: string, text: string): Header {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw errors.fileInvalid(path, 'it is no JSON.', cause);
  }
  const { identity, rowBytes } = parsed as Partial<Header>;
  if (typeof identity !== 'string' || !Number.isInteger(rowBytes) || (rowBytes as number) < 1)
    throw errors.fileInvalid(path, 'it does not describe rows.');
  return { identity, rowBytes: rowBytes as number };
}

import { open, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { errors } from '@lithe/core';
import { type ByteSource, type DataFile, sortFiles } from '../byte-source.ts';

/** Most files that a folder may hold. */
const maxFiles = 1_000_000;

const reasonOf = (error: unknown): string => `${error instanceof Error ? error.message : String(error)}.`;

/**
 * A file as a source; only the ranges that are asked for are read, and it is not kept open.
 *
 * @throws {LitheError} FILE_NOT_FOUND when it is not there, cannot be read, or is no plain file
 */
export async function fileSource(file: string): Promise<ByteSource> {
  let size: number;
  try {
    const facts = await stat(file);
    if (!facts.isFile()) throw new Error('it is not a plain file');
    size = facts.size;
  } catch (cause) {
    throw errors.fileNotFound(file, reasonOf(cause), cause);
  }
  return { name: file, size, read: (start, end) => readRange(file, start, end) };
}

async function readRange(file: string, start: number, end: number): Promise<Uint8Array> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, 'r');
  } catch (cause) {
    throw errors.fileNotFound(file, reasonOf(cause), cause);
  }
  try {
    const bytes = new Uint8Array(end - start);
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await handle.read(
        bytes,
        done,
        Math.min(bytes.length - done, 2 ** 30),
        start + done,
      );
      if (bytesRead === 0) throw errors.dataInvalid(file, 'it became shorter while it was read.');
      done += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

/**
 * All files of a folder and the folders in it, or the one file that `location` names; sorted by path. Hidden files,
 * and links to folders, are passed over.
 *
 * @throws {LitheError} FILE_NOT_FOUND when it is not there; LIMIT_EXCEEDED for more than a million files
 */
export async function listFiles(location: string): Promise<readonly DataFile[]> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(location)).isDirectory();
  } catch (cause) {
    throw errors.fileNotFound(location, reasonOf(cause), cause);
  }
  if (!isFolder) return [{ path: path.basename(location), source: await fileSource(location) }];
  const files: DataFile[] = [];
  const folders = [''];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(path.join(location, folder), { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const relative = `${folder}${entry.name}`;
      if (entry.isDirectory()) folders.push(`${relative}/`);
      else if (
        entry.isFile() ||
        (entry.isSymbolicLink() && (await isLinkedFile(path.join(location, relative))))
      ) {
        files.push({ path: relative, source: await fileSource(path.join(location, relative)) });
        if (files.length > maxFiles)
          throw errors.limitExceeded('files', maxFiles, files.length, `Folder "${location}"`);
      }
    }
  }
  return sortFiles(files);
}

async function isLinkedFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch {
    // A link that leads nowhere is no file.
    return false;
  }
}

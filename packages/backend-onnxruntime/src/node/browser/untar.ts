import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { errors } from '@lithe/core';

const block = 512;

/**
 * Unpacks a tar archive: the plain files, folders and links of POSIX ustar, and nothing that leaves the folder.
 *
 * @see IEEE Std 1003.1, pax interchange format, "ustar Interchange Format"
 */
export async function untar(archive: Uint8Array, folder: string): Promise<void> {
  const root = path.resolve(folder);
  const inside = (name: string): string => {
    const file = path.resolve(root, name);
    if (file !== root && !file.startsWith(root + path.sep)) throw errors.pathEscapes(name, root);
    return file;
  };
  for (let at = 0; at + block <= archive.length; ) {
    const header = archive.subarray(at, at + block);
    const name = field(header, 0, 100);
    if (name === '') break;
    const prefix = field(header, 345, 155);
    const size = Number.parseInt(field(header, 124, 12), 8);
    const mode = Number.parseInt(field(header, 100, 8), 8);
    if (!Number.isSafeInteger(size) || at + block + size > archive.length) {
      throw errors.fileInvalid(name, 'the archive is truncated.');
    }
    const file = inside(prefix === '' ? name : `${prefix}/${name}`);
    const kind = field(header, 156, 1);
    if (kind === '5') await mkdir(file, { recursive: true });
    else if (kind === '2') {
      const target = field(header, 157, 100);
      inside(path.relative(root, path.resolve(path.dirname(file), target)));
      await mkdir(path.dirname(file), { recursive: true });
      await symlink(target, file);
    } else if (kind === '0' || kind === '') {
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, archive.subarray(at + block, at + block + size), { mode: mode & 0o777 });
    }
    at += block + Math.ceil(size / block) * block;
  }
}

function field(header: Uint8Array, start: number, length: number): string {
  const bytes = header.subarray(start, start + length);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)).trim();
}

import { close, fstat, open as openFile, read as readFile, type Stats } from 'node:fs';
import { lstat, realpath } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { promisify } from 'node:util';
import { errors } from '@lithe/core';
import { type ByteSource, checkLocation } from '../read/external.ts';

const openAsync = promisify(openFile);
const closeAsync = promisify(close);
const statAsync = promisify(fstat) as (descriptor: number) => Promise<Stats>;
const readAsync = promisify(readFile);

/** Most bytes asked of the operating system at once; some refuse 2 GiB and more. */
const readChunkBytes = 2 ** 30;

/**
 * Files that are kept open for as long as their tensors live. An open file stays readable when another takes its
 * name, so that a model can be saved over itself; but descriptors are few, so a model in hundreds of files opens
 * each when it is read.
 */
const keptOpen = 16;

const closer = new FinalizationRegistry<number>((descriptor) => {
  close(descriptor, () => undefined);
});

/** Reads exactly `length` bytes at `offset`, or fewer where the file ends. */
export async function readRange(
  descriptor: number,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    signal?.throwIfAborted();
    const { bytesRead } = await readAsync(
      descriptor,
      bytes,
      done,
      Math.min(length - done, readChunkBytes),
      offset + done,
    );
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done === length ? bytes : bytes.subarray(0, done);
}

/** Opens external data files beside a model, and refuses whatever is not plainly there. */
export class FolderOpener {
  readonly #model: string;
  readonly #followLinks: boolean;
  #opened = 0;

  /**
   * @param model path of the model
   * @param followLinks whether links may lead out of the folder
   */
  constructor(model: string, followLinks: boolean) {
    this.#model = resolve(model);
    this.#followLinks = followLinks;
  }

  /**
   * Opens a location.
   *
   * @returns `undefined` when there is no such file
   * @throws {LitheError} PATH_ESCAPES when it leads out of the folder, or is a link, a device or the model itself
   */
  async open(location: string): Promise<ByteSource | undefined> {
    const folder = dirname(this.#model);
    const parts = checkLocation(location, folder);
    const named = join(folder, ...parts);
    let path: string;
    try {
      path = await realpath(named);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw errors.fileNotFound(
        named,
        `it cannot be opened (${String((cause as NodeJS.ErrnoException).code)}).`,
        cause,
      );
    }
    if (!this.#followLinks && !isInside(path, await realpath(folder)))
      throw errors.pathEscapes(location, folder);
    const found = await lstat(path);
    const model = await lstat(await realpath(this.#model));
    const isModel = found.ino === model.ino && found.dev === model.dev;
    // A second name of the same file may lie anywhere; there is no telling where.
    const linked = found.nlink > 1 && !this.#followLinks;
    if (!found.isFile() || isModel || linked) throw errors.pathEscapes(location, folder);
    const descriptor = await openChecked(path, found);
    if (this.#opened++ < keptOpen) return new KeptSource(path, found.size, descriptor);
    await closeAsync(descriptor);
    return {
      size: found.size,
      read: async (offset, length, signal) => {
        const again = await openChecked(path, found);
        try {
          return await readRange(again, offset, length, signal);
        } finally {
          await closeAsync(again);
        }
      },
    };
  }
}

class KeptSource implements ByteSource {
  readonly size: number;
  readonly #path: string;
  readonly #descriptor: number;

  constructor(path: string, size: number, descriptor: number) {
    this.#path = path;
    this.size = size;
    this.#descriptor = descriptor;
    closer.register(this, descriptor);
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    try {
      return await readRange(this.#descriptor, offset, length, signal);
    } catch (cause) {
      signal?.throwIfAborted();
      throw errors.fileInvalid(this.#path, 'it cannot be read.', cause);
    }
  }
}

/** Opens a file that was looked at before, and makes sure that it is still the same. */
async function openChecked(path: string, expected: Stats): Promise<number> {
  let descriptor: number;
  try {
    descriptor = await openAsync(path, 'r');
  } catch (cause) {
    throw errors.fileNotFound(
      path,
      `it cannot be opened (${String((cause as NodeJS.ErrnoException).code)}).`,
      cause,
    );
  }
  const found = await statAsync(descriptor);
  const same = found.ino === expected.ino && found.dev === expected.dev && found.size === expected.size;
  if (same && found.mtimeMs === expected.mtimeMs) return descriptor;
  await closeAsync(descriptor);
  throw errors.fileInvalid(path, 'it was changed since the model was read.');
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && resolve(folder, way) === path;
}

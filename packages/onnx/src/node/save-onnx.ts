import { constants, renameSync } from 'node:fs';
import { copyFile, type FileHandle, lstat, mkdir, open, realpath, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errors, type Model, type TensorSource } from '@lithe/core';
import { modelExtras } from '../extras.ts';
import { checkLocation } from '../read/external.ts';
import type { Piece } from '../write/rope.ts';
import {
  encodeFor,
  maxProtobufBytes,
  pieceBytes,
  unchangedBytes,
  type WriteOptions,
} from '../write/write-onnx.ts';
import type { ExternalPlace } from '../write/write-tensor.ts';

/** When weights go into a file beside the model. */
export type ExternalChoice = 'auto' | 'always' | 'never';

/** Options of {@link saveOnnx}. */
export interface SaveOptions extends WriteOptions {
  /** `auto` (default): when the model file would pass {@link externalDataAbove}; `always`; or `never`. */
  readonly externalData?: ExternalChoice | undefined;
  /**
   * Size of the model file in bytes above which `auto` moves weights out. Default 1.9e9: protobuf ends at 2^31 - 1,
   * and runtimes need some room below it.
   */
  readonly externalDataAbove?: number | undefined;
  /** Tensors below this many bytes stay in the model file. Default 1024: runtimes read shapes and axes from there. */
  readonly externalTensorBytes?: number | undefined;
  /**
   * Size in bytes that a data file does not pass: further ones are named `_data_1`, `_data_2`, …, as transformers.js
   * asks for them. A tensor is never split, so a larger one has a file of its own. By default there is one file of any
   * size.
   */
  readonly externalFileBytes?: number | undefined;
}

/** What {@link saveOnnx} wrote. */
export interface SaveReport {
  /** Bytes of all files. */
  readonly bytes: number;
  /** Paths of the files, the model first. */
  readonly files: readonly string[];
}

/** Bytes to which tensors of a megabyte and more are aligned, so that runtimes can map them into memory. */
const pageBytes = 4096;
/** Bytes to which smaller ones are aligned: a cache line, and the widest vector load. */
const lineBytes = 64;

/**
 * Saves a model, tensor by tensor, so that one weight at a time is in memory. The files are written under temporary
 * names and renamed when they are whole: an interrupted save leaves what was there before, and a model may be saved
 * over the file it is being read from. A model that nothing changed gives its file back byte for byte.
 *
 * @param path the `.onnx` file; weights beside it go to the same name with `_data` behind it
 * @returns what was written
 * @throws {LitheError} LIMIT_EXCEEDED when the model file alone would pass 2 GiB
 * @throws {LitheError} FILE_NOT_WRITTEN when the folder cannot be written
 */
export async function saveOnnx(model: Model, path: string, options: SaveOptions = {}): Promise<SaveReport> {
  const target = resolve(path);
  const original = await unchangedBytes(model, options);
  const asked = options.externalData !== undefined && options.externalData !== 'auto';
  if (original !== undefined && !asked && (await bringExternal(model, target))) {
    await writeFiles([{ path: target, pieces: [original] }], options.signal);
    return { bytes: original.byteLength, files: [target] };
  }
  const choice = options.externalData ?? 'auto';
  if (choice !== 'always') {
    const rope = await encodeFor(model, options);
    const limit = choice === 'never' ? maxProtobufBytes : (options.externalDataAbove ?? 1.9e9);
    if (rope.byteLength <= Math.min(limit, maxProtobufBytes)) {
      await writeFiles([{ path: target, pieces: rope.pieces }], options.signal);
      return { bytes: rope.byteLength, files: [target] };
    }
    if (choice === 'never') throw tooLarge(target, rope.byteLength);
  }
  return saveWithData(model, target, options);
}

function tooLarge(target: string, bytes: number): Error {
  return errors.limitExceeded('maxFileBytes', maxProtobufBytes, bytes, `The model file "${target}"`);
}

async function saveWithData(model: Model, target: string, options: SaveOptions): Promise<SaveReport> {
  const plan = new DataPlan(`${basename(target)}_data`, {
    smallest: options.externalTensorBytes ?? 1024,
    largest: options.externalFileBytes ?? Number.POSITIVE_INFINITY,
  });
  const rope = await encodeFor(model, options, (source) => plan.place(source));
  if (rope.byteLength > maxProtobufBytes) throw tooLarge(target, rope.byteLength);
  // The data first: a model must never name a file that is not there.
  const data = plan.files.map(({ location, pieces }) => ({ path: join(dirname(target), location), pieces }));
  await writeFiles([...data, { path: target, pieces: rope.pieces }], options.signal);
  const dataBytes = plan.files.reduce((sum, file) => sum + file.byteLength, 0);
  return { bytes: rope.byteLength + dataBytes, files: [target, ...data.map(({ path }) => path)] };
}

/** One data file. */
interface DataFile {
  readonly location: string;
  readonly pieces: Piece[];
  byteLength: number;
}

/** Gives tensors their places in the data files; a tensor used twice is written once. */
class DataPlan {
  readonly files: DataFile[] = [];
  readonly #name: string;
  readonly #sizes: { readonly smallest: number; readonly largest: number };
  readonly #places = new Map<TensorSource, ExternalPlace>();

  constructor(name: string, sizes: { readonly smallest: number; readonly largest: number }) {
    this.#name = name;
    this.#sizes = sizes;
  }

  place(source: TensorSource): ExternalPlace | undefined {
    const bytes = source.byteLength;
    if (source.dtype === 'string' || bytes < this.#sizes.smallest) return undefined;
    const known = this.#places.get(source);
    if (known !== undefined) return known;
    const step = bytes >= 2 ** 20 ? pageBytes : lineBytes;
    const room = (file: DataFile): number => (step - (file.byteLength % step)) % step;
    let file = this.files.at(-1);
    if (file === undefined || file.byteLength + room(file) + bytes > this.#sizes.largest) file = this.#open();
    const gap = room(file);
    if (gap > 0) file.pieces.push(new Uint8Array(gap));
    const place = { location: file.location, offset: file.byteLength + gap, length: bytes };
    file.pieces.push({ source, byteLength: bytes });
    file.byteLength += gap + bytes;
    this.#places.set(source, place);
    return place;
  }

  #open(): DataFile {
    const count = this.files.length;
    const file = { location: count === 0 ? this.#name : `${this.#name}_${count}`, pieces: [], byteLength: 0 };
    this.files.push(file);
    return file;
  }
}

/** One file to write. */
interface FilePlan {
  readonly path: string;
  readonly pieces: readonly Piece[];
}

/** Writes files under temporary names, then gives all of them their names in one go. */
async function writeFiles(files: readonly FilePlan[], signal: AbortSignal | undefined): Promise<void> {
  const temporary: string[] = [];
  try {
    for (const file of files) {
      const { handle, path } = await openTemporary(file.path);
      temporary.push(path);
      try {
        await writePieces(handle, file.pieces, signal);
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
    signal?.throwIfAborted();
    // In one turn of the event loop, so that no signal handler runs in between.
    files.forEach((file, index) => {
      renameSync(temporary[index] as string, file.path);
    });
  } catch (cause) {
    for (const path of temporary) await unlink(path).catch(() => undefined);
    if (isSystemError(cause))
      throw errors.fileNotWritten(files[0]?.path ?? '', `${cause.code}: ${cause.message}`, cause);
    throw cause;
  }
}

async function openTemporary(path: string): Promise<{ readonly handle: FileHandle; readonly path: string }> {
  for (let attempt = 0; ; attempt++) {
    const name = join(dirname(path), `.${basename(path)}.${process.pid}-${attempt}.tmp`);
    try {
      return { handle: await open(name, 'wx'), path: name };
    } catch (cause) {
      if (!isSystemError(cause) || cause.code !== 'EEXIST' || attempt > 1000) throw cause;
    }
  }
}

/** Small pieces are gathered, because a write each would cost more than the bytes. */
const bufferBytes = 2 ** 20;

async function writePieces(
  handle: FileHandle,
  pieces: readonly Piece[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const buffer = new Uint8Array(bufferBytes);
  let used = 0;
  const writeAll = async (bytes: Uint8Array): Promise<void> => {
    let done = 0;
    while (done < bytes.byteLength) {
      const { bytesWritten } = await handle.write(bytes, done, Math.min(bytes.byteLength - done, 2 ** 30));
      done += bytesWritten;
    }
  };
  for (const piece of pieces) {
    const bytes = await pieceBytes(piece, signal);
    if (used + bytes.byteLength > bufferBytes) {
      await writeAll(buffer.subarray(0, used));
      used = 0;
    }
    if (bytes.byteLength > bufferBytes) await writeAll(bytes);
    else {
      buffer.set(bytes, used);
      used += bytes.byteLength;
    }
  }
  await writeAll(buffer.subarray(0, used));
}

/**
 * Makes sure that the external data of an unchanged model lies beside `target`: it does in the folder the model came
 * from, and is copied elsewhere, unless a file of that name is there already.
 */
async function bringExternal(model: Model, target: string): Promise<boolean> {
  const locations = model.meta.get(modelExtras)?.locations ?? [];
  if (locations.length === 0) return true;
  const from = model.origin?.path;
  if (from === undefined) return false;
  const source = dirname(from);
  const folder = dirname(target);
  if ((await realpath(source).catch(() => source)) === (await realpath(folder).catch(() => folder)))
    return true;
  const copies = locations.map((location) => checkLocation(location, source));
  for (const parts of copies) {
    if ((await lstat(join(folder, ...parts)).catch(() => undefined)) !== undefined) return false;
  }
  for (const parts of copies) {
    const goal = join(folder, ...parts);
    await mkdir(dirname(goal), { recursive: true });
    await copyFile(join(source, ...parts), goal, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
  return true;
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string' && 'errno' in error
  );
}

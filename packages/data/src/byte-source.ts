import { errors } from '@lithe/core';

/** Random access to the bytes of a file, of a `Blob`, or in memory. */
export interface ByteSource {
  /** Name or path, for messages and for telling formats apart. */
  readonly name: string;
  /** Number of bytes. */
  readonly size: number;
  /**
   * Reads the bytes `[start, end)`. They may share memory with the source.
   *
   * @throws {LitheError} DATA_INVALID when the bytes are not there any more; FILE_NOT_FOUND
   */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** A file among others: its path relative to their folder, with `/`, and its bytes. */
export interface DataFile {
  /** Relative path, such as `train/cat/1.png`. */
  readonly path: string;
  /** Its bytes. */
  readonly source: ByteSource;
}

/** What data may cost to read. Files are taken to be hostile. */
export interface DataLimits {
  /** Most bytes that one file, or one entry of an archive, may take in memory; 2 GiB by default. */
  readonly maxBytes?: number | undefined;
  /** Most pixels that one image may have; 64 Mi by default. */
  readonly maxPixels?: number | undefined;
}

/** The default of {@link DataLimits.maxBytes}. */
export const defaultMaxBytes: number = 2 ** 31;

/** The default of {@link DataLimits.maxPixels}. */
export const defaultMaxPixels: number = 2 ** 26;

/** Bytes in memory as a source. */
export function bytesSource(bytes: Uint8Array, name = 'bytes in memory'): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    read: (start, end) => Promise.resolve(bytes.subarray(start, end)),
  };
}

/** A `Blob` or `File` as a source; only the ranges that are asked for are read. */
export function blobSource(blob: Blob, name?: string): ByteSource {
  return {
    name: name ?? ('name' in blob ? String(blob.name) : 'blob'),
    size: blob.size,
    read: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
  };
}

/**
 * The files of a folder input or a drop, as {@link DataFile}s sorted by path. A picked folder's own name is dropped
 * from the paths.
 *
 * @param files as a browser gives them
 */
export function filesFromBrowser(files: Iterable<File>): readonly DataFile[] {
  const listed: DataFile[] = [];
  for (const file of files) {
    const relative = (file as { readonly webkitRelativePath?: string }).webkitRelativePath ?? '';
    const path = relative === '' ? file.name : relative.slice(relative.indexOf('/') + 1);
    listed.push({ path, source: blobSource(file, path) });
  }
  return sortFiles(listed);
}

/** Sorts by path; digits compare as numbers, so that `x_10` follows `x_9`. The order does not depend on the locale. */
export function sortFiles(files: readonly DataFile[]): readonly DataFile[] {
  return [...files].sort((left, right) => comparePaths(left.path, right.path));
}

/** Compares two paths, runs of digits as numbers. */
export function comparePaths(left: string, right: string): number {
  const a = left.match(/\d+|\D/g) ?? [];
  const b = right.match(/\d+|\D/g) ?? [];
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const one = a[index] as string;
    const other = b[index] as string;
    const difference = Number(one) - Number(other);
    const numbers = /^\d/.test(one) && /^\d/.test(other) && difference !== 0;
    if (numbers) return difference;
    if (one !== other) return one < other ? -1 : 1;
  }
  return a.length - b.length;
}

/**
 * Reads a whole source.
 *
 * @throws {LitheError} LIMIT_EXCEEDED when it is larger than `maxBytes`
 */
export async function readAll(source: ByteSource, maxBytes: number = defaultMaxBytes): Promise<Uint8Array> {
  if (source.size > maxBytes)
    throw errors.limitExceeded('maxBytes', maxBytes, source.size, `File "${source.name}"`);
  const bytes = await source.read(0, source.size);
  if (bytes.byteLength !== source.size) {
    throw errors.dataInvalid(source.name, `${bytes.byteLength} of ${source.size} bytes could be read.`);
  }
  return bytes;
}

import { errors } from '@lithe/core';

/** Random access to the bytes of an external data file. */
export interface ByteSource {
  /** Bytes in all. */
  readonly size: number;
  /**
   * Reads a range, which the caller has checked to lie inside.
   *
   * @throws {LitheError} FILE_NOT_FOUND or FILE_INVALID when the bytes cannot be had (any more)
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
}

/** Opens external data by the location that the model names; `undefined` when there is none of that name. */
export type ExternalOpener = (location: string) => Promise<ByteSource | undefined>;

/** External data in memory or as `Blob`s, by location. */
export type ExternalData =
  | ReadonlyMap<string, Uint8Array | Blob>
  | Readonly<Record<string, Uint8Array | Blob>>;

/**
 * Checks a location that a model names: relative, staying in the folder of the model, of plain parts. It holds for
 * maps too, so that a model is not accepted in a browser and refused on disk.
 *
 * @returns the parts of the path
 * @throws {LitheError} PATH_ESCAPES when it leads elsewhere
 */
export function checkLocation(location: string, base: string): readonly string[] {
  const parts = location.split('/').filter((part) => part !== '.' && part !== '');
  const escapes =
    location === '' ||
    parts.length === 0 ||
    location.startsWith('/') ||
    location.includes('\\') ||
    location.includes('\0') ||
    /^[A-Za-z]:/.test(location) ||
    /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(location) ||
    parts.includes('..');
  if (escapes) throw errors.pathEscapes(location, base);
  return parts;
}

/** Opens entries of a map. */
export function openerOf(data: ExternalData): ExternalOpener {
  const entries = data instanceof Map ? data : new Map(Object.entries(data));
  return (location) => {
    const plain = checkLocation(location, '.').join('/');
    const found = entries.get(location) ?? entries.get(plain);
    return Promise.resolve(found === undefined ? undefined : sourceOf(found));
  };
}

/** Bytes in memory or a `Blob` as a source. */
export function sourceOf(data: Uint8Array | Blob): ByteSource {
  if (data instanceof Uint8Array) {
    return {
      size: data.byteLength,
      read: (offset, length) => Promise.resolve(data.subarray(offset, offset + length)),
    };
  }
  return {
    size: data.size,
    read: async (offset, length) => new Uint8Array(await data.slice(offset, offset + length).arrayBuffer()),
  };
}

import { errors, type Tensor } from '@lithe/core';
import { unzipSync, zipSync } from 'fflate';
import { type DataLimits, defaultMaxBytes } from './byte-source.ts';
import { checkClaim } from './inflate.ts';
import { readNpy, writeNpy } from './npy.ts';

/**
 * Reads an NPZ archive, stored or compressed: its arrays by name.
 *
 * @throws {LitheError} DATA_INVALID when it or an array in it is malformed; LIMIT_EXCEEDED when its arrays claim more
 *   than `maxBytes` together
 */
export async function readNpz(
  bytes: Uint8Array,
  name = 'arrays.npz',
  limits: DataLimits = {},
): Promise<Readonly<Record<string, Tensor>>> {
  const { maxBytes = defaultMaxBytes } = limits;
  let total = 0;
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(bytes, {
      // Asked for each entry before its contents are expanded; what an entry claims is all that is allocated for it.
      filter: (entry) => {
        checkClaim(entry.originalSize, entry.size, `${name}/${entry.name}`, maxBytes);
        total += entry.originalSize;
        checkClaim(total, Number.POSITIVE_INFINITY, name, maxBytes);
        return entry.name.endsWith('.npy');
      },
    });
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') throw cause;
    throw errors.dataInvalid(name, 'it is not a sound zip archive.', undefined, cause);
  }
  const arrays: (readonly [string, Tensor])[] = [];
  for (const [entry, contents] of Object.entries(files)) {
    arrays.push([entry.slice(0, -'.npy'.length), await readNpy(contents, `${name}/${entry}`, limits)]);
  }
  return Object.fromEntries(arrays);
}

/** How {@link writeNpz} writes. */
export interface WriteNpzOptions {
  /** Whether entries are compressed; `false` by default, as `numpy.savez` does. */
  readonly compress?: boolean | undefined;
}

/**
 * Writes tensors as an NPZ archive, as `numpy.savez` does. Equal tensors give equal bytes.
 *
 * @throws {LitheError} DTYPE_UNSUPPORTED for dtypes that NumPy has no type for
 */
export function writeNpz(
  tensors: Readonly<Record<string, Tensor>>,
  options: WriteNpzOptions = {},
): Uint8Array {
  const entries = Object.entries(tensors).map(([name, tensor]) => [`${name}.npy`, writeNpy(tensor)] as const);
  // A fixed date, the first that zip can express: the same tensors give the same bytes at any time.
  return zipSync(Object.fromEntries(entries), {
    level: options.compress === true ? 6 : 0,
    mtime: '1980-01-01T00:00:00',
  });
}

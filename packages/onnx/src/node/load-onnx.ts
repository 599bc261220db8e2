import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errors, type Model } from '@lithe/core';
import { defaultReadLimits } from '../limits.ts';
import { type ReadOptions, readModel } from '../read/read-onnx.ts';
import { FolderOpener, readRange } from './file-source.ts';

/** Options of {@link loadOnnx}. */
export interface LoadOptions extends Omit<ReadOptions, 'externalData'> {
  /**
   * Whether external data may be a link that leads out of the model's folder, or a file with several names. Only for
   * files that you trust: a hostile model could read any file through such a link. Default `false`.
   */
  readonly followExternalDataLinksAnywhere?: boolean | undefined;
}

/**
 * Loads a model from a file. External data beside it is not read now, but tensor by tensor when it is needed, so a
 * model may be larger than memory.
 *
 * @param path the `.onnx` file
 * @throws {LitheError} FILE_NOT_FOUND when the file or its external data is missing
 * @throws {LitheError} FILE_INVALID, MODEL_INVALID, TENSOR_INVALID or LIMIT_EXCEEDED as `readOnnx`
 * @throws {LitheError} PATH_ESCAPES when external data lies outside the model's folder, or is a link
 */
export async function loadOnnx(path: string, options: LoadOptions = {}): Promise<Model> {
  const limits = { ...defaultReadLimits, ...options.limits };
  const bytes = await readWhole(path, limits.maxFileBytes, options.signal);
  const opener = new FolderOpener(path, options.followExternalDataLinksAnywhere === true);
  const source = { open: (location: string) => opener.open(location), path: resolve(path) };
  return readModel(bytes, source, { ...options, name: options.name ?? path });
}

async function readWhole(
  path: string,
  maximum: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw errors.fileNotFound(
      path,
      code === 'ENOENT' ? 'it does not exist.' : `it cannot be opened (${String(code)}).`,
      cause,
    );
  }
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw errors.fileInvalid(path, 'it is not a plain file.');
    if (found.size > maximum)
      throw errors.limitExceeded('maxFileBytes', maximum, found.size, `File "${path}"`);
    const bytes = await readRange(handle.fd, 0, found.size, signal);
    if (bytes.byteLength !== found.size) throw errors.fileInvalid(path, 'it was cut off while it was read.');
    return bytes;
  } finally {
    await handle.close();
  }
}

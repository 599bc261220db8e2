import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { UsageError } from './exit-codes.ts';

/** A path without links; that of what does not exist yet is the path itself. */
export async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    // What does not exist yet is its own real path.
    return resolve(path);
  }
}

/**
 * Where a command writes: what the user named, or `MODEL.<suffix>.onnx` beside the model.
 *
 * @throws {UsageError} when that is the model itself, or a folder
 */
export async function outputPath(model: string, output: string | undefined, suffix: string): Promise<string> {
  const extension = extname(model);
  const path =
    output ??
    join(dirname(model), `${basename(model, extension)}.${suffix}${extension === '' ? '.onnx' : extension}`);
  if ((await realPath(path)) === (await realPath(model))) {
    throw new UsageError(
      `The output "${path}" is the model itself. Inputs are never overwritten: name another file with --output.`,
    );
  }
  const existing = await stat(path).catch(() => undefined);
  if (existing?.isDirectory() === true)
    throw new UsageError(`The output "${path}" is a folder. Name a file with --output.`);
  return path;
}

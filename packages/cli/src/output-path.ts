import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { UsageError } from './exit-codes.ts';

/** A path without links; of what does not exist yet, without those of the folders around it. */
export async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const whole = resolve(path);
    const folder = dirname(whole);
    return folder === whole ? whole : join(await realPath(folder), basename(whole));
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

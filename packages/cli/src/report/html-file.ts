import { resolve } from 'node:path';
import { UsageError } from '../exit-codes.ts';
import { realPath } from '../output-path.ts';
import { writeWhole } from '../recipe/run-folder.ts';

/**
 * Writes an HTML report, whole or not at all.
 *
 * @param taken files that it must not overwrite: what the command reads, and its other outputs
 * @throws {UsageError} when it would
 * @throws {LitheError} `FILE_NOT_WRITTEN`
 */
export async function writeHtmlFile(path: string, text: string, taken: readonly string[]): Promise<void> {
  await checkHtmlPath(path, taken);
  await writeWhole(resolve(path), text);
}

/**
 * Checks before long work where a report will go.
 *
 * @throws {UsageError} when that is one of the files in `taken`
 */
export async function checkHtmlPath(path: string, taken: readonly string[]): Promise<void> {
  const target = await realPath(path);
  for (const other of taken)
    if ((await realPath(other)) === target)
      throw new UsageError(`The report would overwrite "${other}". Name another file.`);
}

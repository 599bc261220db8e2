import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

/**
 * Copies the files of a model to where the user wants them: all under temporary names first, then renamed, so that an
 * interruption leaves no half-written file. External data keeps its name, for the model refers to it.
 *
 * @param files the model first, then its external data
 * @param output path of the model file to write
 */
export async function writeResult(files: readonly string[], output: string): Promise<void> {
  const folder = dirname(resolve(output));
  await mkdir(folder, { recursive: true });
  const moves = files
    .map((file, index) => ({
      from: resolve(file),
      to: index === 0 ? resolve(output) : join(folder, basename(file)),
    }))
    .filter(({ from, to }) => from !== to)
    .map((move) => ({ ...move, temporary: join(folder, `.${basename(move.to)}.${randomUUID()}.tmp`) }));
  try {
    for (const { from, temporary } of moves) await copyFile(from, temporary);
    // The model last: it must never name data that is not there yet.
    for (const { temporary, to } of moves.toReversed()) await rename(temporary, to);
  } catch (error) {
    for (const { temporary } of moves) await rm(temporary, { force: true });
    throw error;
  }
}

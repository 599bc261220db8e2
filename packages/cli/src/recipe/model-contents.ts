import type { Model } from '@lithe/core';
import { externalFiles, writeOnnx } from '@lithe/onnx';
import { openModel } from '../model-file.ts';
import { hashBytes, hashFiles } from './identity.ts';

/** What the model file is called in a hash: not by its name, so that a step that is renamed leaves the same model. */
const MODEL_LABEL = 'model';

/** Hash and size of a model's files. */
export async function contentsOf(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly hash: string; readonly bytes: number }> {
  const file = await openModel(path, signal);
  const files = [
    { path, label: MODEL_LABEL },
    ...externalFiles(file.model).map((name, index) => ({ path: file.files[index + 1] ?? name, label: name })),
  ];
  return { hash: await hashFiles(files, signal), bytes: file.bytes };
}

/** The hash that the files of a model in memory will have. */
export async function futureContents(model: Model): Promise<string> {
  return hashBytes(await writeOnnx(model), MODEL_LABEL);
}

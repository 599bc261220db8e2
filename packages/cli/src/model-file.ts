import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type EncodedModel, errors, type Model } from '@lithe/core';
import { externalFiles } from '@lithe/onnx';
import { loadOnnx } from '@lithe/onnx/node';

/** A model on disk. */
export interface ModelFile {
  /** Path as given. */
  readonly path: string;
  /** The model, read. */
  readonly model: Model;
  /** The file as a runtime loads it. */
  readonly encoded: EncodedModel;
  /** Paths of the file and its external data, the model first. */
  readonly files: readonly string[];
  /** Bytes of those files. */
  readonly bytes: number;
}

/**
 * Reads a model file. Weights are read when they are needed.
 *
 * @throws {LitheError} FILE_NOT_FOUND, FILE_INVALID, MODEL_INVALID, … as `loadOnnx`
 */
export async function openModel(path: string, signal?: AbortSignal): Promise<ModelFile> {
  const model = await loadOnnx(path, { signal });
  const folder = dirname(resolve(path));
  const files = [resolve(path), ...externalFiles(model).map((name) => resolve(folder, name))];
  let bytes = 0;
  for (const file of files) bytes += await sizeOf(file);
  return { path, model, encoded: { kind: 'onnx', file: resolve(path) }, files, bytes };
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw errors.fileNotFound(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

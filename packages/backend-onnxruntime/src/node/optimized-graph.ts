import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { EncodedModel, Model } from '@lithe/core';
import type { SessionOptions } from '../options.ts';
import { openNode } from './platform.ts';

/** How {@link optimizedGraph} looks at a model. */
export interface OptimizedGraphOptions {
  /**
   * How far the runtime rewrites the graph. By default `extended`: all fusions, without the layouts that only suit
   * this machine's processor.
   */
  readonly level?: 'basic' | 'extended' | 'layout' | 'all' | undefined;
  /** Configuration entries by key, such as `session.disable_quant_qdq: '1'`. */
  readonly config?: SessionOptions['config'];
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The graph that onnxruntime-node really runs, after its own rewrites, as an ONNX file: shows which nodes it fused
 * and which Quantize/Dequantize pairs it made integer operators of.
 *
 * @throws {LitheError} BACKEND_UNAVAILABLE when onnxruntime-node is not installed; BACKEND_FAILED when it refuses the
 *   model
 */
export async function optimizedGraph(
  model: Model | EncodedModel,
  options: OptimizedGraphOptions = {},
): Promise<Uint8Array> {
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-optimized-'));
  await using backend = await openNode({ threads: 1 });
  try {
    const optimizedModelFilePath = path.join(folder, 'model.onnx');
    const extra: SessionOptions = {
      graphOptimizationLevel: options.level ?? 'extended',
      optimizedModelFilePath,
      config: options.config,
    };
    const executable = await backend.compile(model, { extra: { ...extra }, signal: options.signal });
    await executable.dispose();
    const bytes = await readFile(optimizedModelFilePath);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

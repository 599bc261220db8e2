import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import type { Dataset } from '@lithe/core';
import { observe } from '@lithe/quantization';
import { loadTrainedModel } from '@lithe-internal/models';
import { normal } from './support.ts';

/** Images of noise, made as they are asked for. */
function images(count: number): Dataset {
  return {
    size: count,
    description: 'noise',
    async *batches() {
      for (let seed = 0; seed < count / 10; seed++)
        yield { inputs: { x: normal([10, 1, 28, 28], seed) }, size: 10 };
    },
  };
}

/** Observes a trained network on so many images, and prints the most memory that the process ever took. */
export async function main(args: readonly string[]): Promise<number> {
  const samples = Number(args[0]);
  const model = await loadTrainedModel('fashion-mobilenet-v2');
  await using backend = await onnxruntimeNode({ threads: 1 });
  const stats = await observe(model, images(samples), {
    backend,
    samples,
    memoryBytes: 2 ** 24,
  });
  const { maxRSS } = process.resourceUsage();
  const elements = Object.values(stats.tensors).reduce((sum, seen) => sum + (seen.elements ?? 0), 0);
  const seen = { samples: stats.samples, peakBytes: maxRSS * 1024, activationBytes: 4 * elements };
  process.stdout.write(`${JSON.stringify(seen)}\n`);
  return 0;
}

import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { convolutionsModel, tinyLosses } from './data.ts';

/** Trains on two providers of onnxruntime-node and prints the losses of each, in a process with a Vulkan device. */
export async function main(): Promise<number> {
  const losses: Record<string, readonly number[]> = {};
  for (const provider of ['cpu', 'webgpu']) {
    await using backend = await onnxruntimeNode({ executionProviders: [provider] });
    losses[provider] = await tinyLosses(backend, 96, { model: convolutionsModel });
  }
  process.stdout.write(JSON.stringify(losses));
  return 0;
}

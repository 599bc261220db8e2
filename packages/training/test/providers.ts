import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { fit } from '@lithe/training';
import { tinyData, tinyModel, tinyOptions } from './data.ts';

/** Trains on two providers of onnxruntime-node and prints the losses of each, in a process with a Vulkan device. */
export async function main(): Promise<number> {
  const losses: Record<string, number[]> = {};
  for (const provider of ['cpu', 'webgpu']) {
    await using backend = await onnxruntimeNode({ executionProviders: [provider] });
    const own: number[] = [];
    await fit(await tinyModel(), tinyData(96), {
      ...tinyOptions(),
      backend,
      onStep: ({ loss }) => own.push(loss),
    });
    losses[provider] = own;
  }
  process.stdout.write(JSON.stringify(losses));
  return 0;
}

import { writeFile } from 'node:fs/promises';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { writeOnnx } from '@lithe/onnx';
import { fit } from '@lithe/training';
import { fileCheckpoints } from '@lithe/training/node';
import { tinyData, tinyModel, tinyOptions } from './data.ts';

/** Trains in a process of its own that a test kills: tells every step, and writes the model at the end. */
export async function main([checkpoint = '', result = '']: readonly string[]): Promise<number> {
  await using backend = await onnxruntimeNode({ threads: 1 });
  const { model } = await fit(await tinyModel(), tinyData(160), {
    ...tinyOptions(),
    epochs: 60,
    backend,
    checkpoint: fileCheckpoints(checkpoint),
    checkpointEvery: 3,
    onStep: ({ step }) => process.stdout.write(`${step}\n`),
  });
  await writeFile(result, await writeOnnx(model));
  return 0;
}

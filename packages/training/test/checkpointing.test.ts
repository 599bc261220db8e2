import { onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { expect, it } from 'vitest';
import { tinyLosses } from './data.ts';

it('computes activations again on WASM, to the same losses', async () => {
  await using backend = await onnxruntimeWeb({ threads: 1 });
  const [held, again] = [
    await tinyLosses(backend, 32, { epochs: 1, checkpointing: false }),
    await tinyLosses(backend, 32, { epochs: 1, checkpointing: { segments: 3 } }),
  ];
  expect(again.length).toBe(2);
  expect(again).toEqual(held);
});

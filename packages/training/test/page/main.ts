import { onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { fit } from '@lithe/training';
import { tinyData, tinyModel, tinyOptions } from '../data.ts';

/** Losses of every step, by runtime. */
export type Shown = Readonly<Record<string, readonly number[]>>;

async function show(): Promise<Shown> {
  const shown: Record<string, readonly number[]> = {};
  const ways = {
    wasm: () => onnxruntimeWeb({ threads: 1 }),
    webgpu: () => onnxruntimeWeb({ executionProviders: ['webgpu'] }),
  };
  for (const [name, open] of Object.entries(ways)) {
    const backend = await open();
    const losses: number[] = [];
    await fit(await tinyModel(), tinyData(96), {
      ...tinyOptions(),
      backend,
      onStep: ({ loss }) => losses.push(loss),
    });
    shown[name] = losses;
    await backend.dispose();
  }
  return shown;
}

(globalThis as { shown?: Promise<Shown> }).shown = show();

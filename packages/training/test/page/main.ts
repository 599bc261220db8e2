import { onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { convolutionsModel, tinyLosses } from '../data.ts';

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
    shown[name] = await tinyLosses(backend, 96, { model: convolutionsModel });
    await backend.dispose();
  }
  return shown;
}

(globalThis as { shown?: Promise<Shown> }).shown = show();

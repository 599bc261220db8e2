import { nodeCpuTarget, onnxruntime, onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { Tensor } from '@lithe/core';

/** What the page shows: results of one model in every way that a page has. */
export interface Shown {
  readonly results: Readonly<Record<string, readonly number[]>>;
  readonly versions: readonly string[];
  readonly refused: string;
}

async function show(): Promise<Shown> {
  const file = new Uint8Array(await (await fetch('./model.onnx')).arrayBuffer());
  const results: Record<string, readonly number[]> = {};
  const versions: string[] = [];
  const ways = {
    best: () => onnxruntime({ threads: 1 }),
    wasm: () => onnxruntimeWeb({ threads: 1 }),
    threads: () => onnxruntimeWeb({ threads: 2 }),
    webgpu: () => onnxruntimeWeb({ executionProviders: ['webgpu'] }),
  };
  for (const [name, open] of Object.entries(ways)) {
    const backend = await open();
    const executable = await backend.compile({ kind: 'onnx', file });
    const { y } = await executable.run({ x: Tensor.from('float32', [1, 3], new Float32Array([-1, 0, 2])) });
    results[name] = [...(y?.toFloat64Array() ?? [])];
    versions.push(backend.version);
    await backend.dispose();
  }
  const refused = await nodeCpuTarget()
    .open(undefined as never)
    .then(String, (error: { code: string }) => error.code);
  return { results, versions, refused };
}

(globalThis as { shown?: Promise<Shown> }).shown = show();

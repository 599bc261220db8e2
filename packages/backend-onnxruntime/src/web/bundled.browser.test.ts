import { writeOnnx } from '@lithe/onnx';
import { runBundle } from '@lithe-internal/browser';
import { expect, it } from 'vitest';
import { reluModel } from '../../test/models.ts';
import type { Shown } from '../../test/page/main.ts';

it('runs in a page that vite bundled', async () => {
  const shown = await runBundle<Shown>(new URL('../../test/page', import.meta.url), {
    files: { 'model.onnx': await writeOnnx(reluModel()) },
  });
  expect(shown.results).toEqual({
    best: [0, 0, 2],
    wasm: [0, 0, 2],
    threads: [0, 0, 2],
    webgpu: [0, 0, 2],
  });
  expect(shown.refused).toBe('BACKEND_UNAVAILABLE');
});

import { referenceBackend } from '@lithe/core/reference';
import { runBundle } from '@lithe-internal/browser';
import { expect, it } from 'vitest';
import { convolutionsModel, tinyLosses } from './data.ts';
import type { Shown } from './page/main.ts';

it('trains in a page, on WASM and on WebGPU, as the interpreter does', async () => {
  const shown = await runBundle<Shown>(new URL('./page', import.meta.url));
  const expected = await tinyLosses(referenceBackend(), 96, { model: convolutionsModel });
  expect(expected.length).toBe(12);
  for (const name of ['wasm', 'webgpu']) {
    const found = shown[name] ?? [];
    expect(found.length).toBe(12);
    // float32 sums in another order; twelve steps of Adam make that larger.
    for (const [index, loss] of found.entries())
      expect(loss, `${name}, step ${index + 1}`).toBeCloseTo(expected[index] ?? Number.NaN, 3);
  }
});

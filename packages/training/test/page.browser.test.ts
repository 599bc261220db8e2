import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Backend } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { fit } from '@lithe/training';
import { launchChromium, openPage, pageErrors, serveFolders } from '@lithe-internal/browser';
import { build } from 'vite';
import { expect, it } from 'vitest';
import { tinyData, tinyModel, tinyOptions } from './data.ts';
import type { Shown } from './page/main.ts';

async function losses(backend: Backend): Promise<readonly number[]> {
  const found: number[] = [];
  await fit(await tinyModel(), tinyData(96), {
    ...tinyOptions(),
    backend,
    onStep: ({ loss }) => found.push(loss),
  });
  return found;
}

it('trains in a page, on WASM and on WebGPU, as the interpreter does', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-training-page-'));
  await using _folder = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  await build({
    configFile: false,
    root: fileURLToPath(new URL('./page', import.meta.url)),
    base: './',
    logLevel: 'warn',
    build: { outDir: folder, emptyOutDir: true, target: 'es2023' },
    resolve: { conditions: ['@lithe/source', 'module', 'browser', 'development|production'] },
  });
  await using server = await serveFolders({ '/': folder });
  const browser = await launchChromium();
  await using _browser = { [Symbol.asyncDispose]: () => browser.close() };
  const page = await openPage(browser, `${server.url}/index.html`);
  const shown = await page
    .evaluate(() => (globalThis as unknown as { shown: Promise<Shown> }).shown)
    .catch((error: unknown) => {
      throw new Error(pageErrors(page).join('\n'), { cause: error });
    });
  const expected = await losses(referenceBackend());
  expect(expected.length).toBe(12);
  for (const name of ['wasm', 'webgpu']) {
    const found = shown[name] ?? [];
    expect(found.length).toBe(12);
    // float32 sums in another order; twelve steps of Adam make that larger.
    for (const [index, loss] of found.entries())
      expect(loss, `${name}, step ${index + 1}`).toBeCloseTo(expected[index] ?? Number.NaN, 3);
  }
});

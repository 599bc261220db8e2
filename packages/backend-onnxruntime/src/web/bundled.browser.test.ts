import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeOnnx } from '@lithe/onnx';
import { launchChromium, openPage, pageErrors, serveFolders } from '@lithe-internal/browser';
import { build } from 'vite';
import { expect, it } from 'vitest';
import { reluModel } from '../../test/models.ts';
import type { Shown } from '../../test/page/main.ts';

it('runs in a page that vite bundled', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-bundled-'));
  await using _folder = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  await build({
    configFile: false,
    root: fileURLToPath(new URL('../../test/page', import.meta.url)),
    base: './',
    logLevel: 'warn',
    build: { outDir: folder, emptyOutDir: true, target: 'es2023' },
    resolve: { conditions: ['@lithe/source', 'module', 'browser', 'development|production'] },
  });
  await writeFile(path.join(folder, 'model.onnx'), await writeOnnx(reluModel()));
  await using server = await serveFolders({ '/': folder });
  const browser = await launchChromium();
  await using _browser = { [Symbol.asyncDispose]: () => browser.close() };
  const page = await openPage(browser, `${server.url}/index.html`);
  const shown = await page
    .evaluate(() => (globalThis as unknown as { shown: Promise<Shown> }).shown)
    .catch((error: unknown) => {
      throw new Error(pageErrors(page).join('\n'), { cause: error });
    });
  expect(shown.results).toEqual({
    best: [0, 0, 2],
    wasm: [0, 0, 2],
    threads: [0, 0, 2],
    webgpu: [0, 0, 2],
  });
  expect(shown.refused).toBe('BACKEND_UNAVAILABLE');
});

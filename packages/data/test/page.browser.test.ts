import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchChromium, openPage, pageErrors, serveFolders } from '@lithe-internal/browser';
import { build } from 'vite';
import { expect, it } from 'vitest';
import type { Shown } from './page/main.ts';

it('reads picked files and images in a page', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-data-page-'));
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
  expect(shown.picked).toEqual([
    [1, 2],
    [3, 4],
    [5, 6],
  ]);
  expect(shown.png).toEqual([200, 40, 10]);
  expect(shown.webp).toMatchObject({ width: 4, height: 2 });
  // WebP keeps colour at half the resolution and in a limited range: a few levels are lost.
  shown.webp.first.forEach((level, channel) => {
    expect(Math.abs(level - ([200, 40, 10][channel] as number))).toBeLessThan(12);
  });
  expect(shown.refused).toBe('DATA_INVALID');
});

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { launchChromium } from './chromium.ts';
import { openPage, pageErrors } from './page.ts';
import { serveFolders } from './serve.ts';

/** What {@link runBundle} takes besides the page. */
export interface BundleOptions {
  /** Files that lie beside the page when it is served, by name. */
  readonly files?: Readonly<Record<string, Uint8Array | string>> | undefined;
}

/**
 * Bundles a page with vite as an application would, from the packages' sources, opens it in Chromium and waits for
 * what it shows: the value of the promise that the page's script leaves in `globalThis.shown`.
 *
 * @param page folder with the page's `index.html`
 * @returns the value, which has come through JSON
 * @throws {Error} with all errors of the page when the promise is rejected
 */
export async function runBundle<Shown>(page: URL, options: BundleOptions = {}): Promise<Shown> {
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-bundle-'));
  await using _folder = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  await build({
    configFile: false,
    root: fileURLToPath(page),
    base: './',
    logLevel: 'warn',
    build: { outDir: folder, emptyOutDir: true, target: 'es2023' },
    resolve: { conditions: ['@lithe/source', 'module', 'browser', 'development|production'] },
  });
  for (const [name, content] of Object.entries(options.files ?? {}))
    await writeFile(path.join(folder, name), content);
  await using server = await serveFolders({ '/': folder });
  const browser = await launchChromium();
  await using _browser = { [Symbol.asyncDispose]: () => browser.close() };
  const opened = await openPage(browser, `${server.url}/index.html`);
  return await opened
    .evaluate(async () => {
      const { shown } = globalThis as { shown?: Promise<Shown> };
      if (shown === undefined) throw new Error('The page left no promise in globalThis.shown.');
      return await shown;
    })
    .catch((error: unknown) => {
      throw new Error([String(error), ...pageErrors(opened)].join('\n'), { cause: error });
    });
}

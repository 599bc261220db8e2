import { access, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { errors } from '@lithe/core';
import { untar } from './untar.ts';

/** A browser that can be started. */
export interface BrowserProgram {
  /** Its executable. */
  readonly executable: string;
  /** Variables it needs beside those of this process. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whether it is the one from the npm package, which comes with a software GPU and no other. */
  readonly isPackaged: boolean;
}

/** How to get a browser; the hint of every error about a missing one. */
export const browserFix: string =
  'Install Chrome or Chromium, or name one in CHROME_PATH; on Linux x64 this does too: npm install @sparticuz/chromium.';

const decompress = promisify(brotliDecompress);

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

/**
 * Finds a Chromium: the one that is named, the variable `CHROME_PATH`, an installed one, and last the npm package
 * `@sparticuz/chromium`, an optional peer.
 *
 * @param named a path given by the user
 * @throws {LitheError} BACKEND_UNAVAILABLE when there is none
 */
export async function findBrowser(backend: string, named?: string | undefined): Promise<BrowserProgram> {
  const given = named ?? process.env['CHROME_PATH'];
  if (given !== undefined && given !== '') {
    if (await exists(given)) return { executable: given, environment: {}, isPackaged: false };
    throw errors.backendUnavailable(backend, `there is no browser at "${given}".`, browserFix);
  }
  for (const candidate of installedBrowsers()) {
    if (await exists(candidate)) return { executable: candidate, environment: {}, isPackaged: false };
  }
  const packaged = await packagedBrowser();
  if (packaged !== undefined) return packaged;
  throw errors.backendUnavailable(backend, 'no Chrome or Chromium was found to run it in.', browserFix);
}

/** Where Chrome, Chromium and Edge are usually installed. */
function installedBrowsers(): readonly string[] {
  const { env, platform } = process;
  if (platform === 'darwin') {
    return ['Google Chrome', 'Chromium', 'Microsoft Edge'].flatMap((name) =>
      ['/Applications', path.join(homedir(), 'Applications')].map(
        (folder) => `${folder}/${name}.app/Contents/MacOS/${name}`,
      ),
    );
  }
  if (platform === 'win32') {
    return [env['ProgramFiles'], env['ProgramFiles(x86)'], env['LOCALAPPDATA']].flatMap((folder) =>
      folder === undefined
        ? []
        : [
            path.join(folder, 'Google/Chrome/Application/chrome.exe'),
            path.join(folder, 'Microsoft/Edge/Application/msedge.exe'),
          ],
    );
  }
  return (env['PATH'] ?? '')
    .split(path.delimiter)
    .filter((folder) => path.isAbsolute(folder))
    .flatMap((folder) =>
      ['google-chrome-stable', 'google-chrome', 'chromium', 'chromium-browser'].map((name) =>
        path.join(folder, name),
      ),
    );
}

/** Unpacks the Chromium of `@sparticuz/chromium` into the user's cache, once; `undefined` when it is not installed. */
async function packagedBrowser(): Promise<BrowserProgram | undefined> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const root = packageFolder('@sparticuz/chromium');
  if (root === undefined) return undefined;
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  const cache = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'lithe');
  const folder = path.join(cache, `chromium-${version}`);
  if (!(await exists(path.join(folder, 'chromium')))) await unpack(path.join(root, 'bin'), cache, folder);
  // The system's own libraries stay first; those of the package fill gaps (NSS is missing on a bare image).
  const system = ['/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu', '/lib64', '/usr/lib64'];
  const libraries = [process.env['LD_LIBRARY_PATH'] ?? '', ...system, path.join(folder, 'lib')];
  return {
    executable: path.join(folder, 'chromium'),
    environment: { LD_LIBRARY_PATH: libraries.filter((item) => item !== '').join(':') },
    isPackaged: true,
  };
}

/** The folder of an installed package, found through any of its entry points. */
function packageFolder(name: string): string | undefined {
  const require = createRequire(import.meta.url);
  for (const base of require.resolve.paths(name) ?? []) {
    const folder = path.join(base, name);
    try {
      require(path.join(folder, 'package.json'));
      return folder;
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  return undefined;
}

/** Whoever comes first wins, and nobody sees half a browser: it is unpacked aside and renamed into place. */
async function unpack(bin: string, cache: string, folder: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(path.join(cache, 'unpacking-'));
  try {
    await writeFile(
      path.join(staging, 'chromium'),
      await decompress(await readFile(path.join(bin, 'chromium.br'))),
      {
        mode: 0o755,
      },
    );
    for (const archive of ['swiftshader.tar.br', 'al2023.tar.br']) {
      await untar(await decompress(await readFile(path.join(bin, archive))), staging);
    }
    await rename(staging, folder).catch(async (error: unknown) => {
      if (!(await exists(path.join(folder, 'chromium')))) throw error;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

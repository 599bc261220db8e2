import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';

/** What {@link launchChromium} takes. */
export interface LaunchOptions {
  /** A Chromium to use instead of the one in the package; default: the variable `LITHE_CHROMIUM`, then the package. */
  readonly executablePath?: string | undefined;
  /** More command-line switches, after the ones of this helper. */
  readonly args?: readonly string[] | undefined;
}

const packageFolder = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

/**
 * Unpacks the Chromium of `@sparticuz/chromium` once and tells where it lies.
 *
 * The package unpacks into the system's temporary folder and takes a half-written file of another process for a
 * whole one. Here a child process unpacks into a folder of its own, which is then renamed into place: whoever comes
 * first wins, and nobody sees half a browser.
 */
async function unpackChromium(): Promise<string> {
  const entry = require.resolve('@sparticuz/chromium');
  const version = entry.match(/@sparticuz\+chromium@([\d.]+)/)?.[1] ?? 'installed';
  const cache = path.join(packageFolder, 'node_modules', '.cache');
  const folder = path.join(cache, `chromium-${version}`);
  if (await exists(path.join(folder, 'chromium'))) return folder;
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(path.join(cache, 'unpacking-'));
  try {
    const script = `const { default: chromium } = await import(${JSON.stringify(pathToFileURL(entry).href)});
      chromium.setGraphicsMode = true;
      await chromium.executablePath();`;
    await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
      // The last variable makes the package unpack its shared libraries (NSS and friends) too.
      env: { ...process.env, TMPDIR: staging, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs20.x' },
    });
    await writeFile(path.join(staging, 'fonts', 'fonts.conf'), fontConfiguration(folder));
    await rename(staging, folder).catch(async (error: unknown) => {
      if (!(await exists(path.join(folder, 'chromium')))) throw error;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return folder;
}

/** The package's own configuration names folders of the machine it was made for. */
function fontConfiguration(folder: string): string {
  const folders = [path.join(folder, 'fonts'), '/usr/share/fonts', '/usr/local/share/fonts'];
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
${folders.map((name) => `  <dir>${name}</dir>`).join('\n')}
  <cachedir>${path.join(folder, 'fonts-cache')}</cachedir>
</fontconfig>
`;
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/**
 * Starts a headless Chromium with WebGPU on SwiftShader, a software device: right for checking numbers, of no use
 * for timing a GPU.
 *
 * @returns the browser; the caller closes it.
 * @example
 * ```ts
 * const browser = await launchChromium();
 * try {
 *   const page = await openPage(browser, `${server.url}/index.html`);
 * } finally {
 *   await browser.close();
 * }
 * ```
 */
export async function launchChromium(options: LaunchOptions = {}): Promise<Browser> {
  const given = options.executablePath ?? process.env['LITHE_CHROMIUM'];
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) environment[name] = value;
  let executablePath = given;
  if (executablePath === undefined) {
    const folder = await unpackChromium();
    executablePath = path.join(folder, 'chromium');
    const libraries = path.join(folder, 'al2023', 'lib');
    // The system's own libraries stay first: the bundled ones only fill gaps (libnss3 is missing on a bare image).
    environment['LD_LIBRARY_PATH'] = [environment['LD_LIBRARY_PATH'], ...systemLibraryFolders, libraries]
      .filter(Boolean)
      .join(':');
    environment['FONTCONFIG_PATH'] ??= path.join(folder, 'fonts');
  }
  return chromium.launch({
    executablePath,
    headless: true,
    env: environment,
    args: [
      '--no-sandbox',
      '--enable-unsafe-webgpu',
      '--use-webgpu-adapter=swiftshader',
      '--enable-features=Vulkan',
      '--ignore-gpu-blocklist',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...(options.args ?? []),
    ],
  });
}

const systemLibraryFolders = [
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib/aarch64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/lib64',
  '/usr/lib64',
];

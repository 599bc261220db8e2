import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SetReport } from '@lithe/cli';
import { afterAll, describe, expect, it } from 'vitest';
import { lithe } from './lithe.ts';
import { writeRandomEncoder } from './small-encoder.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'lithe-transformers-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('files for transformers.js in a browser', () => {
  it('are verified on WASM and WebGPU, and what the GPU lacks is said', async () => {
    const model = await writeRandomEncoder(path.join(folder, 'encoder'));
    const call = await lithe(
      ...['quantize', model, '--preset', 'transformers-js', '--dtypes', 'fp16,q8,q4'],
      ...['--verify-in', 'wasm,webgpu', '--rounds', '6', '--samples', '2', '--json'],
    );
    expect(call).toMatchObject({ code: 0 });
    const report = JSON.parse(call.out) as SetReport;
    expect(report.targets.map(({ name }) => name)).toEqual(['wasm', 'webgpu']);
    for (const { dtype, state, verifications } of report.files) {
      expect(state).toBe('written');
      const [wasm, webgpu] = verifications;
      expect(wasm).toMatchObject({ target: 'wasm', state: 'measured' });
      // SwiftShader has no shader-f16; a GPU may.
      if (dtype === 'fp16' && webgpu?.state !== 'measured')
        expect(webgpu).toMatchObject({ state: 'unverified', reason: expect.stringContaining('shader-f16') });
      else expect(webgpu).toMatchObject({ target: 'webgpu', state: 'measured' });
      if (wasm?.state !== 'measured' || webgpu?.state !== 'measured') continue;
      // The same file, on another processor.
      expect(Math.abs(wasm.drift.sqnrDb - webgpu.drift.sqnrDb)).toBeLessThan(1);
    }
  });
});

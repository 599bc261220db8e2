import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GraphBuilder, optimize, Tensor } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { dynamicInt8 } from '@lithe/quantization';
import { afterAll, describe, expect, it } from 'vitest';
import type { ExplainResult } from '../src/commands/explain.ts';
import { lithe, models } from './lithe.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'lithe-explain-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = path.join(folder, 'dynamic.onnx');

describe('lithe explain', () => {
  it('says of a float model that nothing is quantized', async () => {
    const { code, out } = await lithe('explain', models.classifier, '--target', 'node-cpu', '--json');
    expect(code).toBe(0);
    const result = JSON.parse(out) as ExplainResult;
    expect(result).toMatchObject({ target: 'node-cpu', integer: 0, quantizers: 0 });
    expect(result.operators.find(({ op }) => op === 'Conv')).toMatchObject({
      runs: 'float',
      code: 'not-quantized',
    });
  });

  it('finds the integer operators of a quantized model, and none of them on WebGPU', async () => {
    const builder = new GraphBuilder();
    const weight = Tensor.from(
      'float32',
      [32, 64],
      Float32Array.from({ length: 2048 }, (_, i) => (i % 13) - 6),
    );
    const x = builder.input('x', 'float32', [4, 32]);
    builder.output('y', builder.op.MatMul([x, builder.constant('w', weight)]));
    const { model } = await optimize(await builder.build(), [dynamicInt8()]);
    writeFileSync(file, await writeOnnx(model));
    const { out } = await lithe('explain', file, '--all');
    expect(out).toContain('MatMulInteger');
    expect(out).toMatch(/^node-cpu: [1-9]\d* operators in integers/);
    const gpu = await lithe('explain', file, '--target', 'webgpu');
    expect(gpu.out).toMatch(/^webgpu: 0 operators in integers/);
  });

  it('refuses a target that it does not know', async () => {
    const { code } = await lithe('explain', models.classifier, '--target', 'toaster');
    expect(code).toBe(2);
  });
});

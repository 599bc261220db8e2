import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeNpz } from '@lithe/data';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { fashionMnist, loadTrainedModel } from '@lithe-internal/models';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lithe } from './lithe.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'lithe-processors-'));
const at = (name: string): string => path.join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const data = ['--calibrate', at('images.npz')];
const network = at('network.onnx');
const warned = /On x86 processors without VNNI, sums of \d+ of \d+ layers leave 16 bits: .* \d+\.\d dB/;

beforeAll(async () => {
  await saveOnnx(await loadTrainedModel('fashion-cnn'), network);
  const { x, label } = await fashionMnist('train', 16);
  writeFileSync(at('images.npz'), writeNpz({ x, label }));
});

/** Largest magnitudes of the 8-bit weights in a file. */
async function largestLevels(file: string): Promise<number[]> {
  const model = await loadOnnx(file);
  const largest: number[] = [];
  for (const { initializer } of model.graph.initializers) {
    if (initializer?.dtype !== 'int8' || initializer.shape.length < 2) continue;
    const levels = (await initializer.load()).toFloat64Array();
    largest.push(levels.reduce((most, level) => Math.max(most, Math.abs(level)), 0));
  }
  return largest;
}

describe('processors that add products in 16 bits', () => {
  it('are warned of by quantize, where the weights have 8 bits and ranges are known', async () => {
    const call = (...args: string[]) =>
      lithe('quantize', network, '--scheme', 'static-int8', ...data, '-o', at('q.onnx'), ...args);
    const plain = await call();
    expect(plain).toMatchObject({ code: 0 });
    expect(plain.err).toMatch(warned);
    expect(plain.err).toContain('--reduce-range');
    expect(Math.max(...(await largestLevels(at('q.onnx'))))).toBe(127);
    for (const args of [['--reduce-range'], ['--reduce-range', 'auto'], ['--no-reduce-range']]) {
      const other = await call(...args);
      expect(other).toMatchObject({ code: 0 });
      expect(other.err).not.toContain('VNNI');
    }
  });

  it('are compressed for on demand, with weights of 7 bits', async () => {
    const call = (...args: string[]) =>
      lithe('compress', network, ...data, '-o', at('small.onnx'), '--rounds', '6', '--json', ...args);
    const portable = await call('--portable', '--objective', 'latency');
    expect(portable).toMatchObject({ code: 0 });
    const report = JSON.parse(portable.out) as {
      candidates: { name: string }[];
      notTried: { name: string; reason: string }[];
      warnings: string[];
    };
    const names = report.candidates.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['static-int8-7-bit', 'dynamic-int8-7-bit']));
    expect(names).not.toContain('static-int8');
    expect(report.notTried.find(({ name }) => name === 'static-int8')?.reason).toContain('VNNI');
    expect(report.warnings.join()).not.toContain('VNNI');
    expect(existsSync(at('small.onnx'))).toBe(true);
  });
});

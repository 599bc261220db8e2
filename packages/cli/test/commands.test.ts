import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRng, Tensor } from '@lithe/core';
import { writeNpy, writeNpz } from '@lithe/data';
import { afterAll, describe, expect, it } from 'vitest';
import { lithe, litheWith, models } from './lithe.ts';

const folder = mkdtempSync(join(tmpdir(), 'lithe-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const classifierShape = ['--shape', 'x=1x3x48x192'];
const quick = ['--rounds', '6'];
const voiceInputs = ['--shape', 'input=1x576', '--shape', 'state=2x1x128', '--value', 'sr=16000'];

interface Figures {
  readonly size: { readonly before: number; readonly after: number; readonly ratio: number };
  readonly latency: { readonly beforeMs: number; readonly afterMs: number; readonly speedup: number };
  readonly drift: { readonly sqnrDb: number; readonly cosine: number; readonly maxAbs: number };
}

function expectFigures(result: Figures): void {
  const { size, latency, drift } = result;
  expect(size.ratio).toBeCloseTo(size.before / size.after, 10);
  for (const figure of [latency.beforeMs, latency.afterMs, latency.speedup, size.before, size.after]) {
    expect(figure).toBeGreaterThan(0);
  }
  for (const figure of [drift.sqnrDb, drift.cosine, drift.maxAbs]) expect(Number.isFinite(figure)).toBe(true);
}

describe('lithe', () => {
  it('prints help with examples, and its version', async () => {
    const help = await lithe('--help');
    expect(help).toMatchObject({ code: 0, err: '' });
    expect(help.out).toContain('compress');
    for (const command of [
      'compress',
      'run',
      'report',
      'inspect',
      'simplify',
      'prune',
      'quantize',
      'verify',
      'bench',
    ]) {
      const own = await lithe(command, '--help');
      expect(own.code).toBe(0);
      expect(own.out).toContain(`lithe ${command}`);
      expect(own.out).toContain('Examples:');
      expect(own.out).toContain('--json');
    }
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(await lithe('--version')).toMatchObject({ code: 0, out: `${version}\n` });
  });

  it('ends with code 2 when it is called wrongly, and says what is wrong on stderr', async () => {
    const wrong: readonly (readonly string[])[] = [
      ['shrink', models.classifier],
      ['inspect'],
      ['inspect', models.classifier, '--nonsense'],
      ['compress', models.classifier, '--target', 'toaster'],
      ['compress', models.classifier, '--max-drop', 'much'],
      // Five rounds have no 95 % interval.
      ['bench', models.classifier, ...classifierShape, '--rounds', '5'],
      ['compress', models.classifier, '--shape', 'x:1x3'],
      ['compress', models.classifier, '--shape', 'y=1x3x48x192'],
      ['compress', models.classifier],
      ['quantize', models.classifier],
      ['quantize', models.classifier, '--scheme', 'int3'],
      ['quantize', models.classifier, '--scheme', 'static-int8'],
      ['quantize', models.classifier, '--scheme', 'dynamic-int8', '--reduce-range', 'auto'],
      ['simplify', models.classifier, '-o', models.classifier],
      ['simplify', models.classifier, '-o', folder],
      ['compress', models.voice, ...voiceInputs, '--value', 'sr=fast'],
      ['compress', models.classifier, ...classifierShape, '--report', models.classifier],
    ];
    for (const args of wrong) {
      const call = await lithe(...args);
      expect({ args, code: call.code, out: call.out }).toEqual({ args, code: 2, out: '' });
      expect(call.err).toMatch(/error/);
    }
  });

  it('ends with code 1 when a file is missing or broken, and names it', async () => {
    const missing = await lithe('inspect', at('missing.onnx'));
    expect(missing).toMatchObject({ code: 1, out: '' });
    expect(missing.err).toContain('missing.onnx');
    expect(missing.err).toContain('[FILE_NOT_FOUND]');
    writeFileSync(at('broken.onnx'), readFileSync(models.classifier).subarray(0, 100_000));
    const broken = await lithe(
      'compress',
      ...quick,
      at('broken.onnx'),
      '-o',
      at('broken.out.onnx'),
      ...classifierShape,
    );
    expect(broken).toMatchObject({ code: 1, out: '' });
    expect(broken.err).toContain('[FILE_INVALID]');
    expect(existsSync(at('broken.out.onnx'))).toBe(false);
    const noData = await lithe(
      'verify',
      ...quick,
      models.classifier,
      models.classifier,
      '--data',
      at('no-data'),
    );
    expect(noData.code).toBe(1);
    expect(noData.err).toContain('no-data');
  });
});

describe('lithe inspect', () => {
  it('tells operators, parameters, bytes and cost', async () => {
    const { code, out } = await lithe('inspect', models.classifier, ...classifierShape, '--json');
    expect(code).toBe(0);
    const result = JSON.parse(out) as Record<string, unknown>;
    expect(result).toMatchObject({
      opset: 9,
      bytes: readFileSync(models.classifier).byteLength,
      inputs: [{ name: 'x', dtype: 'float32', shape: [1, 3, 48, 192] }],
      operators: { Conv: 53, BatchNormalization: 35 },
      unknownOperators: [],
    });
    expect(result['parameters']).toBeGreaterThan(100_000);
    expect(result['macs']).toBeGreaterThan(1e6);
    expect(result['outputs']).toEqual([expect.objectContaining({ dtype: 'float32', shape: [1, 2] })]);
  });

  it('prints every node on demand', async () => {
    const { out } = await lithe('inspect', models.classifier, '--graph');
    expect(out).toContain('BatchNormalization(');
  });

  it('looks into subgraphs', async () => {
    const { out } = await lithe('inspect', models.voice, '--json');
    expect(JSON.parse(out)).toMatchObject({ opset: 16, operators: { If: 25, LSTM: 4 } });
  });
});

describe('lithe simplify', () => {
  it('writes a smaller graph that gives the same results', async () => {
    const output = at('simplified.onnx');
    const call = await lithe('simplify', models.classifier, '-o', output, '--json');
    expect(call.code).toBe(0);
    const result = JSON.parse(call.out) as { nodes: { before: number; after: number }; applied: string[] };
    expect(result.nodes.after).toBeLessThan(result.nodes.before / 2);
    expect(result.applied.length).toBeGreaterThan(10);
    const verified = await lithe(
      'verify',
      ...quick,
      models.classifier,
      output,
      ...classifierShape,
      '--min-sqnr',
      '90',
      '--json',
    );
    expect(verified.code).toBe(0);
    expectFigures(JSON.parse(verified.out) as Figures);
  });

  it('keeps to the opset it is asked for', async () => {
    const call = await lithe('simplify', models.classifier, '-o', at('opset12.onnx'), '--opset', '12');
    expect(call.code).toBe(0);
    const { out } = await lithe('inspect', at('opset12.onnx'), '--json');
    expect(JSON.parse(out)).toMatchObject({ opset: 12 });
  });
});

describe('lithe quantize', () => {
  it.each([
    'foldable-int8',
    'foldable-int4',
    'float16-storage',
    'float16',
    'weight-int8',
    'weight-int4',
    'weight-int4-dq',
    'dynamic-int8',
  ])('makes %s files of the recognizer that load and answer', async (scheme) => {
    const output = at(`${scheme}.onnx`);
    const call = await lithe('quantize', models.recognizer, '--scheme', scheme, '-o', output, '--json');
    expect(call.code, call.err).toBe(0);
    const result = JSON.parse(call.out) as { size: Figures['size'] };
    expect(result.size.ratio).toBeGreaterThan(
      scheme === 'weight-int8' || scheme.startsWith('weight') || scheme === 'dynamic-int8' ? 1.3 : 1.9,
    );
    const verified = await lithe(
      'verify',
      ...quick,
      models.recognizer,
      output,
      '--shape',
      'x=1x3x48x64',
      '--min-sqnr',
      '-100',
      '--json',
    );
    expect(verified.code, verified.err).toBe(0);
    expectFigures(JSON.parse(verified.out) as Figures);
  });

  it('takes ranges from data for static int8', async () => {
    const rng = createRng(3);
    const pixels = Tensor.from(
      'float32',
      [6, 3, 48, 192],
      Float32Array.from({ length: 6 * 3 * 48 * 192 }, () => rng.normal() / 2),
    );
    writeFileSync(at('lines.npy'), writeNpy(pixels));
    const call = await lithe(
      'quantize',
      models.classifier,
      '--scheme',
      'static-int8',
      '--calibrate',
      at('lines.npy'),
      '-o',
      at('static.onnx'),
      '--json',
    );
    expect(call.code, call.err).toBe(0);
    expect((JSON.parse(call.out) as { passes: { pass: string; applied: number }[] }).passes[1]).toMatchObject(
      { pass: 'quantization/static-int8' },
    );
    const verified = await lithe(
      'verify',
      ...quick,
      models.classifier,
      at('static.onnx'),
      '--data',
      at('lines.npy'),
      '--min-sqnr',
      '10',
      '--json',
    );
    expect(verified.code, verified.out).toBe(0);
  });
});

describe('lithe verify', () => {
  it('calls a model equal to itself', async () => {
    const { code, out } = await lithe(
      'verify',
      ...quick,
      models.classifier,
      models.classifier,
      ...classifierShape,
      '--json',
    );
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      drift: { sqnrDb: 200, cosine: 1, maxAbs: 0 },
      pass: true,
      data: { random: true },
    });
  });

  it('ends with code 1 when the drift is over the limit', async () => {
    await lithe('quantize', models.classifier, '--scheme', 'foldable-int4', '-o', at('int4.onnx'));
    const { code, out } = await lithe(
      'verify',
      ...quick,
      models.classifier,
      at('int4.onnx'),
      ...classifierShape,
      '--min-sqnr',
      '60',
    );
    expect(code).toBe(1);
    expect(out).toContain('NOT inside the limits');
  });

  it('measures accuracy on labelled data', async () => {
    const rng = createRng(5);
    const x = Tensor.from(
      'float32',
      [4, 3, 48, 192],
      Float32Array.from({ length: 4 * 3 * 48 * 192 }, () => rng.normal()),
    );
    const label = Tensor.from('int64', [4], BigInt64Array.of(0n, 0n, 0n, 0n));
    writeFileSync(at('labelled.npz'), writeNpz({ x, label }));
    const { code, out, err } = await lithe(
      'verify',
      ...quick,
      models.classifier,
      models.classifier,
      '--data',
      at('labelled.npz'),
      '--evaluate',
      at('labelled.npz'),
      '--json',
    );
    expect(code, err).toBe(0);
    const { accuracy } = JSON.parse(out) as { accuracy: { metric: string; before: number; after: number } };
    expect(accuracy.metric).toBe('top-1 accuracy');
    expect([0, 0.25, 0.5, 0.75, 1]).toContain(accuracy.before);
    expect(accuracy.after).toBe(accuracy.before);
  });
});

describe('lithe bench', () => {
  it('measures models against the first', async () => {
    const { code, out } = await lithe(
      'bench',
      models.classifier,
      models.classifier,
      ...classifierShape,
      ...quick,
      '--json',
    );
    expect(code).toBe(0);
    const { models: measured } = JSON.parse(out) as {
      models: { medianMs: number; speedup: number; interval: number[] }[];
    };
    expect(measured).toHaveLength(2);
    expect(measured[0]).toMatchObject({ speedup: 1, interval: [1, 1] });
    expect(measured[1]?.medianMs).toBeGreaterThan(0);
  });
});

describe('lithe compress', () => {
  it('writes a classifier at least 3 times smaller, with the evidence', async () => {
    const output = at('classifier.small.onnx');
    const { code, out, err } = await lithe(
      'compress',
      ...quick,
      models.classifier,
      '-o',
      output,
      ...classifierShape,
      '--objective',
      'size',
      '--report',
      at('evidence.html'),
      '--json',
    );
    expect(code, err).toBe(0);
    const report = JSON.parse(out) as Figures & {
      chosen: string;
      candidates: { chosen: boolean; reason?: string; name: string }[];
    };
    expectFigures(report);
    expect(report.size.ratio).toBeGreaterThan(3);
    expect(report.size.after).toBe(readFileSync(output).byteLength);
    expect(report.drift.sqnrDb).toBeGreaterThanOrEqual(10);
    expect(report.candidates.filter((candidate) => candidate.chosen).map(({ name }) => name)).toEqual([
      report.chosen,
    ]);
    for (const { chosen, reason } of report.candidates)
      expect(chosen ? reason === undefined : (reason?.length ?? 0) > 5).toBe(true);
    expect(err).toContain('random input');
    const page = readFileSync(at('evidence.html'), 'utf8');
    for (const { name, reason } of report.candidates) {
      expect(page).toContain(`<th scope="row">${name}`);
      expect(page).toContain((reason ?? '').replaceAll('"', '&quot;'));
    }
    const verified = await lithe(
      'verify',
      ...quick,
      models.classifier,
      output,
      ...classifierShape,
      '--min-sqnr',
      '10',
    );
    expect(verified.code).toBe(0);
  });

  it('falls back to the simplified model when nothing else stays inside the drift limit, and says so', async () => {
    const { code, out, err } = await lithe(
      'compress',
      ...quick,
      models.classifier,
      '-o',
      at('strict.onnx'),
      ...classifierShape,
      '--objective',
      'size',
      '--min-sqnr',
      '100',
      '--json',
    );
    expect(code, err).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ chosen: 'simplified' });
    expect(err).toContain('the simplified model was written');
  });

  it('copies the original when even the simplified model is over the limit', async () => {
    const { code, out, err } = await lithe(
      'compress',
      ...quick,
      models.classifier,
      '-o',
      at('original.onnx'),
      ...classifierShape,
      '--min-sqnr',
      '900',
      '--json',
    );
    expect(code, err).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ chosen: 'original', size: { ratio: 1 } });
    expect(readFileSync(at('original.onnx')).equals(readFileSync(models.classifier))).toBe(true);
    expect(err).toContain('the original was copied');
  });

  it('goes through recurrent models with branches', async () => {
    const { code, out, err } = await lithe(
      'compress',
      ...quick,
      models.voice,
      '-o',
      at('voice.onnx'),
      ...voiceInputs,
      '--objective',
      'size',
      '--json',
    );
    expect(code, err).toBe(0);
    const report = JSON.parse(out) as Figures;
    expect(report.size.ratio).toBeGreaterThan(3);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const controller = new AbortController();
    const output = at('interrupted.onnx');
    const call = litheWith(
      controller.signal,
      'compress',
      models.detector,
      '-o',
      output,
      '--shape',
      'x=1x3x64x64',
    );
    setTimeout(() => controller.abort(), 300);
    const { code, err } = await call;
    expect(code).toBe(130);
    expect(err).toContain('Interrupted');
    expect(readdirSync(folder).filter((name) => name.includes('interrupted'))).toEqual([]);
  });
});

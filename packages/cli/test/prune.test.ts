import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { constantOf, createRng, modelCost, Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';
import { loadOnnx } from '@lithe/onnx/node';
import { afterAll, describe, expect, it } from 'vitest';
import { fileJournal } from '../src/prune/file-journal.ts';
import type { PruneResult } from '../src/prune/result.ts';
import { lithe, models } from './lithe.ts';

const folder = mkdtempSync(join(tmpdir(), 'lithe-prune-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const shape = ['--shape', 'x=1x3x48x96'];
const quick = ['--rounds', '6', '--samples', '2'];

function normal(dims: readonly number[], seed: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const size = dims.reduce((product, dim) => product * dim, 1);
  return Tensor.from(
    'float32',
    dims,
    Float32Array.from({ length: size }, () => rng.normal()),
  );
}

describe('lithe prune', () => {
  it('says what it would remove, and writes nothing', async () => {
    const call = await lithe('prune', models.classifier, ...shape, '--dry-run', '-o', at('none.onnx'));
    expect(call.code).toBe(0);
    expect(call.out).toContain('nothing was written');
    expect(call.out).toContain('multiplications');
    expect(call.out).toContain('left alone: ');
    expect(existsSync(at('none.onnx'))).toBe(false);
  });

  it('writes a smaller model to a budget, and tells the figures that the file has', async () => {
    const args = ['--macs', '0.5x', '--criterion', 'l1', '--round-to', '8', '--json', '-o', at('half.onnx')];
    const call = await lithe('prune', models.classifier, ...shape, ...quick, ...args);
    expect({ code: call.code, err: call.err }).toMatchObject({ code: 0 });
    const result = JSON.parse(call.out) as PruneResult;
    expect(result).toMatchObject({ output: at('half.onnx'), criterion: 'l1', met: true, accuracy: null });
    expect(result.macs.after).toBeLessThanOrEqual(0.5 * result.macs.before);
    expect(result.size?.after).toBe(readFileSync(at('half.onnx')).length);
    expect(result.latency?.speedup).toBeGreaterThan(0);
    const { parameters } = modelCost(await loadOnnx(at('half.onnx')));
    expect(parameters).toBe(result.parameters.after);
    for (const { kind, before, after } of result.groups)
      if (kind === 'channel' && before >= 16) expect(after % 8).toBe(0);
  });

  it('measures candidates for a latency, and goes on from its journal', async () => {
    const journal = at('search.jsonl');
    const args = ['--target-latency', '0.9x', '--dry-run', '--json', '--rounds', '6', '--journal', journal];
    const first = await lithe('prune', models.classifier, ...shape, ...args);
    const result = JSON.parse(first.out) as PruneResult;
    expect(result.trials.length).toBeGreaterThan(0);
    const lines = readFileSync(journal, 'utf8');
    expect(lines.split('\n').length - 1).toBe(result.trials.filter(({ ratio }) => ratio > 0).length);
    // As if the process had been killed while it wrote.
    appendFileSync(journal, '{"key":"half');
    const again = await lithe('prune', models.classifier, ...shape, ...args);
    expect((JSON.parse(again.out) as PruneResult).trials).toEqual(result.trials);
    expect(readFileSync(journal, 'utf8')).toBe(`${lines}{"key":"half`);
  });

  it('sets weights to zero, and tells apart what zeros buy and what they do not', async () => {
    const args = ['--sparsity', '0.8', '--protect', 'fc_0.w_0', '--json', '-o', at('zeros.onnx')];
    const call = await lithe('prune', models.classifier, ...shape, ...quick, ...args);
    expect({ code: call.code, err: call.err }).toMatchObject({ code: 0 });
    const result = JSON.parse(call.out) as PruneResult;
    expect(result).toMatchObject({ method: 'zeros', criterion: 'lamp', met: true, groups: [] });
    expect(result.macs.after).toBe(result.macs.before);
    expect(result.parameters.after).toBe(result.parameters.before);
    const { before = 0, after = 0 } = result.compressed ?? {};
    expect([before, after]).toEqual(
      [models.classifier, at('zeros.onnx')].map((file) => gzipSync(readFileSync(file)).length),
    );
    expect(before / after).toBeGreaterThan(2);
    // What is in the file is what was told.
    const written = await loadOnnx(at('zeros.onnx'));
    let [zeros, elements] = [0, 0];
    for (const { weight } of result.zeros) {
      const values = await constantOf(written.graph.value(weight) ?? null)?.load();
      for (const value of values?.toFloat64Array() ?? []) zeros += value === 0 ? 1 : 0;
      elements += values?.size ?? 0;
    }
    expect(zeros / elements).toBeCloseTo(0.8, 3);
    expect(result.zeros.map(({ weight }) => weight)).not.toContain('fc_0.w_0');
    expect(result.pruningLatency?.speedup).toBeGreaterThan(0);
  });

  it('says so for people too, by pattern', async () => {
    const args = ['--pattern', '2:4', '--dry-run'];
    const call = await lithe('prune', models.classifier, ...shape, ...args);
    expect(call.code).toBe(0);
    expect(call.out).toContain('50.0 %');
    expect(call.out).toContain('weights, compressed');
    expect(call.out).toContain('They make nothing faster');
  });

  it('takes layers apart within a budget', async () => {
    const args = ['--low-rank', 'macs=0.7x', '--dry-run', '--json'];
    const call = await lithe('prune', models.classifier, ...shape, ...args);
    const result = JSON.parse(call.out) as PruneResult;
    expect(result).toMatchObject({ method: 'low-rank', criterion: null, met: true });
    expect(result.macs.after).toBeLessThanOrEqual(0.7 * result.macs.before);
    expect(result.ranks.length).toBeGreaterThan(3);
    for (const { rank, fullRank } of result.ranks) expect(rank).toBeLessThan(fullRank);
    const small = await lithe('prune', models.classifier, ...shape, '--low-rank', 'macs=0.01x', '--dry-run');
    expect(small.code).toBe(1);
    expect(small.out).toContain('not met');
  });

  it('wins back what it can without training, after channels and after whole blocks', async () => {
    const x = normal([2, 3, 48, 64], 5);
    writeFileSync(at('calibration.npz'), writeNpz({ x }));
    const data = ['--calibrate', at('calibration.npz'), '--recovery-samples', '2', '--json', ...quick];
    const fit = await lithe(
      'prune',
      models.classifier,
      ...data,
      '--ratio',
      '0.2',
      '--refit',
      '-o',
      at('fit.onnx'),
    );
    expect({ code: fit.code, err: fit.err }).toMatchObject({ code: 0 });
    const fitted = JSON.parse(fit.out) as PruneResult;
    expect(fitted.recovery?.refitted).toBeGreaterThan(10);
    const { before = 0, after = 1 } = fitted.recovery?.error ?? {};
    expect(after).toBeLessThan(before / 2);
    expect(modelCost(await loadOnnx(at('fit.onnx'))).parameters).toBe(fitted.parameters.after);
    const args = ['--drop-blocks', '1', '--reestimate-batch-norm', '-o', at('blocks.onnx')];
    const call = await lithe('prune', models.classifier, ...data, ...args);
    const dropped = JSON.parse(call.out) as PruneResult;
    expect(dropped).toMatchObject({ method: 'blocks', met: true });
    expect(dropped.blocks).toHaveLength(1);
    expect(dropped.recovery?.normalizations).toBeGreaterThan(20);
    expect(modelCost(await loadOnnx(at('blocks.onnx'))).parameters).toBe(dropped.parameters.after);
  });

  it('drops blocks that are named, and lists them when a name is wrong', async () => {
    const args = (name: string): string[] => ['--drop-blocks', name, '--dry-run', '--json'];
    const wrong = await lithe('prune', models.classifier, ...shape, ...args('nothing'));
    expect(wrong.code).toBe(2);
    const names = /Blocks: (.+)\./.exec(wrong.err)?.[1]?.split(', ') ?? [];
    expect(names.length).toBeGreaterThan(2);
    const right = await lithe('prune', models.classifier, ...shape, ...args(names.slice(0, 2).join()));
    const result = JSON.parse(right.out) as PruneResult;
    expect(result.blocks.map(({ block }) => block)).toEqual(names.slice(0, 2));
    expect(result.parameters.after).toBeLessThan(result.parameters.before);
  });

  it('says what it does not look into', async () => {
    const call = await lithe('prune', models.voice, '--dry-run');
    expect(call.code).toBe(0);
    expect(call.out).toContain('No group of channels can be pruned.');
    expect(call.out).toContain('16 layers in subgraphs');
  });

  it('writes nothing where labels are asked for and are not there', async () => {
    const x = normal([2, 3, 48, 64], 6);
    writeFileSync(at('unlabelled.npz'), writeNpz({ x }));
    for (const [name, code] of [
      ['unlabelled.npz', 'DATA_INVALID'],
      ['missing.npz', 'missing.npz'],
    ] as const) {
      const args = ['--ratio', '0.5', '--evaluate', at(name), '-o', at('blind.onnx')];
      const call = await lithe('prune', models.classifier, ...shape, ...quick, ...args);
      expect({ code: call.code, out: call.out }).toEqual({ code: 1, out: '' });
      expect(call.err).toContain(code);
      expect(existsSync(at('blind.onnx'))).toBe(false);
    }
  });

  it('is called wrongly in ways that it explains', async () => {
    for (const [args, message] of [
      [['--sparsity', '0.5', '--low-rank', '0.9'], 'are two steps'],
      [['--sparsity', '0.5', '--macs', '0.5x'], '--macs means nothing to --sparsity'],
      [['--sparsity', '0.5', '--refit'], 'sparse-gpt moves the weights that stay'],
      [['--sparsity', '0.5', '--pattern', '2:4'], 'leave --sparsity out'],
      [['--sparsity', '0.5', '--criterion', 'taylor'], 'scores whole channels'],
      [['--sparsity', '0.5', '--criterion', 'wanda'], 'real inputs: give them with --calibrate'],
      [['--sparsity', '0.5', '--scope', 'isomorphic'], 'is for channels'],
      [['--pattern', '4:2'], 'Write "unstructured", N:M'],
      [['--pattern', '4x1', '--criterion', 'sparse-gpt', '--calibrate', '.'], 'not blocks'],
      [['--criterion', 'sparse-gpt'], 'give --sparsity'],
      [['--scope', 'row'], 'for single weights'],
      [['--low-rank', '1.5'], 'the energy that layers keep'],
      [['--low-rank', '0.9', '--criterion', 'l1'], '--criterion means nothing to --low-rank'],
      [['--drop-blocks', '0'], '1 or more'],
      [['--drop-blocks', '2'], 'real inputs with --calibrate, or the names'],
      [['--refit'], 'real inputs: give them with --calibrate'],
      [['--ratio', '2'], 'between 0 and 1'],
      [['--ratio', '0.5', '--macs', '0.5x'], 'Give either --ratio or budgets'],
      [['--journal', at('unused.jsonl')], 'for the search of --target-latency'],
      [['--macs', '0.5x', '--batch-size', '4'], 'for the search of --target-latency'],
      [['--logits', 'y'], 'the loss of taylor and fisher'],
      [['--recovery-samples', '9'], 'for --refit'],
      [['--criterion', 'size'], 'Allowed choices'],
      [['--criterion', 'taylor'], 'labelled inputs with --calibrate'],
    ] as const) {
      const call = await lithe('prune', models.classifier, ...shape, ...args, '-o', at('wrong.onnx'));
      expect({ args, code: call.code, out: call.out }).toEqual({ args, code: 2, out: '' });
      expect(call.err).toContain(message);
    }
  });
});

describe('fileJournal', () => {
  it('keeps what it is told across processes, and refuses another file', async () => {
    const path = at('journal.jsonl');
    const journal = await fileJournal(path);
    await journal.set('one', 1.5);
    appendFileSync(path, '{"key":"two","val');
    const next = await fileJournal(path);
    expect([await next.get('one'), await next.get('two')]).toEqual([1.5, undefined]);
    await next.set('three', [3]);
    const last = await fileJournal(path);
    expect([await last.get('one'), await last.get('three')]).toEqual([1.5, [3]]);
    for (const other of [models.classifier, folder, at('no-folder/journal.jsonl')])
      await expect(fileJournal(other)).rejects.toMatchObject({ code: 'FILE_INVALID' });
  });
});

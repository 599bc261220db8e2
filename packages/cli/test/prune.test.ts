import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelCost } from '@lithe/core';
import { loadOnnx } from '@lithe/onnx/node';
import { afterAll, describe, expect, it } from 'vitest';
import { fileJournal } from '../src/prune/file-journal.ts';
import type { PruneResult } from '../src/prune/prune-file.ts';
import { lithe, models } from './lithe.ts';

const folder = mkdtempSync(join(tmpdir(), 'lithe-prune-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const shape = ['--shape', 'x=1x3x48x192'];
const quick = ['--rounds', '6', '--samples', '2'];

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
    const args = ['--target-latency', '0.9x', '--dry-run', '--json', '--rounds', '1', '--journal', journal];
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

  it('is called wrongly in ways that it explains', async () => {
    for (const [args, message] of [
      [['--ratio', '2'], 'between 0 and 1'],
      [['--ratio', '0.5', '--macs', '0.5x'], 'Give either --ratio or budgets'],
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
    await expect(fileJournal(models.classifier)).rejects.toMatchObject({ code: 'FILE_INVALID' });
  });
});

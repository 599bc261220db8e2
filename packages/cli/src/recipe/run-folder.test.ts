import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { removeTemporary, storeFileName, writeWhole } from './run-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'lithe-folder-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('removes what a process left that is no more, and nothing else', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const kept = [`.b.onnx.${process.pid}-2.tmp`, '.notes.tmp', 'c.tmp', 'model.onnx'];
  for (const name of [`.a.onnx.${pid}-1.tmp`, ...kept]) writeFileSync(join(folder, name), '');
  await removeTemporary(folder);
  expect(readdirSync(folder).sort()).toEqual(kept);
  await removeTemporary(join(folder, 'nowhere'));
});

it('leaves the old file where the new one cannot be written', async () => {
  writeFileSync(join(folder, 'plain'), 'old');
  await expect(writeWhole(join(folder, 'plain', 'x.json'), 'new')).rejects.toMatchObject({
    code: 'FILE_NOT_WRITTEN',
  });
  await writeWhole(join(folder, 'plain'), 'new');
  expect(readdirSync(folder).filter((name) => name.includes('plain'))).toEqual(['plain']);
});

it('gives stores names that are files, each its own', () => {
  expect(storeFileName('checkpoint')).toBe('checkpoint');
  const names = ['../x', '../y', '.hidden', 'a/b', 'a:b', 'n'.repeat(300), ''].map(storeFileName);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[\w-]{1,60}$/);
});

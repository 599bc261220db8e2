import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lockFolder } from './run-lock.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lithe-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lock = (): string => join(folder, 'run.lock');

it('lets one run in at a time, and the next one when it is done', async () => {
  {
    await using _first = await lockFolder(folder);
    expect(Number.parseInt(readFileSync(lock(), 'utf8'), 10)).toBe(process.pid);
    await expect(lockFolder(folder)).rejects.toMatchObject({
      code: 'FOLDER_LOCKED',
      details: { folder, holder: process.pid },
    });
    expect(readdirSync(folder)).toEqual(['run.lock']);
  }
  expect(readdirSync(folder)).toEqual([]);
  await using _second = await lockFolder(folder);
});

it('lets one of many in that come at once, to a lock that was left behind too', async () => {
  const { pid } = spawnSync(process.execPath, ['--version']);
  const stale = `${pid} of a process that has ended\n`;
  // Who comes first is by chance.
  for (let round = 0; round < 100; round++) {
    if (round % 2 === 1) writeFileSync(lock(), stale);
    const all = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder)));
    const got = all.filter((one) => one.status === 'fulfilled');
    expect(got).toHaveLength(1);
    await got[0]?.value[Symbol.asyncDispose]();
    expect(readdirSync(folder)).toEqual([]);
  }
});

it('knows its folder by another name', async () => {
  const link = `${folder}-link`;
  symlinkSync(folder, link);
  try {
    await using _own = await lockFolder(folder);
    await expect(lockFolder(link)).rejects.toMatchObject({ code: 'FOLDER_LOCKED' });
  } finally {
    rmSync(link);
  }
});

it('takes over from a process that was killed while it took over', async () => {
  const { pid } = spawnSync(process.execPath, ['--version']);
  const stale = `${pid} one\n`;
  writeFileSync(lock(), stale);
  const claimOf = (text: string): string =>
    join(folder, `.run.lock.${createHash('sha256').update(text).digest('hex').slice(0, 16)}.tmp`);
  writeFileSync(claimOf(stale), `${pid} two\n`);
  await (await lockFolder(folder))[Symbol.asyncDispose]();
  expect(readdirSync(folder)).toEqual([]);
  writeFileSync(lock(), stale);
  writeFileSync(claimOf(stale), `${process.ppid} lives\n`);
  await expect(lockFolder(folder)).rejects.toMatchObject({ details: { holder: process.ppid } });
  expect(readFileSync(lock(), 'utf8')).toBe(stale);
});

it('takes over what an earlier process of the same id left, as in a container that is started again', async () => {
  writeFileSync(lock(), `${process.pid} before\n`);
  await using _own = await lockFolder(folder);
  expect(readFileSync(lock(), 'utf8')).not.toContain('before');
});

it('leaves the lock of a process that lives alone, and what is no lock of ours', async () => {
  for (const [text, says] of [
    [`${process.ppid} parent\n`, `another run (process ${process.ppid})`],
    ['', 'another run'],
  ] as const) {
    writeFileSync(lock(), text);
    await expect(lockFolder(folder)).rejects.toThrow(says);
    expect(readFileSync(lock(), 'utf8')).toBe(text);
  }
});

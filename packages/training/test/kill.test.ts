import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRng } from '@lithe/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { main as longRun } from './long-run.ts';

const local = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
/** Many more than it has taken when it is killed: on a busy machine the order to kill comes late. */
const STEPS = 600;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'lithe-kill-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs the training until it has told step `last`, waits a little longer, and kills it as the system would. */
async function runUntilKilled(
  checkpoint: string,
  result: string,
  last: number,
  wait: number,
): Promise<readonly number[]> {
  const child: ChildProcess = spawn(
    process.execPath,
    [local('../../../tools/ts.mjs'), local('long-run.ts'), checkpoint, result],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    const before = text;
    text += part;
    const passed = (all: string): boolean => all.split('\n').some((line) => Number(line) >= last);
    if (!passed(before) && passed(text)) setTimeout(() => child.kill('SIGKILL'), wait);
  });
  await new Promise((resolve) => child.on('close', resolve));
  expect(child.signalCode).toBe('SIGKILL');
  return text.split('\n').filter(Boolean).map(Number);
}

it('loses nothing when it is killed in the middle of an epoch, twice', { timeout: 300_000 }, async () => {
  const expected = path.join(folder, 'whole.onnx');
  const write = process.stdout.write;
  // The run in this process tells its steps to nobody.
  process.stdout.write = () => true;
  await longRun([path.join(folder, 'whole.safetensors'), expected]).finally(() => {
    process.stdout.write = write;
  });
  const checkpoint = path.join(folder, 'killed.safetensors');
  const result = path.join(folder, 'killed.onnx');
  const rng = createRng(process.pid);
  const first = 20 + rng.integer(80);
  const seen = await runUntilKilled(checkpoint, result, first, rng.integer(30));
  const told = await runUntilKilled(checkpoint, result, first + 60 + rng.integer(60), rng.integer(30));
  // It went on from the checkpoint, at most three steps before the kill and whatever was not told any more.
  expect(told[0]).toBeGreaterThan((seen.at(-1) ?? 0) - 3);
  expect(told.at(-1)).toBeLessThan(STEPS);
  process.stdout.write = () => true;
  await longRun([checkpoint, result]).finally(() => {
    process.stdout.write = write;
  });
  expect((await readFile(result)).equals(await readFile(expected))).toBe(true);
});

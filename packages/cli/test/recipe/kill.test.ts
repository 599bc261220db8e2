import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseRecipe, runRecipe } from '@lithe/cli';
import { afterAll, expect, it } from 'vitest';
import { makeWorkplace, model } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());
const root = fileURLToPath(new URL('../../../../', import.meta.url));

const recipe = (delay: number): string => `recipe: 1
plugins: [lithe-plugin-x]
${model}
data: { train: train.npz, test: test.npz }
target: { name: node-cpu, rounds: 0 }
steps:
  - { name: first, use: x/scale, with: { factor: 2 } }
  - { name: long, use: x/count, with: { steps: 20, delay: ${delay} } }
  - { name: last, use: x/blend, with: { other: first } }
`;

/** Steps that the killed process kept, or 0. What is being written is renamed at any moment, so it is not looked at. */
function keptSteps(folder: string): number {
  const work = join(folder, 'seed-0', 'work');
  if (!existsSync(work)) return 0;
  const entries = readdirSync(work, { recursive: true, withFileTypes: true });
  const state = entries.find((entry) => entry.isFile() && !entry.name.endsWith('.tmp'));
  if (state === undefined) return 0;
  return (JSON.parse(readFileSync(join(state.parentPath, state.name), 'utf8')) as { step: number }).step;
}

it('a process that is killed with kill -9 loses at most a checkpoint interval', async () => {
  const path = place.write('recipe.yaml', recipe(60));
  const folder = place.at('recipe.run');
  const child = spawn(
    process.execPath,
    [join(root, 'tools/ts.mjs'), join(root, 'packages/cli/src/main.ts'), 'node', 'lithe', 'run', path],
    { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let messages = '';
  child.stderr.on('data', (chunk: Buffer) => {
    messages += chunk.toString();
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    child.on('exit', (_code, signal) => resolve(signal));
  });
  while (keptSteps(folder) < 5 && child.exitCode === null) await setTimeout(5);
  child.kill('SIGKILL');
  expect(await ended, messages).toBe('SIGKILL');
  const kept = keptSteps(folder);
  expect(kept).toBeGreaterThanOrEqual(5);
  expect(existsSync(join(folder, 'report.json'))).toBe(false);
  // What a process leaves that is killed while it writes.
  place.write(`recipe.run/seed-0/.02-long.onnx.${child.pid}-0.tmp`, 'half');

  const report = await runRecipe(parseRecipe(recipe(60), path), {});
  const [seed] = report.seeds;
  expect(seed?.steps.map(({ resumed }) => resumed)).toEqual([true, false, false]);
  expect(seed?.steps[1]?.pass.metrics['resumed at']).toEqual({ value: kept, unit: 'steps' });
  expect(readdirSync(join(folder, 'seed-0')).filter((name) => name.endsWith('.tmp'))).toEqual([]);

  // The delay is an option too, and options tell results apart: the same one is given to a run of its own.
  const whole = await runRecipe(parseRecipe(recipe(60), path), { folder: place.at('whole') });
  for (const [index, step] of (seed?.steps ?? []).entries()) {
    const other = whole.seeds[0]?.steps[index]?.file ?? '';
    expect(readFileSync(join(folder, step.file))).toEqual(readFileSync(join(place.at('whole'), other)));
  }
});

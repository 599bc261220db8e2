import { readFile } from 'node:fs/promises';
import { standardOps } from '@lithe/core';
import { expect, it } from 'vitest';
import { simplifyRules } from './index.ts';

/** The rows of the README's table, from the rules. */
function ruleRows(): readonly (readonly string[])[] {
  const allowance = { bytes: 0, widths: new Set<number>() };
  const settings = { opset: standardOps, sizes: new Map(), growthBytes: 0, allowance };
  return simplifyRules.map((entry) => {
    const { name, summary } = entry.make(settings);
    expect(name).toBe(`simplify/${entry.name}`);
    return [`\`${entry.name}\``, entry.phase, entry.opset === 1 ? '' : String(entry.opset), summary];
  });
}

it('lists every rule, with its phase, the opset of its result and its summary', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const tables = readme
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
  expect(tables.filter((cells) => cells.length === 4)).toEqual(ruleRows());
});

it('names each rule once', () => {
  const names = simplifyRules.map((entry) => entry.name);
  expect(new Set(names).size).toBe(names.length);
});

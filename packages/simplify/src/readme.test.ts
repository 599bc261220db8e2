import { readFile } from 'node:fs/promises';
import { standardOps } from '@lithe/core';
import { expect, it } from 'vitest';
import { simplifyRules } from './index.ts';

/** The table of the README, made from the rules. */
function ruleTable(): string {
  const settings = {
    opset: standardOps,
    sizes: new Map(),
    growthBytes: 0,
    allowance: { bytes: 0, widths: new Set<number>() },
  };
  const rows = simplifyRules.map((entry) => {
    const { name, summary } = entry.make(settings);
    expect(name).toBe(`simplify/${entry.name}`);
    return `| \`${entry.name}\` | ${entry.phase} | ${entry.opset === 1 ? '' : entry.opset} | ${summary.replaceAll('|', '\\|')} |`;
  });
  return ['| rule | phase | opset | what it does |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

it('lists every rule, with its phase, the opset of its result and its summary', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const wanted = ruleTable();
  const start = readme.indexOf('| rule | phase |');
  expect(readme.slice(start, start + wanted.length)).toBe(wanted);
});

it('names each rule once', () => {
  const names = simplifyRules.map((entry) => entry.name);
  expect(new Set(names).size).toBe(names.length);
});

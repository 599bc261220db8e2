import { referenceKernels } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { readArchive } from './archive.ts';
import { type CaseResult, checkCase } from './check-case.ts';
import { gaps } from './gaps.ts';

/** The archives, and how many of their cases must at least run: a floor, so that none falls away unseen. */
const archives = [
  { file: 'onnx-node-tests-1.12.tgz', cases: 932, ran: 923, fullyTyped: 0.8 },
  { file: 'onnx-node-tests-1.16-additions.tgz', cases: 347, ran: 347, fullyTyped: 0.7 },
] as const;

const gapOf = (name: string, check: 'values' | 'types'): boolean =>
  gaps.some((gap) => gap.check === check && gap.cases.test(name));

const loaded = archives.map((archive) => ({
  ...archive,
  items: readArchive(new URL(archive.file, import.meta.url)),
}));

describe.each(loaded)('$file', ({ items, cases, ran, fullyTyped }) => {
  const results = new Map<string, CaseResult>();

  it.each(items.map((item) => [item.name, item] as const))('%s', async (name, item) => {
    const result = await checkCase(item);
    results.set(name, result);
    if (gapOf(name, 'values')) {
      expect([...result.missing, ...result.values], 'a listed gap passes: take it off the list').not.toEqual(
        [],
      );
    } else {
      expect(result.missing).toEqual([]);
      expect(result.values).toEqual([]);
    }
    if (gapOf(name, 'types'))
      expect(result.types, 'a listed gap passes: take it off the list').not.toEqual([]);
    else expect(result.types).toEqual([]);
  });

  it('ran the whole archive', () => {
    expect(items).toHaveLength(cases);
    const all = [...results.values()];
    expect(all).toHaveLength(cases);
    expect(all.filter((result) => result.missing.length === 0).length).toBeGreaterThanOrEqual(ran);
    const outputs = all.reduce((sum, result) => sum + result.outputs, 0);
    const complete = all.reduce((sum, result) => sum + result.fullyTyped, 0);
    expect(complete / outputs).toBeGreaterThan(fullyTyped);
  });
});

it('has a case for every listed gap', () => {
  const names = loaded.flatMap(({ items }) => items.map((item) => item.name));
  for (const gap of gaps)
    expect(
      names.filter((name) => gap.cases.test(name)),
      String(gap.cases),
    ).not.toEqual([]);
});

it('claims at least 220 operators', () => {
  expect(Object.keys(referenceKernels).length).toBeGreaterThanOrEqual(220);
});

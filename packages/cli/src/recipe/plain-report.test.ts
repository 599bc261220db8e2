import type { StepReport } from '@lithe/core';
import { expect, it } from 'vitest';
import { plainReport } from './plain-report.ts';

const report: StepReport = {
  pass: 'a/b',
  version: 1,
  options: { limit: 3n },
  milliseconds: 5,
  check: {
    maxAbs: Number.POSITIVE_INFINITY,
    maxRelative: 2,
    sqnrDb: Number.POSITIVE_INFINITY,
    samples: 1,
  },
  unchecked: undefined,
  changed: true,
  applied: ['change "x"'],
  skipped: [],
  metrics: { loss: { value: 0.5, unit: '' }, lost: { value: Number.NaN, unit: '' } },
  tables: {
    epochs: {
      title: 'Epochs',
      columns: [
        { name: 'epoch', unit: '' },
        { name: 'loss', unit: '' },
      ],
      rows: [
        [1, 0.5],
        [2, Number.NaN],
        [3, Number.NEGATIVE_INFINITY],
      ],
    },
  },
};

it('loses nothing as JSON: what is not finite is a text, or said to be left out', () => {
  const plain = plainReport(report);
  expect(JSON.parse(JSON.stringify(plain))).toEqual(plain);
  expect(plain.tables?.['epochs']?.rows).toEqual([
    [1, 0.5],
    [2, 'NaN'],
    [3, '-Infinity'],
  ]);
  expect(plain).toMatchObject({
    options: { limit: '3' },
    check: { maxAbs: Number.MAX_VALUE, maxRelative: 2, sqnrDb: 200 },
    metrics: { loss: { value: 0.5 } },
    skipped: [{ target: 'lost', code: 'figure-not-finite', reason: 'the figure is NaN' }],
  });
  expect(Object.keys(plain.metrics)).toEqual(['loss']);
});

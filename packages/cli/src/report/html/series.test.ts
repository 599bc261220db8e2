import { describe, expect, it } from 'vitest';
import { logTicks, metricScale } from './scales.ts';
import { seriesMeans, seriesOf } from './series.ts';

const columns = ['layer', 'format', 'drift'].map((name) => ({ name, unit: '' }));

describe('seriesOf', () => {
  it('tells rows of one layer apart by their other texts', () => {
    const rows = [
      ['conv', 'int8', 1],
      ['conv', 'int4', 2],
      ['fc', 'int8', 3],
    ];
    const table = { title: '', columns, rows };
    expect(seriesOf([{ seed: 0, table }], 'layer', 'drift').map(({ x }) => x)).toEqual([
      'conv · int8',
      'conv · int4',
      'fc · int8',
    ]);
  });

  it('leaves out cells that are no finite numbers, and columns that are not there', () => {
    const rows = [
      ['a', 'int8', 'none'],
      ['b', 'int8', Number.NaN],
      ['c', 'int8', 4],
    ];
    const table = { title: '', columns, rows };
    expect(seriesOf([{ seed: 0, table }], 'layer', 'drift')).toEqual([{ seed: 0, x: 'c', y: 4 }]);
    expect(seriesOf([{ seed: 0, table }], 'layer', 'nowhere')).toEqual([]);
  });

  it('takes the mean over seeds at each place', () => {
    const rows = [
      { x: 1, y: 2 },
      { x: 2, y: 5 },
      { x: 1, y: 4 },
    ];
    expect(seriesMeans(rows)).toEqual([
      { x: 1, y: 3 },
      { x: 2, y: 5 },
    ]);
  });
});

describe('scales', () => {
  it('labels few round values of a logarithmic scale', () => {
    expect(logTicks(0.9, 110)).toEqual([1, 3, 10, 30, 100]);
    expect(logTicks(1, 4)).toEqual([1, 1.5, 2, 3, 4]);
    expect(logTicks(1, 1e9).length).toBeLessThanOrEqual(12);
  });

  it('shows what is close, and puts what lies far below to the lower end', () => {
    const { domain, floor } = metricScale([0.1, 0.93, 0.91, 0.92], [0.93, 0.92]);
    expect(floor).toBe(0.91);
    expect(domain[0]).toBeGreaterThan(0.89);
    expect(metricScale([0.7, 0.9], [0.9, 0.7]).floor).toBe(Number.NEGATIVE_INFINITY);
  });

  it('has a range for one value', () => {
    const { domain } = metricScale([0.9], [0.9]);
    expect(domain[0]).toBeLessThan(0.9);
    expect(domain[1]).toBeGreaterThan(0.9);
  });
});

import type { ReportTable } from '@lithe/core';

/** A table of one seed. */
export interface SeedTable {
  /** The seed. */
  readonly seed: number;
  /** The table. */
  readonly table: ReportTable;
}

/** A value that is drawn. */
export interface SeriesRow {
  /** The seed. */
  readonly seed: number;
  /** Where: a number along an axis, or a name. */
  readonly x: string | number;
  /** The value. */
  readonly y: number;
}

/**
 * One column of a table over another, for all seeds; cells that are no finite numbers are left out. Where a name comes
 * up more than once, all texts of its row together stand for it: a layer in several formats, say.
 */
export function seriesOf(tables: readonly SeedTable[], x: string, y: string): readonly SeriesRow[] {
  return tables.flatMap(({ seed, table }) => {
    const along = table.columns.findIndex(({ name }) => name === x);
    const up = table.columns.findIndex(({ name }) => name === y);
    const places = table.rows.map((row) => row[along]);
    const repeated = new Set(places).size < places.length;
    return table.rows.flatMap((row, index) => {
      const [at, value] = [places[index], row[up]];
      if (at === undefined || typeof value !== 'number' || !Number.isFinite(value)) return [];
      const words = row.filter((cell) => typeof cell === 'string');
      return [{ seed, x: repeated && typeof at === 'string' ? words.join(' · ') : at, y: value }];
    });
  });
}

/** A value by place. */
export interface SeriesPoint<Place extends string | number> {
  /** Where. */
  readonly x: Place;
  /** The mean over the seeds. */
  readonly y: number;
}

/** The mean over the seeds at each place, in the order of the places. */
export function seriesMeans<Place extends string | number>(
  rows: readonly { readonly x: Place; readonly y: number }[],
): readonly SeriesPoint<Place>[] {
  const sums = new Map<Place, { sum: number; count: number }>();
  for (const { x, y } of rows) {
    const entry = sums.get(x);
    if (entry === undefined) sums.set(x, { sum: y, count: 1 });
    else {
      entry.sum += y;
      entry.count++;
    }
  }
  return [...sums].map(([x, { sum, count }]) => ({ x, y: sum / count }));
}

/** Number of seeds among rows. */
export function seedCount(rows: readonly SeriesRow[]): number {
  return new Set(rows.map(({ seed }) => seed)).size;
}

/** Smallest and largest value. */
export function extentOf(values: readonly number[]): readonly [number, number] {
  return values.reduce<readonly [number, number]>(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
}

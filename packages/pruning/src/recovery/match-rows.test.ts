import { describe, expect, it } from 'vitest';
import { matchRows, type Rows } from './match-rows.ts';

const rowsOf = (rows: readonly (readonly number[])[], block = 1, extra?: readonly number[]): Rows => ({
  data: Float64Array.from(rows.flat()),
  count: rows.length,
  length: rows[0]?.length ?? 0,
  block,
  extra: extra === undefined ? undefined : Float64Array.from(extra),
});

describe('matchRows', () => {
  const original = rowsOf(
    [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
      [1, 2, 3, 4],
      [9, 9, 7, 1],
    ],
    1,
    [0.5, 0, -0.5, 0],
  );

  it('finds rows that are left, whole or without some of their elements', () => {
    expect(
      matchRows(
        rowsOf([
          [5, 6, 7, 8],
          [9, 9, 7, 1],
        ]),
        original,
      ),
    ).toEqual(Int32Array.of(1, 3));
    expect(
      matchRows(
        rowsOf([
          [5, 7],
          [9, 7],
        ]),
        original,
      ),
    ).toEqual(Int32Array.of(1, 3));
  });

  it('tells rows of equal weights apart by their bias', () => {
    expect(matchRows(rowsOf([[1, 3]], 1, [-0.5]), original)).toEqual(Int32Array.of(2));
    expect(matchRows(rowsOf([[1, 3]], 1, [0.5]), original)).toEqual(Int32Array.of(0));
    expect(matchRows(rowsOf([[1, 3]], 1, [7]), original)).toBeUndefined();
  });

  it('refuses a row that may be one or another, and takes either of two that are equal', () => {
    const sparse = rowsOf([
      [0, 0, 3, 0],
      [0, 0, 0, 4],
      [5, 6, 0, 0],
    ]);
    const left = rowsOf([
      [0, 0],
      [5, 6],
    ]);
    expect(matchRows(left, sparse)).toBeUndefined();
    const twice = rowsOf([
      [1, 2],
      [1, 2],
      [3, 4],
    ]);
    expect(matchRows(rowsOf([[1, 2]]), twice)).toEqual(Int32Array.of(0));
  });

  it('keeps kernels whole, and the order of rows', () => {
    const kernels = rowsOf(
      [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
      ],
      2,
    );
    expect(
      matchRows(
        rowsOf(
          [
            [3, 4],
            [7, 8],
          ],
          2,
        ),
        kernels,
      ),
    ).toEqual(Int32Array.of(0, 1));
    expect(matchRows(rowsOf([[2, 3]], 2), kernels)).toBeUndefined();
    expect(
      matchRows(
        rowsOf(
          [
            [7, 8],
            [3, 4],
          ],
          2,
        ),
        kernels,
      ),
    ).toBeUndefined();
    expect(matchRows(rowsOf([[3, 4]], 1), kernels)).toBeUndefined();
  });
});

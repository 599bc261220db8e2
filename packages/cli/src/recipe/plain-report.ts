import type { StepReport } from '@lithe/core';
import { EQUAL_SQNR_DB } from '../compress/bench.ts';

/** A report that JSON can hold: infinite and missing numbers are written as texts, or said to be left out. */
export function plainReport(report: StepReport): StepReport {
  const { check, tables, metrics, skipped } = report;
  const finite = (value: number): number => (Number.isFinite(value) ? value : Number.MAX_VALUE);
  const lost = Object.entries(metrics).filter(([, metric]) => !Number.isFinite(metric.value));
  return {
    ...report,
    options: JSON.parse(
      JSON.stringify(report.options ?? null, (_key, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      ),
    ),
    metrics: Object.fromEntries(
      Object.entries(metrics).filter(([, metric]) => Number.isFinite(metric.value)),
    ),
    skipped: [
      ...skipped,
      ...lost.map(([name, { value }]) => ({
        target: name,
        code: 'figure-not-finite',
        reason: `the figure is ${value}`,
      })),
    ],
    check:
      check === undefined
        ? undefined
        : {
            ...check,
            maxAbs: finite(check.maxAbs),
            maxRelative: finite(check.maxRelative),
            sqnrDb: Math.min(check.sqnrDb, EQUAL_SQNR_DB),
          },
    ...(tables === undefined
      ? {}
      : {
          tables: Object.fromEntries(
            Object.entries(tables).map(([name, table]) => [
              name,
              {
                ...table,
                rows: table.rows.map((row) =>
                  row.map((cell) =>
                    typeof cell === 'number' && !Number.isFinite(cell) ? String(cell) : cell,
                  ),
                ),
              },
            ]),
          ),
        }),
  };
}

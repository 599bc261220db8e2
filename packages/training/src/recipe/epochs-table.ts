import type { ReportTable } from '@lithe/core';
import type { EpochRecord } from '../fit/fit-options.ts';

/** Epochs as a table of a report: loss, learning rate and, where it was measured, the metric of each. */
export function epochsTable(history: readonly EpochRecord[]): ReportTable {
  const measured = history.some(({ metric }) => metric !== undefined);
  return {
    title: 'Epochs',
    columns: ['epoch', 'loss', 'learning rate', ...(measured ? ['metric'] : [])].map((name) => ({
      name,
      unit: '',
    })),
    rows: history.map(({ epoch, loss, learningRate, metric }) => [
      epoch,
      loss,
      learningRate,
      ...(measured ? [metric ?? ''] : []),
    ]),
    plot: { kind: 'line', x: 'epoch', y: measured ? ['loss', 'metric'] : ['loss'] },
  };
}

import { definePass, type Pass, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { SharedWeights } from '../weights/shared.ts';
import type { QuantizedTable } from './dynamic-context.ts';
import { quantizeEmbedding } from './dynamic-embedding.ts';
import type { Resolved } from './resolved.ts';

/** Options of {@link tableRows}. */
export interface TableRowsOptions {
  /** Tables with fewer elements stay float; 1024 by default. */
  readonly minimumElements?: number | undefined;
  /**
   * Whether a table that other nodes read too (the weight of a product) is stored here as well, beside their copy. On by
   * default; off leaves it to a pass that stores it once for both, such as `weightOnly`.
   */
  readonly shared?: boolean | undefined;
}

const schema = z.strictObject({
  minimumElements: z.int().min(1).default(1024),
  shared: z.boolean().default(true),
});

type Options = Resolved<TableRowsOptions>;

/**
 * Stores tables that `Gather` reads rows of (embeddings of tokens and positions) as int8 with a scale per row, and
 * expands the rows that are asked for: a quarter of the bytes in the file and in memory, with standard operators that
 * every runtime has.
 *
 * @example
 * ```ts
 * import { tableRows } from '@lithe/quantization';
 *
 * tableRows().name; // => 'quantization/table-rows'
 * ```
 */
export const tableRows: Pass<TableRowsOptions, Options> = definePass({
  name: 'quantization/table-rows',
  version: 1,
  summary: 'Stores tables of embeddings as int8 rows, expanded as they are read.',
  options: schema,
  preserves: 'accuracy',
  run: (draft, options) => {
    const report = new ReportBuilder();
    const { minimumElements } = options;
    const context = { minimumElements, tables: new SharedWeights<QuantizedTable>() };
    for (const node of [...draft.graph.nodesDeep()]) {
      if (!node.is('Gather')) continue;
      const table = node.input(0);
      if (!options.shared && table?.uses.some((use) => !use.node.is('Gather')) === true)
        report.skip(node.name, 'shared', `"${table.name}" is read by other nodes too`);
      else quantizeEmbedding(node, context, report);
    }
    return report.build();
  },
});

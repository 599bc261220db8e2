import { describe, expect, it } from 'vitest';
import { type Make, rngOf } from './operands.ts';
import { differencesFromRuntime } from './runtime.ts';

/** Cases by name, and with how many seeds each is made. */
export interface CaseGroup {
  /** The cases. */
  readonly cases: Readonly<Record<string, Make>>;
  /** Times that each is made, with other numbers. */
  readonly seeds: number;
}

/** Compares every case with onnxruntime. */
export function describeCases(title: string, groups: readonly CaseGroup[]): void {
  const entries = groups.flatMap(({ cases, seeds }) =>
    Object.entries(cases).map(([name, make]) => [name, make, seeds] as const),
  );
  describe(title, () => {
    it.each(entries)('%s', async (name, make, seeds) => {
      for (let seed = 0; seed < seeds; seed++) {
        const item = make(rngOf(`${name} ${seed}`));
        const attributes = JSON.stringify(item.attributes ?? {}, (_key, value: unknown) =>
          typeof value === 'bigint' ? Number(value) : value,
        );
        expect(await differencesFromRuntime(item), `seed ${seed}: ${attributes}`).toEqual([]);
      }
    });
  });
}

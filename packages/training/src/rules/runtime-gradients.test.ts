import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import type { Backend } from '@lithe/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cases } from '../../test/gradient-cases.ts';
import { build, type Case, inFloat32, label, numericGradient } from '../../test/gradient-check.ts';
import { gradients } from '../autodiff/gradients.ts';

let runtime: Backend;
beforeAll(async () => {
  runtime = await onnxruntimeNode({ threads: 1 });
});
afterAll(async () => {
  await runtime.dispose();
});

/** Of the largest slope of an input, and of 1 where all are small. */
const TOLERANCE = 1e-2;

/** What onnxruntime says of a forward operator that it has no kernel for, or that no file can hold. */
function refusalOf({ op, attributes }: Case): RegExp | undefined {
  if (attributes?.['layout'] === 1) return /layout == 1\) are not supported/;
  if (op === 'LRN' && Number(attributes?.['size']) % 2 === 0) return /size_ % 2 == 1/;
  return op === 'SimplifiedLayerNormalization' ? /operator is not defined/ : undefined;
}

describe('gradient rules in float32 on onnxruntime agree with central differences in float64', () => {
  it.each(cases.map((item) => [label(item), item] as const))('%s', async (_, item) => {
    const built = await build(item);
    const wrt = Object.keys(built.feeds).filter(
      (name) => !(item.constant ?? []).includes(Number(name.slice(1))),
    );
    const { model, feeds } = await inFloat32(built);
    const derived = await gradients(model, { of: 'loss', wrt });
    const refusal = refusalOf(item);
    if (refusal !== undefined) {
      await expect(runtime.compile(derived)).rejects.toThrow(refusal);
      return;
    }
    await using executable = await runtime.compile(derived);
    const results = await executable.run(feeds);
    for (const name of wrt) {
      const found = results[`grad:${name}`];
      const numeric = await numericGradient(built, name);
      expect(found?.dtype).toBe('float32');
      expect(found?.shape).toEqual(feeds[name]?.shape);
      const scale = Math.max(1, ...numeric.map(Math.abs));
      found?.toFloat64Array().forEach((value, index) => {
        const wanted = numeric[index] as number;
        expect(
          Math.abs(value - wanted) / scale,
          `${name}[${index}]: ${value} against ${wanted}`,
        ).toBeLessThan(TOLERANCE);
      });
    }
  });
});

import { readOnnx, upgradeNotes, writeOnnx } from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { agreement, realModels, runOriginal } from './models.ts';

/** What runs must agree to: the upgrade rewrites forms, and must not change arithmetic. */
const tolerance = 1e-5;

describe('the upgrade to the working opset', () => {
  it.each(realModels)('leaves the results of $name as they are', async ({ load, feeds }) => {
    const bytes = await load();
    const model = await readOnnx(bytes);
    expect(upgradeNotes(model)).toEqual([]);
    expect(model.opset).toBe(21);
    const upgraded = await writeOnnx(model, { opset: 21 });
    expect(Buffer.compare(upgraded, bytes)).not.toBe(0);
    const expected = await runOriginal(bytes, feeds());
    const actual = await runOriginal(upgraded, feeds());
    expect(agreement(expected, actual)).toBeLessThan(tolerance);
  });
});

import { readOnnx, upgradeNotes, writeOnnx } from '@lithe/onnx';
import { Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { floats, modelBytes } from './build.ts';
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

  it('keeps the results of pools that round up and count padding', async () => {
    const ints = (name: string, ...values: readonly number[]): object => ({
      name,
      type: 7,
      ints: values.map(BigInt),
    });
    const flag = (name: string): object => ({ name, type: 2, i: 1n });
    const attribute = [
      ints('kernel_shape', 3, 3),
      ints('strides', 2, 2),
      ints('pads', 1, 1, 1, 1),
      flag('ceil_mode'),
      flag('count_include_pad'),
    ];
    const node = { opType: 'AveragePool', input: ['x'], output: ['y'], attribute };
    const bytes = modelBytes(
      { name: 'g', node: [node], input: [floats('x', 1, 1, 6, 6)], output: [{ name: 'y' }] },
      11,
    );
    const feeds = {
      x: new Tensor(
        'float32',
        Float32Array.from({ length: 36 }, (_, index) => index + 1),
        [1, 1, 6, 6],
      ),
    };
    const model = await readOnnx(bytes);
    expect(upgradeNotes(model)).toEqual([]);
    const upgraded = await writeOnnx(model, { opset: 21 });
    const expected = await runOriginal(bytes, feeds);
    // A corner by hand: the window covers 36 and padding; 4 of its 9 places lie inside the padded input.
    expect(Array.from((expected['y']?.data ?? []) as Float32Array).at(-1)).toBe(36 / 4);
    expect(agreement(expected, await runOriginal(upgraded, feeds))).toBeLessThan(tolerance);
    model.docString = 'changed';
    const written = await readOnnx(await writeOnnx(model), { upgrade: false });
    expect(written.opset).toBe(11);
  });
});

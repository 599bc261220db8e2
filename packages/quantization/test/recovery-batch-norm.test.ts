import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  arrayDataset,
  attribute,
  type Backend,
  type Dim,
  type Feeds,
  type Model,
  type PassReport,
  Tensor,
  type Value,
} from '@lithe/core';
import {
  type BatchNormalizationReestimationOptions,
  batchNormalizationReestimation,
} from '@lithe/quantization';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { net } from './net.ts';
import { apply, contextOf, normal, runModel, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const window = { kernel_shape: attribute.ints([3, 3]), pads: attribute.ints([1, 1, 1, 1]) };
const images: Feeds = { x: normal([48, 3, 6, 6], 5, 1.3) };

/** Two convolutions, each normalized by statistics that say nothing of the data. */
function normalized(batch: Dim = 'N'): Model {
  const n = net();
  const statistics = (): Value[] => {
    const constant = (offset: number, by: number): Value =>
      n.constant(
        Tensor.from(
          'float32',
          [8],
          Float32Array.from({ length: 8 }, (_, at) => offset + by * at),
        ),
      );
    return [constant(0.5, 0.1), constant(-0.3, 0.2), constant(4, 0), constant(9, 1)];
  };
  const x = n.input('x', [batch, 3, 6, 6]);
  const first = n.add('BatchNormalization', [
    n.add('Conv', [x, n.weight([8, 3, 3, 3])], window),
    ...statistics(),
  ]);
  const second = n.add('Conv', [n.add('Relu', [first]), n.weight([8, 8, 3, 3]), n.weight([8])], window);
  return n.model(n.add('BatchNormalization', [second, ...statistics()]), first);
}

function reestimate(
  model: Model,
  options: BatchNormalizationReestimationOptions,
  batchSize = 1,
): Promise<{ readonly model: Model; readonly report: PassReport }> {
  const data = arrayDataset({ inputs: images }, { batchSize });
  return apply(model, batchNormalizationReestimation(options), contextOf({ backend, data }));
}

/** Mean and deviation of each channel of `[N, 8, 6, 6]`. */
function momentsOf(tensor: Tensor): readonly (readonly [number, number])[] {
  const data = tensor.data as Float32Array;
  return Array.from({ length: 8 }, (_, channel) => {
    const own = data.filter((_item, index) => Math.floor(index / 36) % 8 === channel);
    const mean = own.reduce((sum, item) => sum + item, 0) / own.length;
    const variance = own.reduce((sum, item) => sum + (item - mean) ** 2, 0) / own.length;
    return [mean, Math.sqrt(variance)] as const;
  });
}

function expectNormalized(results: Readonly<Record<string, Tensor>>, digits: number): void {
  // A normalization gives the deviation of its scale and the mean of its shift.
  for (const tensor of Object.values(results)) {
    momentsOf(tensor).forEach(([mean, deviation], channel) => {
      expect(mean).toBeCloseTo(-0.3 + 0.2 * channel, digits);
      expect(deviation).toBeCloseTo(0.5 + 0.1 * channel, digits);
    });
  }
}

describe('re-estimation of batch normalization', () => {
  it('gives every normalization the mean and deviation of its scale and shift, one after the other', async () => {
    const { model, report } = await reestimate(normalized(), { method: 'sequential', batchSize: 16 });
    expectNormalized(await runModel(model, images), 3);
    expect(report.applied).toHaveLength(2);
  });

  it('needs one pass where batches are large', async () => {
    const whole = await reestimate(normalized(), { method: 'one-pass', batchSize: 48 });
    expectNormalized(await runModel(whole.model, images), 3);
    const parts = await reestimate(normalized(), { method: 'auto', batchSize: 16 });
    expectNormalized(await runModel(parts.model, images), 1);
  });

  it('is exact for a model that takes one image at a time', async () => {
    const { model } = await reestimate(normalized(1), {});
    const results = await reestimate(normalized(), { method: 'sequential' });
    const of = async (of: Model): Promise<Tensor> => {
      const node = [...of.graph.nodes()].filter((item) => item.is('BatchNormalization'))[1];
      return (await node?.input(4)?.initializer?.load()) as Tensor;
    };
    const [left, right] = [await of(model), await of(results.model)];
    (left.data as Float32Array).forEach((item, index) => {
      expect(item / (right.data as Float32Array)[index]!).toBeCloseTo(1, 4);
    });
  });

  it('repairs a model whose weights were rounded coarsely', async () => {
    const { model: right } = await reestimate(normalized(), { method: 'sequential' });
    const rounded = right.clone();
    for (const node of rounded.graph.nodes()) {
      const value = node.is('Conv') ? node.input(1) : null;
      if (value === null) continue;
      const tensor = (await value.initializer?.load()) as Tensor<'float32'>;
      rounded.graph.setInitializer(
        value,
        Tensor.from(
          'float32',
          tensor.shape,
          tensor.data.map((item) => Math.floor(item / 0.2) * 0.2),
        ),
      );
    }
    const { model: repaired } = await reestimate(rounded, { method: 'sequential' });
    const expected = await runModel(right, images);
    expect(sqnr(expected, await runModel(repaired, images))).toBeGreaterThan(
      sqnr(expected, await runModel(rounded, images)) + 3,
    );
  });

  it('leaves alone what takes its statistics from elsewhere', async () => {
    const n = net();
    const x = n.input('x', ['N', 3, 6, 6]);
    const mean = n.add('ReduceMean', [x, n.integers(0, 2, 3)], { keepdims: attribute.int(0) });
    const inputs = [x, n.weight([3]), n.weight([3]), mean, n.weight([3])];
    const { report } = await reestimate(n.model(n.add('BatchNormalization', inputs)), {});
    expect(report.skipped).toEqual([
      {
        target: 'BatchNormalization_0',
        code: 'not-constant',
        reason: 'its statistics are not float32 constants',
      },
    ]);
  });

  it('says so when there is none', async () => {
    const n = net();
    const { report } = await reestimate(n.model(n.add('Relu', [n.input('x', ['N', 3, 6, 6])])), {});
    expect(report).toMatchObject({
      changed: false,
      skipped: [{ target: 'model', code: 'no-batch-normalization' }],
    });
  });
});

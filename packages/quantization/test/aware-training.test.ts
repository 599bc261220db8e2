import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { assertValid, type Model, type Tensor } from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { writeOnnx } from '@lithe/onnx';
import {
  type QuantizationAware,
  type QuantizationAwareOptions,
  quantizationAware,
} from '@lithe/quantization';
import { fit, meanSquaredError, sampleTable, sgd } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { awareNets, dataFor, samplesFor } from './aware-nets.ts';
import { load, normal, runSession } from './support.ts';

const everything: QuantizationAwareOptions = { depthwise: true, conversionCost: 0, minimumElements: 1 };

async function prepared(
  name: string,
  options: QuantizationAwareOptions,
): Promise<{ readonly float: Model; readonly aware: QuantizationAware; readonly shape: readonly number[] }> {
  const { model, shape } = (awareNets[name] as NonNullable<(typeof awareNets)[string]>)();
  const aware = await quantizationAware(model, {
    data: dataFor(shape),
    backend: referenceBackend(),
    ...everything,
    ...options,
  });
  assertValid(aware.model);
  return { float: model, aware, shape };
}

async function trained(
  aware: QuantizationAware,
  shape: readonly number[],
): Promise<{ readonly model: Model; readonly losses: readonly number[] }> {
  await using backend = await onnxruntimeNode({ threads: 1 });
  const table = sampleTable({
    inputs: samplesFor(shape, 32),
    targets: { target: normal([32, 5], 3) },
  });
  const { model, history } = await fit(aware.model, table, {
    ...aware.training(sgd({ momentum: 0.9 })),
    loss: meanSquaredError({ output: 'y' }),
    learningRate: 0.005,
    epochs: 4,
    batchSize: 8,
    backend,
  });
  return { model, losses: history.map(({ loss }) => loss) };
}

/** Results in onnxruntime as the graph stands. */
async function plainly(model: Model, shape: readonly number[]): Promise<Tensor> {
  const session = await load(await writeOnnx(model), 'node', { graphOptimizationLevel: 'disabled' });
  const { y } = await runSession(session, samplesFor(shape, 4, 21));
  await session.release();
  return y as Tensor;
}

const variants: Readonly<Record<string, QuantizationAwareOptions>> = {
  'int8, moving averages': {},
  'int4 weights and activations, learned steps': {
    weightBits: 4,
    activationBits: 4,
    ranges: 'lsq',
    eightBits: 'none',
  },
  'int4 weights and 8-bit activations, all transposed layers': { weightBits: 4, transposed: 'all' },
  'int4 weights alone, one scale each': { weightBits: 4, activationBits: 'none', weightScales: 'per-tensor' },
};

describe('what is trained is what ships', () => {
  for (const name of Object.keys(awareNets)) {
    for (const [variant, options] of Object.entries(variants)) {
      it(`bit for bit: ${name}; ${variant}`, async () => {
        const { aware, shape } = await prepared(name, options);
        const { model, losses } = await trained(aware, shape);
        expect(losses.at(-1)).toBeLessThan((losses[0] as number) * 1.02);
        const shipped = await aware.finish(model);
        assertValid(shipped);
        const feeds = samplesFor(shape, 4, 21);
        const [before, after] = [await evaluateModel(model, feeds), await evaluateModel(shipped, feeds)];
        expect((after['y'] as Tensor).bytes).toEqual((before['y'] as Tensor).bytes);
        expect((await plainly(shipped, shape)).bytes).toEqual((await plainly(model, shape)).bytes);
      });
    }
  }
});

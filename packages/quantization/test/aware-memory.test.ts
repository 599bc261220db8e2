import { attribute, type Model, Tensor, type Value } from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { writeOnnx } from '@lithe/onnx';
import { type QuantizationAwareOptions, quantizationAware } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { dataFor, samplesFor } from './aware-nets.ts';
import { net } from './net.ts';
import { load, runSession } from './support.ts';

const shape = [8, 12, 12];

/** Three convolutions of one shape, each added to what it reads: what was written is read again later. */
function residual(): Model {
  const n = net();
  let y: Value = n.input('x', ['N', ...shape]);
  for (let at = 0; at < 3; at++) {
    const layer = n.add('Conv', [y, n.weight([8, 8, 3, 3])], { pads: attribute.ints([1, 1, 1, 1]) });
    const result = n.add('Relu', [layer]);
    if (layer.producer !== null) layer.producer.name = `conv${at}`;
    y = at === 0 ? result : n.add('Add', [y, result]);
  }
  n.graph.rename(y, 'y');
  return n.model(y);
}

async function prepared(options: QuantizationAwareOptions): Promise<{
  readonly trained: Model;
  readonly shipped: Model;
}> {
  const aware = await quantizationAware(residual(), {
    data: dataFor(shape),
    backend: referenceBackend(),
    weightBits: 4,
    activationBits: 4,
    depthwise: true,
    conversionCost: 0,
    minimumElements: 1,
    ...options,
  });
  return { trained: aware.model, shipped: await aware.finish(aware.model) };
}

/** Types of what is quantized while the model runs. */
const typesOf = (model: Model): ReadonlySet<string | undefined> =>
  new Set([...model.graph.nodes()].flatMap((n) => (n.is('QuantizeLinear') ? [n.output().dtype] : [])));

/** Largest distance of onnxruntime's result from the interpreter's, beside the largest number. */
async function distance(model: Model, level: 'all' | 'disabled'): Promise<number> {
  const feeds = samplesFor(shape, 4);
  const session = await load(await writeOnnx(model), 'node', { graphOptimizationLevel: level });
  const own = ((await runSession(session, feeds))['y'] as Tensor).toFloat64Array();
  await session.release();
  const wanted = ((await evaluateModel(model, feeds))['y'] as Tensor).toFloat64Array();
  const apart = own.map((value, at) => Math.abs(value - (wanted[at] as number)));
  return Math.max(...apart) / Math.max(...wanted.map(Math.abs));
}

describe('activations of 4 bits', () => {
  for (const ranges of ['ema', 'lsq'] as const) {
    it(`give what they should in onnxruntime beside 8 bits of the same shape; ${ranges}`, async () => {
      const { trained, shipped } = await prepared({ eightBits: ['conv1'], ranges });
      for (const model of [trained, shipped])
        for (const level of ['all', 'disabled'] as const)
          expect(await distance(model, level)).toBeLessThan(1e-5);
      expect(typesOf(shipped)).toEqual(new Set(['uint8']));
    });
  }

  it('are stored in 4 bits where nothing takes a byte', async () => {
    const { shipped } = await prepared({ eightBits: 'none' });
    expect(typesOf(shipped)).toEqual(new Set(['uint4']));
    expect(await distance(shipped, 'all')).toBeLessThan(1e-5);
  });

  it('have the same levels in bytes', async () => {
    const { shipped } = await prepared({ eightBits: ['conv1'] });
    const levels = new Set<number>();
    for (const node of shipped.graph.nodes()) {
      if (!node.is('QuantizeLinear')) continue;
      const [reader] = node.output().uses;
      const used = reader?.node.output().uses.map((use) => use.node.name) ?? [];
      if (used.includes('conv1')) continue;
      const copy = shipped.clone();
      const own = copy.graph.value(node.output().name) as Value;
      copy.graph.setOutputs([own]);
      const wide = {
        x: Tensor.from(
          'float32',
          [1, ...shape],
          (samplesFor(shape, 1)['x'] as Tensor<'float32'>).data.map((v) => 9 * v),
        ),
      };
      for (const value of ((await evaluateModel(copy, wide))[own.name] as Tensor).toFloat64Array())
        levels.add(value);
    }
    expect(Math.min(...levels)).toBe(0);
    expect(Math.max(...levels)).toBe(15);
  });
});

import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { assertValid, type Model, optimize, Tensor, type TensorSource, type Value } from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import {
  explain,
  finishQuantizationAware,
  type QuantizationAware,
  type QuantizationAwareOptions,
  quantizationAware,
  staticInt8,
} from '@lithe/quantization';
import { fit, meanSquaredError, sampleTable, sgd, trainedModel, trainingStep } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { awareNets, dataFor, samplesFor } from './aware-nets.ts';
import { operators } from './net.ts';
import { load, normal, optimizedModel, runSession } from './support.ts';

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
  it('also behind a file in between', async () => {
    const { aware, shape } = await prepared('depthwise, grouped and clipped convolutions', {});
    const { model } = await trained(aware, shape);
    const read = await readOnnx(await writeOnnx(model));
    const shipped = await finishQuantizationAware(read);
    const opset = { opset: 21 };
    expect(await writeOnnx(shipped, opset)).toEqual(await writeOnnx(await aware.finish(model), opset));
    const feeds = samplesFor(shape, 4, 21);
    const { y } = await evaluateModel(await readOnnx(await writeOnnx(shipped)), feeds);
    expect((y as Tensor).bytes).toEqual(((await evaluateModel(model, feeds))['y'] as Tensor).bytes);
  });

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

describe('a training step', () => {
  it('holds four bits in bytes, and gives in onnxruntime what it gives in the reference interpreter', async () => {
    for (const ranges of ['ema', 'lsq'] as const) {
      const options = { weightBits: 4, activationBits: 4, eightBits: 'none', ranges } as const;
      const { aware, shape } = await prepared('depthwise, grouped and clipped convolutions', options);
      const step = await trainingStep(aware.model, {
        ...aware.training(sgd()),
        loss: meanSquaredError({ output: 'y' }),
      });
      const dtypes = new Set([...step.model.graph.values()].map(({ dtype }) => dtype));
      expect(dtypes.has('int4') || dtypes.has('uint4')).toBe(false);
      expect(dtypes.has('int8') && dtypes.has('uint8')).toBe(true);
      await using runtime = await onnxruntimeNode({ threads: 1 });
      const losses: number[][] = [];
      for (const backend of [runtime, referenceBackend()]) {
        await using executable = await backend.compile(step.model, { state: step.state });
        const feeds = {
          ...samplesFor(shape, 8),
          target: normal([8, 5], 3),
          [step.learningRate]: Tensor.from('float32', [], Float32Array.of(0.01)),
        };
        const own: number[] = [];
        for (let at = 0; at < 3; at++) {
          const results = await executable.run(feeds);
          own.push((results[step.loss] as Tensor).toFloat64Array()[0] as number);
        }
        losses.push(own);
      }
      for (const [at, loss] of (losses[0] as number[]).entries())
        expect(loss).toBeCloseTo(losses[1]?.[at] as number, 3);
    }
  });
});

describe('once everything is frozen', () => {
  for (const name of Object.keys(awareNets)) {
    for (const [variant, options] of Object.entries(variants)) {
      it(`training computes what is shipped: ${name}; ${variant}`, async () => {
        const frozen = { ...options, freezeBatchNormAt: 0, freezeRangesAt: 0 };
        const { aware, shape } = await prepared(name, frozen);
        const backend = referenceBackend();
        const { optimizer, ...training } = aware.training(sgd());
        const loss = meanSquaredError({ output: 'y' });
        const step = await trainingStep(aware.model, { ...training, optimizer, loss });
        await using executable = await backend.compile(step.model, { state: step.state });
        const inputs = samplesFor(shape, 8);
        const target = normal([8, 5], 3);
        const rate = Tensor.from('float32', [], Float32Array.of(0.01));
        for (let at = 0; at < 2; at++) {
          const state = await executable.readState([...step.parameters, ...step.statistics]);
          const shipped = await aware.finish(trainedModel(aware.model, state));
          const { y } = await evaluateModel(shipped, inputs);
          const squares = (y as Tensor)
            .toFloat64Array()
            .map((value, i) => (value - (target.data[i] as number)) ** 2);
          const results = await executable.run({ ...inputs, target, [step.learningRate]: rate });
          const wanted = squares.reduce((sum, value) => sum + value, 0) / squares.length;
          expect((results[step.loss] as Tensor).toFloat64Array()[0]).toBeCloseTo(wanted, 5);
        }
      });
    }
  }
});

describe('what ships', () => {
  /** Operators that onnxruntime makes of a model. */
  async function fused(model: Model): Promise<Readonly<Record<string, number>>> {
    return operators(await optimizedModel(model));
  }

  for (const name of Object.keys(awareNets)) {
    it(`runs in integers where static quantization does: ${name}`, async () => {
      const { aware, shape } = await prepared(name, { target: nodeCpuTarget(), transposed: 'float' });
      const { model } = (awareNets[name] as NonNullable<(typeof awareNets)[string]>)();
      const floats = {
        activationBits: 'none',
        exclude: [...model.graph.nodes()].map((node) => node.name),
      } as const;
      const folded = await finishQuantizationAware((await quantizationAware(model, floats)).model);
      const { depthwise, conversionCost, minimumElements } = everything;
      const { model: afterwards } = await optimize(
        folded,
        [staticInt8({ depthwise, conversionCost, minimumElements })],
        { data: dataFor(shape), backend: referenceBackend(), target: nodeCpuTarget(), check: 'off' },
      );
      const shipped = await aware.finish(aware.model);
      expect(await fused(shipped)).toEqual(await fused(afterwards));
      const counts = async (one: Model): Promise<readonly number[]> => {
        const { integer, float, quantizers, dequantizers } = await explain(one, { target: nodeCpuTarget() });
        return [integer, float, quantizers, dequantizers];
      };
      expect(await counts(shipped)).toEqual(await counts(afterwards));
    });
  }

  it.each(['ema', 'lsq'] as const)(
    'has weights that layers share once, at a scale that suits all (%s)',
    async (ranges) => {
      const name = 'weights that layers share';
      const { aware, shape } = await prepared(name, { ranges });
      const shipped = await aware.finish(aware.model);
      const kernels = [...shipped.graph.initializers].filter(
        ({ dtype, shape: dims }) => dtype === 'int8' && dims?.join() === '8,8,1,1',
      );
      expect(kernels.length).toBe(1);
      const numbers = async (value: Value | null | undefined): Promise<readonly number[]> => [
        ...((await value?.initializer?.load())?.toFloat64Array() ?? []),
      ];
      const layers = [...shipped.graph.nodes()].filter(
        (node) => node.input(1)?.producer?.input(0) === kernels[0],
      );
      expect(layers.map(({ opType }) => opType)).toEqual(['Conv', 'Conv', 'Conv']);
      const raised = new Set<number>();
      for (const layer of layers) {
        const [input, weight, bias] = layer.inputs.map((value) => value?.producer?.inputs);
        const [inputScale] = await numbers(input?.[1]);
        const scales = await numbers(weight?.[1]);
        // What integer kernels take for granted: the bias has the scale of the sums.
        expect(await numbers(bias?.[1])).toEqual(
          scales.map((scale) => Math.fround(scale * (inputScale ?? 0))),
        );
        const most = Math.max(...(await numbers(bias?.[0])).map(Math.abs));
        expect(most).toBeLessThan(2 ** 31 - 128);
        raised.add(most);
      }
      expect(Math.max(...raised)).toBeGreaterThan(2 ** 29);
      // Each layer with weights of its own takes another 64 bytes of integers, and 32 of scales.
      const { model: apart } = (awareNets[name] as NonNullable<(typeof awareNets)[string]>)();
      const shared = [...apart.graph.nodes()][4]?.input(1) as Value;
      for (const { node } of shared.uses.slice(1)) {
        const copy = apart.graph.addInitializer(
          apart.graph.uniqueName('own'),
          shared.initializer as TensorSource,
        );
        apart.graph.setInput(node, 1, copy);
      }
      const options = { data: dataFor(shape), backend: referenceBackend(), ...everything, ranges };
      const other = await quantizationAware(apart, options);
      const bytes = await Promise.all(
        [shipped, await other.finish(other.model)].map(async (one) => (await writeOnnx(one)).length),
      );
      expect(bytes[1]).toBeGreaterThan((bytes[0] ?? 0) + 2 * 96);
    },
  );
});

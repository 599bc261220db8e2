import { arrayDataset, type Feeds, GraphBuilder, type Model, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import {
  type QuantizationAware,
  type QuantizationAwareOptions,
  quantizationAware,
} from '@lithe/quantization';
import { adamW, type Loss, type Optimizer, sgd, type TrainingStep, trainingStep } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { normal } from './support.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

/** Sum of y times fixed factors: the gradient by y is the factors. */
const weighed: Loss = {
  name: 'weighed sum',
  build: ({ emit, value, target }) => {
    const y = value('y');
    const factors = target('factors', 'float32', y.shape ?? []);
    return emit.op('ReduceSum', [emit.mul(y, factors)], { keepdims: 0 });
  },
};

const weights = normal([4, 3], 51, 0.5);
const x = normal([5, 4], 52);
const factors = normal([5, 3], 53);

async function product(): Promise<Model> {
  const b = new GraphBuilder('product');
  b.output('y', b.op.MatMul([b.input('x', 'float32', ['N', 4]), b.constant('w', weights)]));
  return await b.build();
}

async function prepared(options: QuantizationAwareOptions): Promise<QuantizationAware> {
  return await quantizationAware(await product(), {
    data: arrayDataset({ inputs: { x } }),
    backend: referenceBackend(),
    minimumElements: 1,
    conversionCost: 0,
    eightBits: 'none',
    ...options,
  });
}

/** Runs steps and gives the state, with the loss of the last. */
async function run(
  aware: QuantizationAware,
  feeds: readonly Feeds[],
  { optimizer = sgd(), rate = 1 }: { readonly optimizer?: Optimizer; readonly rate?: number } = {},
): Promise<{ readonly state: Feeds; readonly loss: number; readonly step: TrainingStep }> {
  const step = await trainingStep(aware.model, { loss: weighed, ...aware.training(optimizer) });
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  let loss = Number.NaN;
  for (const inputs of feeds) {
    const results = await executable.run({ factors, learning_rate: floats([], [rate]), ...inputs });
    loss = (results['loss'] as Tensor).toFloat64Array()[0] as number;
  }
  return { state: await executable.readState(), loss, step };
}

const numbers = (tensor: Tensor | undefined): readonly number[] => [...(tensor?.toFloat64Array() ?? [])];
const roundEven = (value: number): number => {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
};

describe('ranges that follow the batches', () => {
  it('are moving averages of extremes, from what calibration saw on, until they are frozen', async () => {
    const batch = (low: number, high: number): Feeds => ({
      x: floats(
        [5, 4],
        Array.from({ length: 20 }, (_, at) => low + ((high - low) * at) / 19),
      ),
    });
    const first = { minimum: Math.min(0, ...x.data), maximum: Math.max(0, ...x.data) };
    const feeds = [batch(-1, 4), batch(-3, 2), batch(-9, 9)];
    const aware = await prepared({ rangeDecay: 0.8, freezeRangesAt: 2 });
    const { state } = await run(aware, feeds, { rate: 0 });
    const after = (start: number, seen: readonly number[]): number =>
      seen.reduce((range, value) => 0.8 * range + 0.2 * value, start);
    expect(numbers(state['x_minimum'])[0]).toBeCloseTo(after(first.minimum, [-1, -3]), 5);
    expect(numbers(state['x_maximum'])[0]).toBeCloseTo(after(first.maximum, [4, 2]), 5);
  });

  it('quantize nothing before their time', async () => {
    const exact = await run(await prepared({ activationBits: 'none', exclude: ['MatMul_0'] }), [{ x }], {
      rate: 0,
    });
    const late = await prepared({ activationBits: 4, quantizeActivationsAt: 1, weightBits: 8 });
    const weightsAlone = await run(await prepared({ activationBits: 'none' }), [{ x }], { rate: 0 });
    expect((await run(late, [{ x }], { rate: 0 })).loss).toBeCloseTo(weightsAlone.loss, 5);
    const coarse = (await run(late, [{ x }, { x }], { rate: 0 })).loss;
    expect(Math.abs(coarse - weightsAlone.loss)).toBeGreaterThan(1e-3);
    expect(Math.abs(weightsAlone.loss - exact.loss)).toBeLessThan(0.2);
  });

  it('quantize nothing before what ships, where their time never comes', async () => {
    const never = await prepared({ activationBits: 4, quantizeActivationsAt: Number.POSITIVE_INFINITY });
    const weightsAlone = await run(await prepared({ activationBits: 'none' }), [{ x }, { x }], { rate: 0 });
    expect((await run(never, [{ x }, { x }], { rate: 0 })).loss).toBeCloseTo(weightsAlone.loss, 5);
    const shipped = [...(await never.finish(never.model)).graph.nodes()].map(({ opType }) => opType);
    expect(shipped).toContain('QuantizeLinear');
  });

  it('let no gradient into scales: weights get the one of the rounded product', async () => {
    const { state } = await run(await prepared({ activationBits: 'none', weightBits: 4 }), [{ x }], {
      rate: 0.01,
    });
    // Straight through: dL/dw = x' G, as of the float product, for no weight lies beyond max|w|.
    numbers(state['w']).forEach((value, at) => {
      const [row, column] = [Math.floor(at / 3), at % 3];
      let gradient = 0;
      for (let n = 0; n < 5; n++)
        gradient += (x.data[n * 4 + row] as number) * (factors.data[n * 3 + column] as number);
      expect(value).toBeCloseTo((weights.data[at] as number) - 0.01 * gradient, 5);
    });
  });
});

describe('learned steps', () => {
  /**
   * Equation 3 of the paper: dv/ds of one quantized value. A value on the end of the range is inside.
   *
   * @param reach how far beyond its ends the range goes on, in steps
   */
  const byStep = (
    value: number,
    step: number,
    [low, high]: readonly [number, number],
    reach = 1e-5,
  ): number => {
    const ratio = value / step;
    if (ratio < low - reach) return low;
    if (ratio > high + reach) return high;
    return roundEven(ratio) - ratio;
  };

  it('of weights start at 2 mean|w| / sqrt(Q) or max|w| / Q, and move by the equation of the paper', async () => {
    const aware = await prepared({ activationBits: 'none', weightBits: 4, ranges: 'lsq' });
    const columns = [0, 1, 2].map((column) =>
      [0, 1, 2, 3].map((row) => weights.data[row * 3 + column] as number),
    );
    const first = columns.map((column) => {
      const sizes = column.map(Math.abs);
      const mean = sizes.reduce((sum, size) => sum + size, 0) / 4;
      return Math.min((2 * mean) / Math.sqrt(7), Math.max(...sizes) / 7);
    });
    const start = (await aware.model.graph.value('w_step')?.initializer?.load()) as Tensor;
    for (const [at, value] of numbers(start).entries()) expect(value).toBeCloseTo(first[at] as number, 6);
    const { state } = await run(aware, [{ x }], { rate: 0.05 });
    const scale = 1 / Math.sqrt(12 * 7);
    numbers(state['w_step']).forEach((value, column) => {
      let gradient = 0;
      for (let row = 0; row < 4; row++) {
        let upstream = 0;
        for (let n = 0; n < 5; n++)
          upstream += (x.data[n * 4 + row] as number) * (factors.data[n * 3 + column] as number);
        gradient += upstream * byStep(columns[column]?.[row] as number, first[column] as number, [-7, 7]);
      }
      expect(value).toBeCloseTo((first[column] as number) - 0.05 * scale * gradient, 5);
    });
  });

  it('of weights that are clipped, too: the lowest integer is the negative of the highest', async () => {
    const aware = await prepared({
      activationBits: 'none',
      weightBits: 4,
      ranges: 'lsq',
      weightScales: 'per-tensor',
    });
    const value = aware.model.graph.value('w_step');
    // A step at which several weights lie far beyond the ends on both sides.
    if (value !== undefined) aware.model.graph.setInitializer(value, floats([], [0.04]));
    const { state } = await run(aware, [{ x }], { rate: 0.01 });
    let gradient = 0;
    weights.data.forEach((weight, at) => {
      const [row, column] = [Math.floor(at / 3), at % 3];
      let upstream = 0;
      for (let n = 0; n < 5; n++)
        upstream += (x.data[n * 4 + row] as number) * (factors.data[n * 3 + column] as number);
      gradient += upstream * byStep(weight, Math.fround(0.04), [-7, 7]);
    });
    expect(numbers(state['w_step'])[0]).toBeCloseTo(0.04 - (0.01 / Math.sqrt(12 * 7)) * gradient, 5);
    expect([...weights.data].some((weight) => weight < -0.04 * 8)).toBe(true);
  });

  it('of activations move by the equation of the paper, around a zero point that stays', async () => {
    const aware = await prepared({ activationBits: 4, weightBits: 8, ranges: 'lsq', calibrator: 'min-max' });
    const load = async (name: string): Promise<number> =>
      numbers((await aware.model.graph.value(name)?.initializer?.load()) as Tensor)[0] as number;
    const [step, zero] = [await load('x_step'), await load('x_zero_point')];
    const range = [-zero, 15 - zero] as const;
    const wide = floats(
      [5, 4],
      [...x.data].map((value) => value * 1.7),
    );
    const { state } = await run(aware, [{ x: wide }], { rate: 0.01 });
    // The weights are rounded themselves.
    const largest = [0, 1, 2].map((column) =>
      Math.max(...[0, 1, 2, 3].map((row) => Math.abs(weights.data[row * 3 + column] as number))),
    );
    const first = [0, 1, 2].map((column) => {
      const sizes = [0, 1, 2, 3].map((row) => Math.abs(weights.data[row * 3 + column] as number));
      const mean = sizes.reduce((sum, size) => sum + size, 0) / 4;
      return Math.min((2 * mean) / Math.sqrt(127), (largest[column] as number) / 127);
    });
    const rounded = [...weights.data].map((weight, at) => {
      const own = first[at % 3] as number;
      return Math.max(-127, Math.min(127, roundEven(weight / own))) * own;
    });
    let gradient = 0;
    wide.data.forEach((value, at) => {
      const [n, row] = [Math.floor(at / 4), at % 4];
      let upstream = 0;
      for (let column = 0; column < 3; column++)
        upstream += (rounded[row * 3 + column] as number) * (factors.data[n * 3 + column] as number);
      gradient += upstream * byStep(value, step, range);
    });
    const scale = 1 / Math.sqrt(4 * range[1]);
    expect(numbers(state['x_step'])[0]).toBeCloseTo(step - 0.01 * scale * gradient, 4);
  });

  it('move at the pace of the weights with optimizers that undo the scale of gradients, and do not decay', async () => {
    const aware = await prepared({ activationBits: 'none', weightBits: 4, ranges: 'lsq' });
    const start = numbers((await aware.model.graph.value('w_step')?.initializer?.load()) as Tensor);
    const { state } = await run(aware, [{ x }], { optimizer: adamW({ weightDecay: 0.5 }), rate: 0.01 });
    const size = [...weights.data].reduce((sum, value) => sum + Math.abs(value), 0) / 12;
    const mean = start.reduce((sum, value) => sum + value, 0) / 3;
    // The first update of Adam is the learning rate itself, whatever the gradient.
    for (const [at, value] of numbers(state['w_step']).entries())
      expect(Math.abs(value - (start[at] as number))).toBeCloseTo((0.01 * mean) / size, 5);
  });

  it('of activations do not grow over the bound of a Clip that the layer before takes in', async () => {
    const b = new GraphBuilder('clipped');
    const first = b.op.MatMul([b.input('x', 'float32', ['N', 4]), b.constant('w', normal([4, 4], 54))]);
    const clipped = b.op.Clip([first, floats([], [0]), floats([], [6])]);
    b.output('y', b.op.MatMul([clipped, b.constant('v', normal([4, 3], 55))]));
    const aware = await quantizationAware(await b.build(), {
      data: arrayDataset({ inputs: { x } }),
      backend: referenceBackend(),
      minimumElements: 1,
      conversionCost: 0,
      ranges: 'lsq',
    });
    const { graph } = aware.model;
    const step = [...graph.initializers].find(
      ({ name }) => name.startsWith('Clip') && name.endsWith('_step'),
    );
    expect(step).toBeDefined();
    if (step !== undefined) graph.setInitializer(step, floats([], [1]));
    const shipped = (await aware.finish(aware.model)).graph;
    const scale = shipped.value(`${step?.name.replace(/_step$/, '')}_scale`)?.initializer;
    const [held = Number.NaN] = numbers((await scale?.load()) as Tensor);
    expect(255 * held).toBeLessThanOrEqual(6);
    expect(255 * held).toBeCloseTo(6, 4);
  });

  it('find back from their least', async () => {
    const aware = await prepared({
      activationBits: 'none',
      weightBits: 4,
      ranges: 'lsq',
      weightScales: 'per-tensor',
    });
    const value = aware.model.graph.value('w_step');
    if (value !== undefined) aware.model.graph.setInitializer(value, floats([], [-1]));
    const { state, loss } = await run(aware, [{ x }], { rate: 0.01 });
    expect(Number.isFinite(loss)).toBe(true);
    expect(numbers(state['w_step'])[0]).not.toBe(-1);
  });
});

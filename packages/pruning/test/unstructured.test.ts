import {
  arrayDataset,
  type Backend,
  GraphBuilder,
  Model,
  optimize,
  type StepReport,
  Tensor,
  type Value,
} from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { givenScores, type SparsifyOptions, type SparsifyReport, sparsify } from '../src/index.ts';
import { nodeBackend, normal } from './support.ts';

const backend = await nodeBackend();

const floats = (shape: readonly number[], ...values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

/** y = x W, one product with a weight [K, N]. */
async function product(weight: Tensor): Promise<Model> {
  const b = new GraphBuilder('product');
  const x = b.input('x', 'float32', ['N', weight.shape[0] as number]);
  b.output('y', b.op.MatMul([x, b.constant('W', weight)]));
  return await b.build();
}

async function weights(model: Model, name: string): Promise<number[]> {
  const tensor = (await (model.graph.value(name) as Value).initializer?.load()) as Tensor;
  return [...tensor.toFloat64Array()];
}

async function run(
  model: Model,
  options: SparsifyOptions,
  data?: Record<string, Tensor>,
): Promise<{ model: Model; report: StepReport & SparsifyReport }> {
  const result = await optimize(model, [sparsify({ compressedSize: false, ...options })], {
    backend,
    ...(data === undefined ? {} : { data: arrayDataset({ inputs: data }) }),
  });
  return { model: result.model, report: result.report.steps[0] as StepReport & SparsifyReport };
}

describe('sparsify by magnitude', () => {
  it('removes the smallest weights of a layer, whatever their sign', async () => {
    const { model } = await run(await product(floats([2, 3], 1, -5, 0.5, -0.1, 3, -2)), { ratio: 0.5 });
    expect(await weights(model, 'W')).toEqual([0, -5, 0, 0, 3, -2]);
  });

  it('removes the first of equal weights', async () => {
    const { model } = await run(await product(floats([1, 4], 1, -1, 1, -1)), { ratio: 0.5 });
    expect(await weights(model, 'W')).toEqual([0, 0, 1, -1]);
  });

  it('lets the layers compete in a global ranking', async () => {
    const b = new GraphBuilder('two');
    const x = b.input('x', 'float32', ['N', 2]);
    const hidden = b.op.MatMul([x, b.constant('A', floats([2, 2], 1, 2, 3, 4))]);
    b.output('y', b.op.MatMul([hidden, b.constant('B', floats([2, 2], 10, 20, -0.5, 40))]));
    const { model, report } = await run(await b.build(), { ratio: 0.5, scope: 'global' });
    expect(await weights(model, 'A')).toEqual([0, 0, 0, 4]);
    expect(await weights(model, 'B')).toEqual([10, 20, 0, 40]);
    expect(report.layers.map(({ zeros }) => zeros)).toEqual([3, 1]);
  });

  it('keeps as many in each output where rows compete', async () => {
    // Columns of [K, N] are the rows of outputs.
    const { model } = await run(await product(floats([4, 2], 1, 10, 2, 20, 3, 30, 4, 40)), {
      ratio: 0.5,
      scope: 'row',
    });
    expect(await weights(model, 'W')).toEqual([0, 0, 0, 0, 3, 30, 4, 40]);
  });

  it('ranks as a sort does on many weights', async () => {
    const weight = normal([64, 48], 5);
    const { model } = await run(await product(weight), { ratio: 0.73 });
    const after = await weights(model, 'W');
    const sorted = [...weight.data].map(Math.abs).sort((left, right) => left - right);
    const count = Math.round(0.73 * sorted.length);
    const limit = sorted[count - 1] as number;
    expect(after).toEqual([...weight.data].map((value) => (Math.abs(value) <= limit ? 0 : value)));
  });

  it('takes shares by layer and leaves protected layers alone', async () => {
    const b = new GraphBuilder('shares');
    const x = b.input('x', 'float32', ['N', 2]);
    const first = b.op.MatMul([x, b.constant('A', floats([2, 2], 1, 2, 3, 4))]);
    const second = b.op.MatMul([first, b.constant('B', floats([2, 2], 1, 2, 3, 4))]);
    b.output('y', b.op.MatMul([second, b.constant('C', floats([2, 2], 1, 2, 3, 4))]));
    const { model, report } = await run(await b.build(), { ratio: 0.5, ratios: { B: 0.75 }, protect: ['C'] });
    expect(await weights(model, 'A')).toEqual([0, 0, 3, 4]);
    expect(await weights(model, 'B')).toEqual([0, 0, 0, 4]);
    expect(await weights(model, 'C')).toEqual([1, 2, 3, 4]);
    expect(report.skipped).toContainEqual({ target: 'C', code: 'protected', reason: '"C" is protected' });
  });

  it('leaves biases, normalizations and tables alone, and tables that are also products', async () => {
    const b = new GraphBuilder('rest');
    const ids = b.input('ids', 'int64', ['N']);
    const table = b.constant('table', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const x = b.op.Gather([table, ids]);
    const normed = b.op.LayerNormalization([
      x,
      b.constant('scale', floats([2], 0.1, 1)),
      b.constant('shift', floats([2], 0.1, 1)),
    ]);
    b.output(
      'y',
      b.op.Gemm([
        normed,
        b.constant('W', floats([2, 2], 1, 2, 3, 4)),
        b.constant('bias', floats([2], 0.1, 1)),
      ]),
    );
    b.output('logits', b.op.Gemm([normed, table], { transB: true }));
    const { model, report } = await run(await b.build(), { ratio: 0.5 });
    expect(await weights(model, 'W')).toEqual([0, 0, 3, 4]);
    for (const name of ['table', 'scale', 'shift', 'bias'])
      expect((await weights(model, name)).includes(0)).toBe(false);
    expect(report.skipped.map(({ target, code }) => [target, code])).toEqual([['table', 'weight-shared']]);
  });
});

describe('patterns', () => {
  it('keeps the first of equal neighbours', async () => {
    const { model } = await run(await product(floats([4, 1], 1, -1, 1, -1)), { pattern: '2:4' });
    expect(await weights(model, 'W')).toEqual([1, -1, 0, 0]);
  });

  it('keeps two of four neighbours along the inputs', async () => {
    const { model } = await run(await product(floats([4, 2], 1, 40, 2, 30, 3, 20, 4, 10)), {
      pattern: '2:4',
    });
    expect(await weights(model, 'W')).toEqual([0, 40, 0, 30, 3, 0, 4, 0]);
  });

  it.each(['1:4', '2:4', '4:8'] as const)(
    'holds %s in every group of channels of a convolution',
    async (pattern) => {
      const b = new GraphBuilder('conv');
      const x = b.input('x', 'float32', ['N', 16, 5, 5]);
      const weight = normal([6, 16, 3, 3], 3);
      b.output('y', b.op.Conv([x, b.constant('W', weight)]));
      const { model } = await run(await b.build(), { pattern });
      const after = await weights(model, 'W');
      const [kept, of] = pattern.split(':').map(Number) as [number, number];
      for (let output = 0; output < 6; output++)
        for (let position = 0; position < 9; position++)
          for (let from = 0; from < 16; from += of) {
            const group = Array.from(
              { length: of },
              (_, channel) => (output * 16 + from + channel) * 9 + position,
            );
            const largest = group
              .toSorted((a, c) => Math.abs(weight.data[c] as number) - Math.abs(weight.data[a] as number))
              .slice(0, kept);
            for (const index of group)
              expect(after[index]).toBe(largest.includes(index) ? weight.data[index] : 0);
          }
    },
  );

  it('removes blocks of outputs by inputs whole, by their mean', async () => {
    // [N, K] = [2, 4] through transB; blocks of two outputs: means 2.5, 4, 3, 1.5.
    const b = new GraphBuilder('blocks');
    const x = b.input('x', 'float32', ['N', 4]);
    b.output('y', b.op.Gemm([x, b.constant('W', floats([2, 4], 5, -4, 1, 1, 0, 4, 5, 2))], { transB: true }));
    const { model } = await run(await b.build(), { pattern: '2x1', ratio: 0.5 });
    expect(await weights(model, 'W')).toEqual([0, -4, 1, 0, 0, 4, 5, 0]);
  });

  it('takes smaller blocks at the edges', async () => {
    // Blocks of one output by two inputs, of three: means 1.5 and 9 in the first row, 8.5 and 2 in the second.
    const b = new GraphBuilder('edges');
    const x = b.input('x', 'float32', ['N', 3]);
    b.output('y', b.op.Gemm([x, b.constant('W', floats([2, 3], 1, 2, 9, 8, 9, 2))], { transB: true }));
    const { model } = await run(await b.build(), { pattern: '1x2', ratio: 0.5 });
    expect(await weights(model, 'W')).toEqual([0, 0, 9, 8, 9, 0]);
  });

  it('refuses what is no pattern, and a ratio beside N:M', () => {
    for (const pattern of ['4:2', '0:4', '0x1', 'half', '2:'] as const)
      expect(() => sparsify({ pattern: pattern as '2:4' })).toThrow(/"pattern"/);
    expect(() => sparsify({ pattern: '2:4', ratio: 0.5 })).toThrow(/N:M/);
    expect(() => sparsify({ criterion: 'sparse-gpt', pattern: '4x1' })).toThrow(/blocks/);
    expect(() => sparsify({ criterion: 'sparse-gpt', scope: 'row' })).toThrow(/row by row/);
  });
});

describe('wanda', () => {
  it('weighs by the norm of inputs, within each output', async () => {
    // Norms of the inputs: 5, 1, 10. |w| norm for output 0: 5, 3, 1; for output 1: 10, 6, 20.
    const x = floats([2, 3], 3, 1, 6, -4, 0, 8);
    const { model } = await run(
      await product(floats([3, 2], 1, 2, 3, 6, 0.1, 2)),
      { criterion: 'wanda', ratio: 1 / 3 },
      { x },
    );
    expect(await weights(model, 'W')).toEqual([1, 2, 3, 0, 0, 2]);
  });

  it('reads the columns of what a Gemm turns around', async () => {
    // Squares of 3 inputs over 2 rows are 50, 2 and 8; Gemm gets them as [inputs, rows].
    const b = new GraphBuilder('turned');
    const x = b.op.Transpose([b.input('x', 'float32', ['N', 3])], { perm: [1, 0] });
    b.output('y', b.op.Gemm([x, b.constant('W', floats([3, 1], 1, 4, 3))], { transA: true }));
    const inputs = { x: floats([2, 3], 5, 1, 2, -5, 1, -2) };
    const { model } = await run(await b.build(), { criterion: 'wanda', ratio: 0.34, batchSize: 2 }, inputs);
    // 1 by 7.1, 4 by 1.4, 3 by 2.8.
    expect(await weights(model, 'W')).toEqual([1, 0, 3]);
  });

  it('sees what each weight of a convolution multiplies, with groups, strides and padding', async () => {
    const b = new GraphBuilder('conv');
    const x = b.input('x', 'float32', ['N', 4, 5, 6]);
    const weight = normal([6, 2, 3, 2], 3);
    const attributes = { group: 2, strides: [2, 1], pads: [1, 0, 0, 1], dilations: [1, 2] };
    b.output('y', b.op.Conv([x, b.constant('W', weight)], attributes));
    const data = normal([3, 4, 5, 6], 4);
    const options = { criterion: 'wanda', ratio: 0.5, batchSize: 2 } as const;
    const { model } = await run(await b.build(), options, { x: data });
    const after = await weights(model, 'W');
    // By hand: the square sum of what the element at (channel, dy, dx) of the kernel lies on.
    const at = (n: number, c: number, h: number, w: number): number =>
      h < 0 || h >= 5 || w < 0 || w >= 6 ? 0 : (data.data[((n * 4 + c) * 5 + h) * 6 + w] as number);
    const squares = (c: number, dy: number, dx: number): number => {
      let sum = 0;
      for (let n = 0; n < 3; n++)
        for (let oy = 0; oy < 2; oy++)
          for (let ox = 0; ox < 5; ox++) sum += at(n, c, oy * 2 - 1 + dy, ox + dx * 2) ** 2;
      return sum;
    };
    for (let output = 0; output < 6; output++) {
      const scores = Array.from({ length: 12 }, (_, index) => {
        const [channel, dy, dx] = [Math.floor(index / 6), Math.floor(index / 2) % 3, index % 2];
        const norm = Math.sqrt(squares((output < 3 ? 0 : 2) + channel, dy, dx));
        return Math.abs(weight.data[output * 12 + index] as number) * norm;
      });
      const limit = scores.toSorted((left, right) => left - right)[5] as number;
      for (const [index, score] of scores.entries())
        expect(after[output * 12 + index]).toBe(score <= limit ? 0 : weight.data[output * 12 + index]);
    }
  });

  it.each(['wanda', 'sparse-gpt'] as const)(
    'lays out the windows of one sample at a time: %s',
    async (criterion) => {
      const b = new GraphBuilder('conv');
      const x = b.input('x', 'float32', ['N', 2, 'H', 'W']);
      b.output('y', b.op.Conv([x, b.constant('W', normal([4, 2, 3, 3], 3))]));
      const windows: number[] = [];
      const watched: Backend = {
        ...backend,
        compile: async (model, options) => {
          // What the convolution that lays windows out gives, as one more output.
          if (!(model instanceof Model)) return backend.compile(model, options);
          const copy = model.clone();
          const laid = [...copy.graph.nodes()].find(
            (node) => node.is('Conv') && node.input(1)?.initializer?.shape[0] === 18,
          );
          // The model itself is run as well, to see that it still does.
          if (laid === undefined) return backend.compile(model, options);
          copy.graph.setOutputs([...copy.graph.outputs, laid.output()]);
          const executable = await backend.compile(copy, options);
          const plain = executable.run.bind(executable);
          return Object.assign(executable, {
            run: async (...given: Parameters<typeof plain>) => {
              const results = await plain(...given);
              windows.push(results[laid.output().name]?.shape[0] ?? 0);
              return results;
            },
          });
        },
      };
      const data = arrayDataset({ inputs: { x: normal([6, 2, 8, 8], 4) } }, { batchSize: 6 });
      const steps = [sparsify({ criterion, compressedSize: false })];
      await optimize(await b.build(), steps, { backend: watched, data });
      expect(windows).toEqual(criterion === 'wanda' ? [1] : [1, 1, 1, 1, 1, 1]);
    },
  );

  it('asks for data', async () => {
    await expect(run(await product(floats([1, 2], 1, 2)), { criterion: 'wanda' })).rejects.toMatchObject({
      code: 'PASS_FAILED',
      cause: { code: 'PASS_NEEDS' },
    });
  });
});

describe('lamp', () => {
  it('compares weights by their share of what is left of their own layer', async () => {
    // A: squares 1, 4, 9, 16 of sums 30, 29, 25, 16: 0.033, 0.138, 0.36, 1.
    // B, ten times as large and even: squares 100, 100, 144, 256 of 600, 600, 400, 256: 0.167, 0.167, 0.36, 1.
    const b = new GraphBuilder('two');
    const x = b.input('x', 'float32', ['N', 2]);
    const hidden = b.op.MatMul([x, b.constant('A', floats([2, 2], 1, -2, 3, 4))]);
    b.output('y', b.op.MatMul([hidden, b.constant('B', floats([2, 2], 10, -10, 12, 16))]));
    const model = await b.build();
    const three = await run(model, { ratio: 3 / 8, criterion: 'lamp' });
    expect(await weights(three.model, 'A')).toEqual([0, 0, 3, 4]);
    expect(await weights(three.model, 'B')).toEqual([0, -10, 12, 16]);
    // By plain size all of B would outlast all of A; here each layer keeps its largest.
    const six = await run(model, { ratio: 6 / 8, criterion: 'lamp' });
    expect(await weights(six.model, 'A')).toEqual([0, 0, 0, 4]);
    expect(await weights(six.model, 'B')).toEqual([0, 0, 0, 16]);
  });

  it('does not mind a factor on a layer, nor zeros that are there already', async () => {
    const b = new GraphBuilder('scaled');
    const x = b.input('x', 'float32', ['N', 8]);
    const first = normal([8, 8], 3);
    const scaled = Tensor.from(
      'float32',
      [8, 8],
      first.data.map((value) => 1024 * value),
    );
    const some = Tensor.from(
      'float32',
      [8, 8],
      normal([8, 8], 4).data.map((value) => (value < 0 ? 0 : value)),
    );
    const hidden = b.op.MatMul([b.op.MatMul([x, b.constant('A', first)]), b.constant('B', scaled)]);
    b.output('y', b.op.MatMul([hidden, b.constant('C', some)]));
    const { model } = await run(await b.build(), { ratio: 0.5, criterion: 'lamp' });
    const kept = async (name: string): Promise<boolean[]> =>
      (await weights(model, name)).map((value) => value !== 0);
    // Pairs of equal scores end on either side of the threshold once at most.
    const [left, right] = [await kept('A'), await kept('B')];
    expect(left.filter((value, index) => value !== right[index]).length).toBeLessThanOrEqual(1);
    expect((await weights(model, 'C')).some((value) => value !== 0)).toBe(true);
  });
});

describe('given scores', () => {
  it('keep the largest, negative ones below, and leave weights without scores alone', async () => {
    const scores = new Map([['W', floats([1, 4], -3, 2, -1, 0)]]);
    const { model } = await run(await product(floats([1, 4], 9, 1, 9, 9)), {
      criterion: givenScores(scores, 'movement'),
      ratio: 0.5,
    });
    expect(await weights(model, 'W')).toEqual([0, 1, 0, 9]);
    const { report } = await run(await product(floats([1, 2], 1, 2)), { criterion: givenScores(new Map()) });
    expect(report.skipped.map(({ code }) => code)).toEqual(['not-scored']);
    expect(report.changed).toBe(false);
  });
});

describe('weights that are not in memory', () => {
  it('stay where they are: masks are laid over them as they are read', async () => {
    const weight = normal([32, 8], 2);
    let reads = 0;
    const model = await product(weight);
    model.graph.setInitializer(model.graph.value('W') as Value, {
      dtype: 'float32',
      shape: weight.shape,
      byteLength: weight.byteLength,
      load: async () => {
        reads++;
        return weight;
      },
    });
    const { model: sparse } = await run(model, { ratio: 0.5 });
    const source = (sparse.graph.value('W') as Value).initializer;
    expect(source).not.toBeInstanceOf(Tensor);
    const before = reads;
    expect((await weights(sparse, 'W')).filter((value) => value === 0)).toHaveLength(128);
    expect(reads).toBe(before + 1);
  });

  it('are read no further once the caller stops', async () => {
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    await expect(
      optimize(await product(normal([4, 4], 1)), [sparsify()], { signal: stop.signal }),
    ).rejects.toThrow('enough');
  });
});

describe('a model that has all zeros that are asked for', () => {
  it('stays as it is, and the report says so', async () => {
    const weight = floats([2, 3], 1, -5, 0.5, -0.1, 3, -2);
    const once = await run(await product(weight), { ratio: 0.5 });
    for (const options of [{ ratio: 0.5 }, { ratio: 0 }, { ratio: 0.3, scope: 'global' }] as const) {
      const { model, report } = await run(once.model, options);
      expect(model).toBe(once.model);
      expect(report).toMatchObject({ changed: false, applied: [] });
      expect(report.skipped.map(({ target, code }) => [target, code])).toEqual([['W', 'nothing-to-remove']]);
      expect(report.layers[0]?.zeros).toBe(3);
    }
    // Groups of one input have nothing that could go.
    const single = await product(floats([1, 2], 1, 2));
    expect((await run(single, { pattern: '2:4' })).model).toBe(single);
  });
});

describe('the report', () => {
  it('tells the compressed size and that nothing is faster', async () => {
    const { report } = await run(await product(normal([128, 64], 1)), { ratio: 0.9, compressedSize: true });
    const { metrics } = report;
    expect(metrics['sparsity']?.value).toBeCloseTo(0.9, 3);
    // Normal numbers hardly compress; of a tenth of them and zeros a fifth is left at most.
    expect(metrics['compressed before']?.value).toBeGreaterThan(0.85 * 4 * 128 * 64);
    expect(metrics['compressed after']?.value).toBeLessThan(0.2 * 4 * 128 * 64);
    expect(report.applied.join(' ')).toMatch(/make nothing faster/);
  });

  it('refuses weights that are no numbers', async () => {
    await expect(run(await product(floats([1, 2], Number.NaN, 1)), {})).rejects.toMatchObject({
      cause: { code: 'VALUE_OUT_OF_RANGE' },
    });
  });
});

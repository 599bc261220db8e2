import { attribute, createRng, type Dataset, type Model, Tensor, type Value } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import {
  awq,
  foldableWeights,
  gptq,
  hqq,
  roundToNearest,
  type WeightAlgorithm,
  type WeightOnlyOptions,
  weightOnly,
} from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net, operators } from './net.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

const backend = referenceBackend();

/** Tokens whose channels hang together, a few of them large. */
function tokens(seed: number, rows = 12): Tensor<'float32'> {
  const rng = createRng(seed);
  const mixing = normal([12, 64], 99);
  const data = new Float32Array(rows * 64);
  for (let row = 0; row < rows; row++) {
    const hidden = Float64Array.from({ length: 12 }, () => rng.normal());
    for (let channel = 0; channel < 64; channel++) {
      let sum = 0.2 * rng.normal();
      for (let at = 0; at < 12; at++) sum += hidden[at]! * mixing.data[at * 64 + channel]!;
      data[row * 64 + channel] = sum * (channel % 21 === 0 ? 12 : 1);
    }
  }
  return Tensor.from('float32', [rows, 64], data);
}

const data: Dataset = fixedData(Array.from({ length: 16 }, (_, index) => ({ x: tokens(index) })));
const context = contextOf({ backend, data });
const unseen = { x: tokens(77) };

/** Two layers: a normalization that only products read, products that share an input, one behind an activation. */
function layers(): Model {
  const n = net();
  const normalized = n.add('LayerNormalization', [
    n.input('x', ['rows', 64]),
    n.weight([64], 1),
    n.weight([64]),
  ]);
  const left = n.add('Gemm', [normalized, n.weight([48, 64]), n.weight([48])], { transB: attribute.int(1) });
  const right = n.add('MatMul', [normalized, n.weight([64, 48])]);
  const joined = n.add('Relu', [n.add('Add', [left, right])]);
  return n.model(
    n.add('MatMul', [joined, n.weight([48, 32])]),
    n.add('MatMul', [joined, n.weight([48, 40])]),
  );
}

async function quality(options: WeightOnlyOptions, model = layers()): Promise<number> {
  const { model: small } = await apply(model, weightOnly({ accuracyLevel: 1, ...options }), context);
  return sqnr(await runModel(model, unseen), await runModel(small, unseen));
}

describe('weight algorithms in the pass', () => {
  it('on calibration data come closer to the float model than rounding to nearest, on inputs not seen', async () => {
    const nearest = await quality({});
    for (const algorithm of [
      'gptq',
      gptq({ order: 'stored' }),
      gptq({ sequential: true }),
      awq({ rounding: gptq() }),
    ] as const)
      expect(await quality({ algorithm })).toBeGreaterThan(nearest + 1);
    expect(await quality({ algorithm: 'awq' })).toBeGreaterThan(nearest);
    expect(
      await quality({ algorithm: gptq(), symmetric: false, format: 'dequantize-linear' }),
    ).toBeGreaterThan((await quality({ symmetric: false, format: 'dequantize-linear' })) + 1);
  });

  it('make the same file however often the data runs', async () => {
    const bytes = async (memoryBytes: number): Promise<Uint8Array> =>
      writeOnnx((await apply(layers(), weightOnly({ algorithm: 'gptq', memoryBytes }), context)).model);
    expect(await bytes(1)).toEqual(await bytes(2 ** 29));
  });

  it('say what they gained', async () => {
    const { report } = await apply(layers(), weightOnly({ algorithm: gptq() }), context);
    const { calibrationError, calibrationErrorOfRoundToNearest } = report.metrics;
    expect(calibrationError?.value).toBeLessThan(0.8 * (calibrationErrorOfRoundToNearest?.value ?? 0));
  });

  it('without data are an error where they need it, and none where they do not', async () => {
    await expect(apply(layers(), weightOnly({ algorithm: 'gptq' }))).rejects.toMatchObject({
      code: 'PASS_NEEDS',
    });
    await expect(apply(layers(), foldableWeights({ algorithm: awq() }))).rejects.toMatchObject({
      code: 'PASS_NEEDS',
    });
    const { model, report } = await apply(layers(), weightOnly({ algorithm: hqq(), symmetric: false }));
    expect(report.applied).toHaveLength(4);
    expect(sqnr(await runModel(layers(), unseen), await runModel(model, unseen))).toBeGreaterThan(14);
  });

  it('refuse what is no algorithm', () => {
    expect(() => weightOnly({ algorithm: { name: 'x' } as never })).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });

  it('round to nearest in a subgraph, and say so', async () => {
    const n = net();
    const x = n.input('x', ['rows', 64]);
    const branch = (): Model['graph'] => {
      const inner = new (n.graph.constructor as new (name: string, parent: Model['graph']) => Model['graph'])(
        'branch',
        n.graph,
      );
      const weight = inner.addInitializer('inner_weight', normal([64, 32], 5));
      inner.setOutputs([inner.addNode({ opType: 'MatMul', inputs: [x, weight] }).output()]);
      for (const value of inner.outputs)
        value.type = { kind: 'tensor', dtype: 'float32', shape: ['rows', 32] };
      return inner;
    };
    const condition = n.constant(Tensor.from('bool', [], Uint8Array.of(1)));
    const model = n.model(
      n.add('If', [condition], {
        then_branch: attribute.graph(branch()),
        else_branch: attribute.graph(branch()),
      }),
    );
    const { model: small, report } = await apply(model, weightOnly({ algorithm: 'gptq' }), context);
    expect(report.skipped.map(({ code }) => code)).toEqual(['in-subgraph', 'in-subgraph']);
    expect(operators(small)['MatMulNBits']).toBe(2);
  });
});

/** Multiplies input channels by factors of its own, and rounds to 8 bits, so that only the scaling can go wrong. */
const scaling: WeightAlgorithm = {
  name: 'test/scaling',
  settings: {},
  needs: 'input-moments',
  scaleInputs: async ({ moments }) =>
    Float32Array.from({ length: moments.inputs }, (_, channel) => 0.8 + 0.1 * (channel % 7)),
  quantize: (matrix, tools) => roundToNearest().quantize(matrix, tools),
};

describe('scaled activations', () => {
  it('leave the products what they are, in a normalization and in products before that nothing else reads', async () => {
    for (const step of [
      weightOnly({ bits: 8, algorithm: scaling, accuracyLevel: 1 }),
      foldableWeights({ algorithm: scaling }),
    ]) {
      const { model: small, report } = await apply(layers(), step, context);
      expect(sqnr(await runModel(layers(), unseen), await runModel(small, unseen))).toBeGreaterThan(32);
      const divided = report.applied.filter((text) => text.startsWith('divide'));
      expect(divided.map((text) => text.includes('in what it is computed from'))).toEqual([true, true]);
      expect(operators(small)['Mul'] ?? 0).toBe(step.name.includes('foldable') ? 4 : 0);
    }
  });

  it('go through a gate into the product beside it, and by a Mul where products are done one after the other', async () => {
    const n = net();
    const x = n.input('x', ['rows', 64]);
    const gate = n.add('Sigmoid', [n.add('MatMul', [x, n.weight([64, 48])])]);
    const up = n.add('Add', [n.add('MatMul', [x, n.weight([64, 48])]), n.weight([48])]);
    const model = n.model(n.add('MatMul', [n.add('Mul', [gate, up]), n.weight([48, 32])]));
    for (const [sequential, muls] of [
      [false, 2],
      [true, 3],
    ] as const) {
      const step = weightOnly({ bits: 8, algorithm: { ...scaling, sequential }, accuracyLevel: 1 });
      const { model: small } = await apply(model, step, context);
      // One Mul is the gate, one divides the graph's input.
      expect(operators(small)['Mul']).toBe(muls);
      expect(sqnr(await runModel(model, unseen), await runModel(small, unseen))).toBeGreaterThan(32);
    }
  });

  it('are divided by a Mul where a residual reads the normalization as well', async () => {
    const n = net();
    const normalized = n.add('LayerNormalization', [n.input('x', ['rows', 64]), n.weight([64], 1)]);
    const model = n.model(n.add('Add', [normalized, n.add('MatMul', [normalized, n.weight([64, 64])])]));
    const { model: small } = await apply(
      model,
      weightOnly({ bits: 8, algorithm: scaling, accuracyLevel: 1 }),
      context,
    );
    expect(operators(small)).toMatchObject({ Mul: 1, LayerNormalization: 1, MatMulNBits: 1 });
    expect(sqnr(await runModel(model, unseen), await runModel(small, unseen))).toBeGreaterThan(32);
  });

  it('are refused when they are not positive, or not one for each channel', async () => {
    for (const factors of [new Float32Array(64), new Float32Array(3).fill(1)]) {
      const step = weightOnly({ algorithm: { ...scaling, scaleInputs: async () => factors } });
      await expect(apply(layers(), step, context)).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
    }
  });

  it('are left alone where a weight is read by something else too', async () => {
    const n = net();
    const weight = n.weight([64, 64]);
    const model = n.model(n.add('MatMul', [n.input('x', ['rows', 64]), weight]), n.add('Relu', [weight]));
    const { report } = await apply(model, weightOnly({ algorithm: scaling }), context);
    expect(report.skipped.map(({ code }) => code)).toContain('shared-weight');
  });
});

it.each(['matmul-nbits', 'dequantize-linear'] as const)(
  'what was stored is not reported as left out for its scales: %s',
  async (format) => {
    const n = net();
    const table = n.weight([64, 512]);
    const looked = n.add('Gather', [table, n.input('ids', ['rows'], 'int64')]);
    const model = n.model(n.add('MatMul', [looked, n.weight([512, 128])]));
    const { report } = await apply(model, weightOnly({ format, embeddings: 'int8' }));
    expect(report.applied).toHaveLength(2);
    expect(report.skipped).toEqual([]);
  },
);

it('a weight that is an output of the model stays what it is there', async () => {
  const n = net();
  const weight = n.weight([64, 48]);
  const model = n.model(n.add('MatMul', [n.input('x', ['rows', 64]), weight]), weight);
  for (const format of ['matmul-nbits', 'dequantize-linear'] as const) {
    const { model: small } = await apply(model, weightOnly({ format }));
    const { [weight.name]: found } = await runModel(small, unseen);
    expect(found?.toFloat64Array()).toEqual((await runModel(model, unseen))[weight.name]?.toFloat64Array());
  }
});

describe('embedding tables', () => {
  const ids = { ids: Tensor.from('int64', [2, 3], BigInt64Array.of(0n, 3n, 49n, 7n, 3n, 1n)) };

  function language(tied: boolean): Model {
    const n = net();
    const table = n.weight([50, 64]);
    const looked = n.add('Gather', [table, n.input('ids', ['batch', 'sequence'], 'int64')]);
    const hidden = n.add('Add', [looked, n.add('MatMul', [looked, n.weight([64, 64])])]);
    const output = tied ? n.add('Transpose', [table], { perm: attribute.ints([1, 0]) }) : n.weight([64, 50]);
    return n.model(n.add('MatMul', [hidden, output]));
  }

  const bytesOf = async (model: Model): Promise<number> => (await writeOnnx(model)).length;

  for (const options of [
    { bits: 4 },
    { bits: 8 },
    { bits: 4, symmetric: false },
    { bits: 8, symmetric: false, blockSize: 16 },
    { bits: 4, algorithm: hqq(), symmetric: false },
    { bits: 8, format: 'dequantize-linear' },
  ] as const) {
    it(`tied to a product are stored once, behind a Transpose too: ${JSON.stringify(options)}`, async () => {
      const model = language(true);
      const { model: small } = await apply(model, weightOnly({ accuracyLevel: 1, ...options }));
      const written = await readOnnx(await writeOnnx(small));
      expect(await bytesOf(small)).toBeLessThan((await bytesOf(model)) * (options.bits === 4 ? 0.3 : 0.45));
      const large = [...written.graph.initializers].filter(
        (value) => (value.initializer?.byteLength ?? 0) > 1500,
      );
      expect(large).toHaveLength(2);
      const expected = await runModel(model, ids);
      const least = options.bits === 4 ? 11 : 30;
      expect(sqnr(expected, await runModel(small, ids))).toBeGreaterThan(least);
      expect(sqnr(expected, await runModel(small, ids, 'wasm'))).toBeGreaterThan(least);
    });
  }

  it.each(['matmul-nbits', 'dequantize-linear'] as const)(
    'that are to stay in floats give the floats that are stored, tied or not: %s',
    async (format) => {
      const n = net();
      const table = n.weight([50, 64]);
      const looked = n.add('Gather', [table, n.input('ids', ['batch', 'sequence'], 'int64')]);
      const scores = n.add('MatMul', [n.add('Tanh', [looked]), n.add('Transpose', [table])]);
      const model = n.model(looked, scores);
      const { model: small } = await apply(model, weightOnly({ format, embeddings: 'float' }));
      const numbers = async (from: Model, of: Value): Promise<Float64Array | undefined> =>
        (await runModel(from, ids))[of.name]?.toFloat64Array();
      expect(await numbers(small, looked)).toEqual(await numbers(model, looked));
      expect(await numbers(small, scores)).not.toEqual(await numbers(model, scores));
    },
  );

  it('that are tied are rounded without what makes up for errors in sums, and once', async () => {
    const feeds = fixedData([{ ids: ids.ids }]);
    const { model, report } = await apply(
      language(true),
      weightOnly({ algorithm: 'gptq' }),
      contextOf({ backend, data: feeds }),
    );
    expect(operators(model)).toMatchObject({ GatherBlockQuantized: 1, MatMulNBits: 2 });
    expect(report.applied.join()).toContain('the copy of the product');
    // Six tokens say little of sums of 64.
    expect(report.applied.join()).toContain('damping was raised');
    expect(sqnr(await runModel(language(true), ids), await runModel(model, ids))).toBeGreaterThan(11);
  });

  for (const options of [
    { embeddings: 'int4' },
    { embeddings: 'int8' },
    { embeddings: 'int8', symmetric: false },
    { embeddings: 'int4', symmetric: false, blockSize: 128 },
    { embeddings: 'int8', format: 'dequantize-linear' },
    { embeddings: 'int8', format: 'dequantize-linear', symmetric: false },
  ] as const) {
    it(`are looked up in blocks: ${JSON.stringify(options)}`, async () => {
      const n = net();
      const table = n.weight([50, 64]);
      const model = n.model(n.add('Gather', [table, n.input('ids', ['batch', 'sequence'], 'int64')]));
      const { model: small } = await apply(model, weightOnly(options));
      expect(operators(small)['Gather'] ?? 0).toBe(
        'format' in options ? ('symmetric' in options ? 3 : 2) : 0,
      );
      const expected = await runModel(model, ids);
      const least = options.embeddings === 'int4' ? 15 : 38;
      expect(sqnr(expected, await runModel(small, ids))).toBeGreaterThan(least);
      expect(sqnr(expected, await runModel(small, ids, 'wasm'))).toBeGreaterThan(least);
    });
  }

  it('give in onnxruntime what the specification says, as the reference interpreter reads it', async () => {
    const { model: small } = await apply(
      language(true),
      weightOnly({ bits: 4, symmetric: false, accuracyLevel: 1 }),
    );
    const executable = await backend.compile(small);
    expect(sqnr(await executable.run(ids), await runModel(small, ids))).toBeGreaterThan(100);
    await executable.dispose();
  });

  it('stay float by default, and where rows do not fall into blocks, with a reason', async () => {
    const n = net();
    const model = n.model(n.add('Gather', [n.weight([50, 40]), n.input('ids', [2], 'int64')]));
    expect((await apply(model, weightOnly())).report.skipped).toEqual([
      expect.objectContaining({ code: 'embedding' }),
    ]);
    expect((await apply(model, weightOnly({ embeddings: 'int4' }))).report.skipped).toContainEqual(
      expect.objectContaining({ code: 'block-size' }),
    );
  });
});

describe('foldable weights by an algorithm', () => {
  it('stay foldable and come closer: products on data, convolutions and stacks without', async () => {
    for (const bits of [4, 8] as const) {
      const nearest = await apply(layers(), foldableWeights({ bits }), context);
      const found = await apply(layers(), foldableWeights({ bits, algorithm: gptq() }), context);
      expect(operators(found.model)).toEqual(operators(nearest.model));
      const expected = await runModel(layers(), unseen);
      expect(sqnr(expected, await runModel(found.model, unseen))).toBeGreaterThan(
        sqnr(expected, await runModel(nearest.model, unseen)) + 1,
      );
    }
  });

  const shapes: readonly (readonly [
    string,
    readonly number[],
    (x: Value, w: Value, n: ReturnType<typeof net>) => Value,
    readonly number[],
  ])[] = [
    ['Conv', [1, 32, 9, 9], (x, w, n) => n.add('Conv', [x, w]), [24, 32, 3, 3]],
    ['ConvTranspose', [1, 32, 5, 5], (x, w, n) => n.add('ConvTranspose', [x, w]), [32, 8, 2, 2]],
    ['a stack of matrices', [3, 2, 64], (x, w, n) => n.add('MatMul', [x, w]), [3, 64, 16]],
  ];
  for (const [name, feed, build, shape] of shapes) {
    it(`store the integers of searched scales where they belong: ${name}`, async () => {
      const n = net();
      const model = n.model(build(n.input('x', feed), n.weight(shape), n));
      const feeds = { x: normal(feed, 7) };
      for (const [bits, least] of [
        [8, 34],
        [4, 15],
      ] as const) {
        const { model: small } = await apply(
          model,
          foldableWeights({ bits, algorithm: roundToNearest({ scales: 'search' }) }),
        );
        expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(least);
      }
    });
  }
});

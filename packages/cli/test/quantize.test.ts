import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { createRng, GraphBuilder, Tensor, type Value } from '@lithe/core';
import { writeNpy, writeNpz } from '@lithe/data';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lithe } from './lithe.ts';
import { writeRandomEncoder } from './small-encoder.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'lithe-quantize-'));
const at = (name: string): string => path.join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function random(shape: readonly number[], seed: number, deviation = 1): Tensor<'float32'> {
  const rng = createRng(seed);
  const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
  for (let index = 0; index < data.length; index++) data[index] = rng.normal() * deviation;
  return Tensor.from('float32', shape, data);
}

/** Two convolutions, each with a batch normalization whose statistics are wrong, and a product. */
async function writeNormalized(file: string): Promise<void> {
  const b = new GraphBuilder('normalized');
  let seed = 50;
  const weight = (shape: readonly number[], deviation: number): Value =>
    b.constant(`w${seed}`, random(shape, seed++, deviation));
  const ones = (): Value =>
    b.constant(`ones${seed++}`, Tensor.from('float32', [16], new Float32Array(16).fill(1)));
  let x = b.input('x', 'float32', ['N', 3, 12, 12]);
  for (const from of [3, 16]) {
    const made = b.op.Conv([x, weight([16, from, 3, 3], 0.15)], { pads: [1, 1, 1, 1] });
    const statistics = [weight([16], 0.5), ones()] as const;
    x = b.op.Relu([b.op.BatchNormalization([made, ones(), weight([16], 0.1), ...statistics])]);
  }
  const pooled = b.op.Flatten([b.op.GlobalAveragePool([x])]);
  b.output('y', b.op.Gemm([pooled, weight([16, 10], 0.4), weight([10], 0.1)]));
  await saveOnnx(await b.build(), file);
}

/** Token numbers for the encoder: 8 texts of 12. */
function tokens(): Readonly<Record<string, Tensor>> {
  const int64s = (value: (index: number) => number): Tensor => {
    const data = BigInt64Array.from({ length: 96 }, (_, index) => BigInt(value(index)));
    return Tensor.from('int64', [8, 12], data);
  };
  return {
    input_ids: int64s((index) => 5 + ((index * 31) % 80)),
    attention_mask: int64s(() => 1),
    token_type_ids: int64s(() => 0),
  };
}

/** Three convolutions and a product, with random weights. */
async function writeConvolutions(file: string): Promise<void> {
  const b = new GraphBuilder('convolutions');
  let seed = 1;
  const weight = (shape: readonly number[], deviation: number): Value =>
    b.constant(`w${seed}`, random(shape, seed++, deviation));
  let x = b.input('x', 'float32', ['N', 3, 12, 12]);
  for (const [from, to] of [
    [3, 16],
    [16, 16],
    [16, 16],
  ] as const) {
    const pads = [1, 1, 1, 1];
    x = b.op.Relu([b.op.Conv([x, weight([to, from, 3, 3], 0.15), weight([to], 0.1)], { pads })]);
  }
  const pooled = b.op.Flatten([b.op.GlobalAveragePool([x])]);
  b.output('y', b.op.Gemm([pooled, weight([16, 10], 0.4), weight([10], 0.1)]));
  await saveOnnx(await b.build(), file);
}

beforeAll(async () => {
  await writeConvolutions(at('conv.onnx'));
  await writeRandomEncoder(at('encoder'));
  await writeNormalized(at('normalized.onnx'));
  writeFileSync(at('x.npy'), writeNpy(random([16, 3, 12, 12], 99)));
  writeFileSync(at('tokens.npz'), await writeNpz(tokens()));
});

/** Operators of a written file. */
async function operatorsOf(file: string): Promise<readonly string[]> {
  const model = await loadOnnx(file);
  return [...new Set([...model.graph.nodesDeep()].map(({ opType }) => opType))].sort();
}

describe('lithe quantize --scheme', () => {
  const encoder = at('encoder/model.onnx');
  const conv = at('conv.onnx');
  const data = ['--calibrate', at('x.npy')] as const;
  const calls: readonly (readonly [name: string, args: readonly string[], contains: string])[] = [
    ['bfloat16 storage', [encoder, '--scheme', 'bfloat16-storage'], 'Cast'],
    ['float16 with half inputs', [conv, '--scheme', 'float16', '--io', 'float16', ...data], 'Conv'],
    [
      'float16 but for some operators',
      [conv, '--scheme', 'float16', '--keep-operators', 'Gemm', ...data],
      'Cast',
    ],
    [
      '4-bit blocks with zero points',
      [encoder, '--scheme', 'weight-int4', '--asymmetric', '--block-size', '16'],
      'MatMulNBits',
    ],
    [
      'HQQ',
      [encoder, '--scheme', 'weight-int4', '--algorithm', 'hqq', '--accuracy-level', '0'],
      'MatMulNBits',
    ],
    ['4-bit tables', [encoder, '--scheme', 'weight-int4', '--embeddings', 'int4'], 'GatherBlockQuantized'],
    ['NF4', [encoder, '--scheme', 'weight-nf4', '--block-size', '64'], 'MatMulBnb4'],
    ['tables', [encoder, '--scheme', 'table-int8'], 'Mul'],
    [
      'dynamic products and tables',
      [encoder, '--scheme', 'dynamic-int8', '--embeddings', 'int8', '--reduce-range'],
      'MatMulInteger',
    ],
    [
      'static with a calibrator',
      [conv, '--scheme', 'static-int8', ...data, '--calibrator', 'entropy'],
      'QuantizeLinear',
    ],
    ['integer operators', [conv, '--scheme', 'static-int8', ...data, '--format', 'qoperator'], 'QLinearConv'],
    [
      'everything that wins accuracy back',
      [
        conv,
        '--scheme',
        'static-int8',
        ...data,
        '--equalize',
        '--bias-correction',
        'empirical',
        '--fallback',
        '30',
      ],
      'QuantizeLinear',
    ],
    ['mixed', [conv, '--scheme', 'mixed', ...data, '--max-drift', '0.001', '--samples', '8'], 'Conv'],
  ];
  for (const [index, [name, args, contains]] of calls.entries()) {
    it(`reaches ${name}`, async () => {
      const output = at(`out${index}.onnx`);
      const call = await lithe('quantize', ...args, '-o', output, '--json');
      expect(call).toMatchObject({ code: 0 });
      const result = JSON.parse(call.out) as { readonly applied: readonly string[] };
      expect(result.applied.length).toBeGreaterThan(0);
      expect(await operatorsOf(output)).toContain(contains);
      const before = args[0] === conv ? data : [];
      if (name.includes('half inputs')) return;
      const verified = await lithe(
        'verify',
        args[0] as string,
        output,
        '--rounds',
        '6',
        '--min-sqnr',
        '10',
        '--json',
        ...(before.length > 0 ? ['--data', at('x.npy')] : []),
      );
      expect(verified).toMatchObject({ code: 0 });
    });
  }

  it('writes integer operators in place of pairs, and converts at the ends only', async () => {
    const output = at('integers.onnx');
    const args = ['--scheme', 'static-int8', ...data, '--format', 'qoperator', '-o', output];
    expect(await lithe('quantize', conv, ...args)).toMatchObject({ code: 0 });
    const { graph } = await loadOnnx(output);
    const products = [...graph.nodes()].filter(({ opType }) => opType === 'QLinearConv');
    expect(products.length).toBe(3);
    expect([...graph.nodes()].filter(({ opType }) => opType === 'Conv')).toEqual([]);
    const [first, ...others] = products;
    expect(first?.input(0)?.producer?.opType).toBe('QuantizeLinear');
    for (const node of others) expect(node.input(0)?.producer?.opType).toBe('QLinearConv');
    // Weights are stored as integers: nothing dequantizes them.
    for (const node of products) expect(node.input(3)?.producer).toBeNull();
  });

  const learned: readonly (readonly [
    option: readonly string[],
    model: string,
    scheme: readonly string[],
    inputs: string,
    applied: RegExp,
  ])[] = [
    [['--ada-round'], conv, ['foldable-int4'], 'x.npy', /^learn the rounding of [1-9]\d* weights$/],
    [
      ['--reestimate-batch-norm'],
      at('normalized.onnx'),
      ['static-int8'],
      'x.npy',
      /^measure BatchNormalization "BatchNormalization_1"$/,
    ],
    [
      ['--smooth'],
      encoder,
      ['dynamic-int8'],
      'tokens.npz',
      /^smooth "MatMul_0".*, alpha [\d.]+, with a Mul$/,
    ],
    [
      ['--algorithm', 'gptq'],
      encoder,
      ['weight-int4'],
      'tokens.npz',
      /^store the weight of "MatMul_0" in 4 bits/,
    ],
    [
      ['--algorithm', 'awq'],
      encoder,
      ['weight-int4'],
      'tokens.npz',
      /^divide "LayerNormalization_\d_output" by factors of its channels before 3 products$/,
    ],
  ];
  it.each(learned)('%s learns from data what plain rounding does not know', async (...args) => {
    const [option, model, scheme, inputs, applied] = args;
    const [plain, own] = [at('plain.onnx'), at('learned.onnx')];
    const common = ['quantize', model, '--scheme', ...scheme, '--calibrate', at(inputs), '--json'];
    expect(await lithe(...common, '-o', plain)).toMatchObject({ code: 0 });
    const call = await lithe(...common, ...option, '-o', own);
    expect(call).toMatchObject({ code: 0 });
    const result = JSON.parse(call.out) as { readonly applied: readonly string[] };
    expect(result.applied).toEqual(expect.arrayContaining([expect.stringMatching(applied)]));
    const run = async (file: string): Promise<readonly number[]> => {
      await using backend = await onnxruntimeNode();
      await using executable = await backend.compile(await loadOnnx(file));
      const feeds = inputs === 'x.npy' ? { x: random([4, 3, 12, 12], 7) } : tokens();
      return Object.values(await executable.run(feeds)).flatMap((tensor) => [...tensor.toFloat64Array()]);
    };
    const [left, right] = [await run(plain), await run(own)];
    expect(right.length).toBe(left.length);
    expect(right.every(Number.isFinite)).toBe(true);
    expect(right).not.toEqual(left);
  });

  it('refuses what means nothing to a scheme, and says what does', async () => {
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [
        [conv, '--scheme', 'foldable-int8', '--calibrator', 'mse'],
        /--calibrator means nothing to scheme "foldable-int8", which takes --block-size/,
      ],
      [[conv, '--scheme', 'table-int8', '--algorithm', 'hqq'], /takes no options of this kind/],
      [[conv, '--scheme', 'float16', '--dtypes', 'q4'], /--dtypes is an option of --preset/],
      [[conv, '--preset', 'transformers-js', '--equalize'], /--equalize means nothing to --preset/],
      [[conv, '--scheme', 'static-int8'], /real inputs: give them with --calibrate/],
      [
        [encoder, '--scheme', 'weight-int4', '--algorithm', 'gptq'],
        /with these options learns from real inputs/,
      ],
      [[conv, '--scheme', 'foldable-int4', '--ada-round'], /give them with --calibrate/],
      [[conv, '--scheme', 'weight-int4', '--block-size', '24'], /one of 16, 32/],
      [[conv, '--scheme', 'mixed', ...data, '--formats', 'int3'], /a list of foldable-int8/],
    ];
    for (const [args, message] of wrong) {
      const call = await lithe('quantize', ...args, '-o', at('wrong.onnx'));
      expect({ args, code: call.code, out: call.out }).toEqual({ args, code: 2, out: '' });
      expect(call.err).toMatch(message);
    }
    expect(existsSync(at('wrong.onnx'))).toBe(false);
  });

  it('says that float16 was decided on weights alone when there is no data', async () => {
    const call = await lithe('quantize', conv, '--scheme', 'float16', '-o', at('half.onnx'));
    expect(call.code).toBe(0);
    expect(call.out).toContain('only the weights decided what overflows');
    expect(readFileSync(at('half.onnx')).byteLength).toBeLessThan(readFileSync(conv).byteLength);
  });
});

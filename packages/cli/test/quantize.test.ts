import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createRng, GraphBuilder, Tensor, type Value } from '@lithe/core';
import { writeNpy } from '@lithe/data';
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
  writeFileSync(at('x.npy'), writeNpy(random([16, 3, 12, 12], 99)));
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
    [
      'integer operators',
      [conv, '--scheme', 'static-int8', ...data, '--format', 'qoperator'],
      'QuantizeLinear',
    ],
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

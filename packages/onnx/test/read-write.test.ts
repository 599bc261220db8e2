import { readOnnx, writeOnnx } from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { ocrModel } from './models.ts';

describe('readOnnx and writeOnnx', () => {
  it.each([
    ['ch_PP-OCRv4_det_infer.onnx', 'Constant', 342],
    ['ch_ppocr_mobile_v2.0_cls_infer.onnx', 'BatchNormalization', 35],
  ])('reads %s and writes it back byte for byte', async (name, opType, count) => {
    const bytes = await ocrModel(name);
    const model = await readOnnx(bytes, { upgrade: false });
    expect([...model.graph.nodes()].filter((node) => node.is(opType))).toHaveLength(count);
    expect(Buffer.compare(await writeOnnx(model), bytes)).toBe(0);
    const copy = model.clone();
    expect(copy.isUnchanged).toBe(true);
    copy.producerName = 'other';
    const written = await readOnnx(await writeOnnx(copy), { upgrade: false });
    expect(written.producerName).toBe('other');
    expect(written.graph.nodeCount).toBe(model.graph.nodeCount);
  });
});

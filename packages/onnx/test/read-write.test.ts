import { GraphBuilder, Tensor } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { around, modelBytes } from './build.ts';
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

  it('names nodes that a file leaves without one, apart from all others, and leaves them without one in files', async () => {
    const relu = (input: string, output: string, name: string) => ({
      opType: 'Relu',
      name,
      input: [input],
      output: [output],
    });
    const bytes = modelBytes(
      around(relu('x', 'a', ''), relu('a', 'b', 'Relu_1'), relu('b', 'c', ''), relu('c', 'y', '')),
    );
    const model = await readOnnx(bytes);
    const names = (of: typeof model): string[] => [...of.graph.nodes()].map(({ name }) => name);
    expect(names(model)).toEqual(['Relu_0', 'Relu_1', 'Relu_2', 'Relu_3']);
    const copy = model.clone();
    copy.docString = 'changed';
    for (const node of copy.graph.nodes()) if (node.output().isGraphOutput) node.name = 'last';
    const written = await readOnnx(await writeOnnx(copy), { upgrade: false });
    expect(names(written)).toEqual(['', 'Relu_1', '', 'last']);
    const added = model.graph.addNode({ opType: 'Relu', inputs: [[...model.graph.inputs][0] ?? null] });
    expect(added.name).toBe('Relu_4');
    expect(names(await readOnnx(bytes, { upgrade: false }))).toEqual(['', 'Relu_1', '', '']);
  });

  it('leaves out optional inputs at the end, which onnxruntime refuses when they are empty', async () => {
    const b = new GraphBuilder('padded');
    const x = b.input('x', 'float32', [1, 2]);
    const pads = b.constant('pads', Tensor.from('int64', [4], BigInt64Array.of(0n, 1n, 0n, 1n)));
    b.output('y', b.op.Pad([x, pads, null, null]));
    const copy = await readOnnx(await writeOnnx(await b.build()));
    const [pad] = copy.graph.nodes();
    expect(pad?.inputs).toHaveLength(2);
  });
});

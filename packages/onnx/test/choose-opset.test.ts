import {
  attribute,
  type DType,
  Graph,
  isLitheError,
  Model,
  type Node,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { around, modelBytes } from './build.ts';

type Build = (graph: Graph, input: Value) => Node;

/** A model built here: `y` is what `build` makes of `x`. */
function built(build: Build, dtype: DType = 'float32'): Model {
  const graph = new Graph();
  const input = graph.addInput('x', tensorType(dtype, [2, 2]));
  const output = build(graph, input).output();
  graph.rename(output, 'y');
  graph.setOutputs([output]);
  return new Model({ graph });
}

const scalar = (graph: Graph, value: number): Value =>
  graph.addInitializer(graph.uniqueName('c'), Tensor.from('float32', [], new Float32Array([value])));
const unary =
  (opType: string, attributes = {}): Build =>
  (graph, x) =>
    graph.addNode({ opType, inputs: [x], attributes });

async function writtenAt(
  model: Model,
  opset?: number,
): Promise<{ opset: number; ir: number; nodes: readonly Node[]; model: Model }> {
  const read = await readOnnx(await writeOnnx(model, { opset }), { upgrade: false });
  return { opset: read.opset, ir: read.origin?.irVersion ?? 0, nodes: [...read.graph.nodes()], model: read };
}

describe('the opset of a written model', () => {
  // Opsets as the operators' pages of the ONNX specification give them.
  const lowest: readonly (readonly [what: string, opset: number, ir: number, model: Model])[] = [
    ['Relu', 7, 4, built(unary('Relu'))],
    ['Relu of int8', 14, 7, built(unary('Relu'), 'int8')],
    ['Relu of bfloat16', 13, 7, built(unary('Relu'), 'bfloat16')],
    ['Gelu', 20, 9, built(unary('Gelu'))],
    [
      'Clip with limits as inputs',
      11,
      6,
      built((graph, x) => graph.addNode({ opType: 'Clip', inputs: [x, scalar(graph, 0)] })),
    ],
    ['Clip of int8', 12, 7, built(unary('Clip'), 'int8')],
    ['Softmax along the last axis', 13, 7, built(unary('Softmax'))],
    ['Shape from an axis on', 15, 8, built(unary('Shape', { start: attribute.int(1) }))],
    ['Shape from the first axis on', 7, 4, built(unary('Shape', { start: attribute.int(0) }))],
    [
      'LayerNormalization',
      17,
      8,
      built((graph, x) => graph.addNode({ opType: 'LayerNormalization', inputs: [x, x] })),
    ],
    [
      'DequantizeLinear of int4',
      21,
      10,
      built(
        (graph, x) => graph.addNode({ opType: 'DequantizeLinear', inputs: [x, scalar(graph, 1)] }),
        'int4',
      ),
    ],
    [
      // The operator is there from opset 10 on, the integer kernels around it only from 13 on.
      'DequantizeLinear of uint8',
      13,
      7,
      built(
        (graph, x) => graph.addNode({ opType: 'DequantizeLinear', inputs: [x, scalar(graph, 1)] }),
        'uint8',
      ),
    ],
    [
      'a later operator',
      23,
      11,
      built((graph, x) => graph.addNode({ opType: 'RMSNormalization', inputs: [x, x] })),
    ],
  ];
  it.each(lowest)('is the lowest that serves: %s', async (_, opset, ir, model) => {
    const written = await writtenAt(model);
    expect([written.opset, written.ir]).toEqual([opset, ir]);
  });

  it('is the one asked for, in the forms of that one', async () => {
    const model = built((graph, x) =>
      graph.addNode({ opType: 'Clip', inputs: [x, scalar(graph, 0), scalar(graph, 6)] }),
    );
    const { opset, nodes, model: read } = await writtenAt(model, 9);
    expect(opset).toBe(9);
    expect(nodes[0]?.attributes.get('max')).toEqual(attribute.float(6));
    expect(read.graph.initializers.size).toBe(0);
    expect(model.graph.initializers.size).toBe(2);
  });

  it('names the node that the one asked for cannot express', async () => {
    const model = built(unary('Gelu', {}));
    await expect(writeOnnx(model, { opset: 17 })).rejects.toSatisfy(
      (error) => isLitheError(error, 'OPSET_UNSUPPORTED') && error.message.includes('"Gelu_0"'),
    );
    await expect(writeOnnx(model, { opset: 5 })).rejects.toSatisfy((error) =>
      isLitheError(error, 'OPSET_UNSUPPORTED'),
    );
    await expect(writeOnnx(model, { opset: 99 })).rejects.toSatisfy((error) =>
      isLitheError(error, 'OPSET_UNSUPPORTED'),
    );
  });

  it('is that of the file for a model that was read and changed, in the forms of that one', async () => {
    const axes = { name: 'axes', type: 7 as const, ints: [1n] };
    const bytes = modelBytes(
      around(
        { opType: 'ReduceMean', input: ['x'], output: ['m'], attribute: [axes] },
        { opType: 'Relu', input: ['m'], output: ['y'] },
      ),
      11,
    );
    const model = await readOnnx(bytes);
    expect([...model.graph.nodes()][0]?.inputs.length).toBe(2);
    model.producerName = 'changed';
    const { opset, nodes, model: read } = await writtenAt(model);
    expect(opset).toBe(11);
    expect(nodes[0]?.attributes.get('axes')).toEqual(attribute.ints([1]));
    expect(read.graph.initializers.size).toBe(0);
  });

  it('rises with a node that came later', async () => {
    const model = await readOnnx(modelBytes(around({ opType: 'Relu', input: ['x'], output: ['y'] }), 11));
    const [node] = [...model.graph.nodes()];
    const gelu = model.graph.addNode({ opType: 'Gelu', inputs: [model.graph.inputs[0] as Value] }, 1, {
      before: node,
    });
    model.graph.setInput(node as Node, 0, gelu.output());
    expect((await writtenAt(model)).opset).toBe(20);
  });

  it('is one at which carried nodes keep their meaning, or an error', async () => {
    const spatial = { name: 'spatial', type: 2 as const, i: 0n };
    const graph = around({
      opType: 'BatchNormalization',
      input: ['x', 'x', 'x', 'x', 'x'],
      output: ['y'],
      name: 'bn',
      attribute: [spatial],
    });
    const model = await readOnnx(modelBytes(graph, 7));
    model.producerName = 'changed';
    const { opset, nodes } = await writtenAt(model);
    expect(opset).toBe(7);
    expect(nodes[0]?.op).toBe('BatchNormalization');
    const gelu = model.graph.addNode({ opType: 'Gelu', inputs: [model.graph.outputs[0] as Value] });
    model.graph.setOutputs([gelu.output()]);
    await expect(writeOnnx(model)).rejects.toSatisfy((error) => isLitheError(error, 'OPSET_UNSUPPORTED'));
  });

  it('imports domains that nodes use', async () => {
    const model = built((graph, x) => graph.addNode({ opType: 'Foo', domain: 'com.acme', inputs: [x] }));
    expect((await writtenAt(model)).model.opsetImports.get('com.acme')).toBe(1);
  });
});

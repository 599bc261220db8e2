import { attribute, Graph, Model, Tensor, tensorType, type Value } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { float16Compute } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net, operators } from './net.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

function layers(): Model {
  const n = net();
  const x = n.input('x', [2, 32]);
  const hidden = n.add('Relu', [n.add('Gemm', [x, n.weight([32, 64]), n.weight([64])])]);
  const normalized = n.add('LayerNormalization', [hidden, n.weight([64]), n.weight([64])]);
  const sorted = n.graph.addNode({ opType: 'TopK', inputs: [normalized, n.integers(5)] }, [
    { name: 'values' },
    { name: 'indices', type: tensorType('int64') },
  ]);
  return n.model(n.add('MatMul', [normalized, n.weight([64, 8])]), sorted.output(0), sorted.output(1));
}

const feeds = { x: normal([2, 32], 4) };

describe('float16 compute', () => {
  it('keeps inputs and outputs as they were, and listed operators in float32', async () => {
    const model = layers();
    const { model: small, report } = await apply(model, float16Compute());
    expect(small.graph.inputs[0]?.dtype).toBe('float32');
    expect(small.graph.outputs.map(({ name }) => name)).toEqual(model.graph.outputs.map(({ name }) => name));
    expect(report.skipped.map(({ code }) => code)).toEqual(['ranges-not-measured', 'float32-operator']);
    const expected = await runModel(model, feeds);
    const actual = await runModel(small, feeds);
    expect(Object.values(actual).map(({ dtype }) => dtype)).toEqual(['float32', 'float32', 'int64']);
    // 11 significant bits, three layers.
    expect(sqnr(expected, actual)).toBeGreaterThan(55);
    expect(sqnr(expected, await runModel(small, feeds, 'wasm'))).toBeGreaterThan(55);
    for (const value of small.graph.initializers) expect(value.dtype).not.toBe('float32');
  });

  it('keeps nodes in float32 whose constants or activations do not fit', async () => {
    const n = net();
    const x = n.input('x', [2, 32]);
    const huge = n.constant(Tensor.from('float32', [], Float32Array.of(1e9)));
    const sum = n.add('Add', [x, huge]);
    const model = n.model(n.add('Softmax', [sum]), n.add('Mul', [n.add('Exp', [x]), x]));
    const tensors = { Exp_0_output: { minimum: 0, maximum: 5e5, finite: true } };
    const stats = { version: 1, samples: 1, source: 'by hand', tensors } as const;
    const { model: small, report } = await apply(model, float16Compute({ stats }));
    expect(report.skipped.map(({ code, target }) => [code, target])).toEqual([
      ['overflow', 'Add_0'],
      ['large-activation', 'Exp_0'],
      ['large-activation', 'Mul_0'],
    ]);
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(55);
  });

  it('looks at real activations when the context has data and a backend', async () => {
    const n = net();
    const model = n.model(n.add('Sqrt', [n.add('Exp', [n.input('x', [1, 2])])]));
    const data = fixedData([{ x: Tensor.from('float32', [1, 2], Float32Array.of(12, 1)) }]);
    const { report } = await apply(model, float16Compute(), contextOf({ backend: referenceBackend(), data }));
    expect(report.skipped.map(({ code, target }) => [code, target])).toEqual([
      ['large-activation', 'Exp_0'],
      ['large-activation', 'Sqrt_0'],
    ]);
    const blind = await apply(
      model,
      float16Compute({ samples: 0 }),
      contextOf({ backend: referenceBackend(), data }),
    );
    expect(blind.report.skipped.map(({ code }) => code)).toEqual(['ranges-not-measured']);
  });

  it('converts subgraphs inside, with values captured from around them in either precision', async () => {
    const graph = new Graph('main');
    const condition = graph.addInput('condition', tensorType('bool', []));
    const x = graph.addInput('x', tensorType('float32', [2, 32]));
    const weight = graph.addInitializer('w', normal([32, 32], 3, 0.2));
    const outer = graph.addNode({ opType: 'MatMul', inputs: [x, weight] }).output();
    const branch = (name: string, opType: string): Graph => {
      const inner = new Graph(name, graph);
      const make = (type: string, inputs: readonly Value[]): Value =>
        inner
          .addNode({ opType: type, inputs, name: `${name}_${type}` }, [
            { name: `${name}_${type}_out`, type: tensorType('float32', [2, 32]) },
          ])
          .output();
      const product = make('MatMul', [make(opType, [outer]), weight]);
      // CumSum stays float32 and reads a captured value that became float16.
      const axis = inner.addInitializer(`${name}_axis`, Tensor.from('int64', [], BigInt64Array.of(1n)));
      inner.setOutputs([make('Add', [product, make('CumSum', [outer, axis])])]);
      return inner;
    };
    const attributes = {
      then_branch: attribute.graph(branch('yes', 'Tanh')),
      else_branch: attribute.graph(branch('no', 'Relu')),
    };
    const choice = graph.addNode({ opType: 'If', inputs: [condition], attributes }, [
      { name: 'y', type: tensorType('float32', [2, 32]) },
    ]);
    graph.setOutputs([choice.output()]);
    const model = new Model({ graph });
    const { model: small } = await apply(model, float16Compute());
    expect(operators(small)['Cast']).toBeGreaterThan(2);
    for (const value of [0, 1]) {
      const inputs = { ...feeds, condition: Tensor.from('bool', [], Uint8Array.of(value)) };
      expect(sqnr(await runModel(model, inputs), await runModel(small, inputs))).toBeGreaterThan(50);
    }
  });

  it('leaves unknown operators and their neighbours sound', async () => {
    const n = net();
    const x = n.input('x', [2, 32]);
    const strange = n.graph.addNode({ opType: 'Strange', domain: 'example', inputs: [n.add('Relu', [x])] });
    const model = n.model(n.add('Tanh', [strange.output()]));
    model.opsetImports.set('example', 1);
    const { model: small, report } = await apply(model, float16Compute());
    expect(report.skipped.map(({ code }) => code)).toEqual([
      'ranges-not-measured',
      'unknown-operator',
      'unknown-type',
    ]);
    const node = [...small.graph.nodes()].find(({ opType }) => opType === 'Strange');
    expect(node?.input(0)?.dtype).toBe('float32');
  });
});

import { arrayDataset, GraphBuilder, type Model, modelCost, optimize, Tensor, type Value } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { mobileNetV2, resnet20, transformerEncoder } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { depthPruning, dropBlocks, lowRank, residualBlocks, sparsify } from '../src/index.ts';
import { drift, nodeBackend, normal, runModel, tokens } from './support.ts';

const backend = await nodeBackend();

/** Sets all weights of one node to zero, in place. */
function zero(model: Model, name: string): void {
  const node = [...model.graph.nodes()].find((one) => one.name === name);
  for (const value of node?.inputs ?? []) {
    const shape = value?.initializer?.shape;
    if (value !== null && shape !== undefined) model.graph.setInitializer(value, normal(shape, 1, 0));
  }
}

describe('residualBlocks', () => {
  it('finds the blocks whose shortcut is the identity', async () => {
    const blocks = await residualBlocks(await resnet20());
    // Nine blocks, two of them with a projection.
    expect(blocks.length).toBe(7);
    const [first] = blocks;
    expect(first?.nodes.filter((name) => name.startsWith('conv'))).toEqual(['conv2', 'conv3']);
    // Two kernels of 16x16x3x3 and two normalizations of 16.
    expect(first?.cost).toEqual({
      parameters: 2 * (16 * 16 * 9 + 4 * 16),
      bytes: 8 * (16 * 16 * 9 + 4 * 16),
      macs: 2 * 32 * 32 * 16 * 16 * 9,
    });
    expect((await residualBlocks(await mobileNetV2({ image: [3, 32, 32] }))).length).toBe(10);
    expect((await residualBlocks(await transformerEncoder({ depth: 2 }))).length).toBe(4);
    expect(
      (await residualBlocks(await transformerEncoder({ depth: 2 }), { protect: ['linear1'] })).length,
    ).toBe(3);
  });
});

describe('residual blocks beside what a model gives', () => {
  it('keep the sum that is an output, and what an output needs of a branch', async () => {
    const build = async (output: 'sum' | 'inner' | 'none'): Promise<Model> => {
      const b = new GraphBuilder('outputs');
      const x = b.op.Relu([b.input('x', 'float32', ['N', 4])]);
      const inner = b.op.Relu(
        [b.op.MatMul([x, normal([4, 8], 1)], {}, { name: 'up' })],
        {},
        { name: 'relu' },
      );
      const sum = b.op.Add(
        [x, b.op.MatMul([inner, normal([8, 4], 2)], {}, { name: 'down' })],
        {},
        { name: 'sum' },
      );
      b.output('y', b.op.MatMul([sum, normal([4, 2], 3)]));
      if (output === 'sum') b.output('sum', sum);
      if (output === 'inner') b.output('inner', inner);
      return b.build();
    };
    expect(await residualBlocks(await build('sum'))).toEqual([]);
    const [whole] = await residualBlocks(await build('none'));
    expect(whole?.nodes).toEqual(['up', 'relu', 'down', 'sum']);
    const model = await build('inner');
    const [part] = await residualBlocks(model);
    expect(part?.nodes).toEqual(['down', 'sum']);
    await dropBlocks(model, [part as never]);
    const outputs = await runModel(model, { x: normal([2, 4], 5) });
    expect(outputs['inner']?.shape).toEqual([2, 8]);
  });
});

describe('dropBlocks', () => {
  it('changes nothing where a block added zero', async () => {
    const model = await transformerEncoder({ vocabulary: 20, length: 6, depth: 3, width: 16, heads: 2 });
    const feeds = { tokens: tokens([2, 6], 1, 20) };
    const blocks = await residualBlocks(model);
    // The last layer of the attention of block 1, and the feed-forward part of block 2.
    for (const node of [...model.graph.nodes()]) {
      if (['attention2.output', 'linear4'].includes(node.name)) zero(model, node.name);
    }
    for (const name of ['attention2.output.bias', 'linear4.bias']) {
      const value = model.graph.value(name);
      if (value !== undefined) model.graph.setInitializer(value, normal([16], 1, 0));
    }
    const expected = await runModel(model, feeds);
    const smaller = model.clone();
    await dropBlocks(smaller, [blocks[2] as never, blocks[3] as never]);
    expect(drift(expected, await runModel(smaller, feeds))).toBeLessThan(1e-5);
    expect(modelCost(smaller).parameters).toBe(
      modelCost(model).parameters - (blocks[2]?.cost.parameters ?? 0) - (blocks[3]?.cost.parameters ?? 0),
    );
  });

  it('drops neighbours together, and refuses blocks that are not there', async () => {
    const model = await resnet20({ image: [3, 16, 16] });
    const blocks = await residualBlocks(model);
    await dropBlocks(model, blocks.slice(0, 3));
    const outputs = await runModel(model, { x: normal([2, 3, 16, 16], 1) });
    expect(outputs['logits']?.shape).toEqual([2, 10]);
    await expect(dropBlocks(model, blocks.slice(0, 1))).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
  });
});

describe('depthPruning', () => {
  const encoder = (): Promise<Model> =>
    transformerEncoder({ vocabulary: 20, length: 6, depth: 3, width: 16, heads: 2 });
  const data = arrayDataset({ inputs: { tokens: tokens([8, 6], 2, 20) } });

  it('drops the blocks that change nothing first, and then those that change least', async () => {
    const model = await encoder();
    const blocks = await residualBlocks(model);
    for (const node of [...model.graph.nodes()]) if (node.name === 'linear4') zero(model, node.name);
    const { model: smaller, report } = await optimize(model, [depthPruning({ blocks: 1 })], {
      backend,
      data,
    });
    const [step] = report.steps;
    expect(step?.tables?.['blocks']?.rows).toEqual([
      [blocks[3]?.name, expect.closeTo(0, 5), expect.any(Number)],
    ]);
    const feeds = { tokens: tokens([2, 6], 1, 20) };
    expect(drift(await runModel(model, feeds), await runModel(smaller, feeds))).toBeLessThan(1e-5);
    expect(step?.metrics['parameters after']?.value).toBe(modelCost(smaller).parameters);
  });

  it('looks at files that do not say what shapes values have, and counts what they cost', async () => {
    const original = await encoder();
    const model = await readOnnx(await writeOnnx(original));
    for (const node of model.graph.nodes())
      for (const output of node.outputs) if (!output.isGraphOutput) output.type = undefined;
    const { report } = await optimize(model, [depthPruning({ blocks: 1 })], { backend, data });
    const [step] = report.steps;
    expect(step?.tables?.['blocks']?.rows.length).toBe(1);
    expect(step?.metrics['multiplications before']?.value).toBe(modelCost(original, { dims: { N: 1 } }).macs);
    expect(step?.metrics['multiplications after']?.value).toBeLessThan(
      step?.metrics['multiplications before']?.value ?? 0,
    );
  });

  it('measures what passes a block that gets nothing but zeros', async () => {
    const b = new GraphBuilder('silent');
    const x = b.input('x', 'float32', ['N', 8]);
    const branch = (from: Value, seed: number, scale: number): Value =>
      b.op.MatMul([from, normal([8, 8], seed, scale)]);
    const low = Tensor.from('float32', [8], new Float32Array(8).fill(-1000));
    const silent = b.op.Relu([b.op.Add([branch(x, 1, 1), low])]);
    const dead = b.op.Add([silent, branch(silent, 2, 1)], {}, { name: 'dead' });
    const alive = b.op.Add([dead, branch(x, 3, 1)]);
    const last = b.op.Add([alive, branch(alive, 4, 1e-6)], {}, { name: 'hardly anything' });
    b.output('y', branch(last, 5, 1));
    const inputs = { x: normal([16, 8], 6) };
    const { report } = await optimize(await b.build(), [depthPruning({ blocks: 2 })], {
      backend,
      data: arrayDataset({ inputs }),
    });
    expect(report.steps[0]?.tables?.['blocks']?.rows.map(([block, influence]) => [block, influence])).toEqual(
      [
        ['hardly anything', expect.closeTo(0, 5)],
        ['dead', 1],
      ],
    );
  });

  it('drops as many as there are and says so, or those that are named', async () => {
    const model = await encoder();
    const [first, second] = await residualBlocks(model);
    const all = await optimize(model, [depthPruning({ blocks: 9 })], { backend, data, check: 'off' });
    expect(await residualBlocks(all.model)).toEqual([]);
    expect(all.report.steps[0]?.skipped).toEqual([
      { target: 'blocks', code: 'no-more-blocks', reason: 'there are 6, and 9 were asked for' },
    ]);
    const named = await optimize(model, [depthPruning({ blocks: [second?.name ?? ''] })]);
    const names = (await residualBlocks(named.model)).map(({ name }) => name);
    expect(names).toContain(first?.name);
    expect(names).not.toContain(second?.name);
  });

  it('keeps blocks of which a value or a weight is protected, and refuses to protect what is not there', async () => {
    const model = await encoder();
    const all = (await residualBlocks(model)).map(({ name }) => name);
    const linear = [...model.graph.nodes()].find(({ name }) => name === 'linear3');
    const kept = [linear?.output().name ?? '', linear?.input(1)?.name ?? ''];
    for (const name of kept) {
      const left = (await residualBlocks(model, { protect: [name] })).map((block) => block.name);
      expect(all.filter((block) => !left.includes(block))).toEqual([all[3]]);
    }
    const { model: smaller } = await optimize(model, [depthPruning({ blocks: 9, protect: kept })], {
      backend,
      data,
      check: 'off',
    });
    expect((await residualBlocks(smaller)).map(({ name }) => name)).toEqual([all[3]]);
    for (const step of [
      depthPruning({ blocks: 1, protect: ['linear99'] }),
      sparsify({ protect: ['linear99'] }),
      lowRank({ protect: ['linear99'] }),
    ])
      await expect(optimize(model, [step], { backend, data })).rejects.toMatchObject({
        cause: { code: 'OPTIONS_INVALID' },
      });
  });

  it('refuses blocks that are not there, and to look without data', async () => {
    const model = await encoder();
    await expect(optimize(model, [depthPruning({ blocks: ['none'] })])).rejects.toMatchObject({
      cause: { code: 'OPTIONS_INVALID' },
    });
    await expect(optimize(model, [depthPruning({ blocks: 1 })])).rejects.toMatchObject({
      cause: { code: 'PASS_NEEDS' },
    });
  });
});

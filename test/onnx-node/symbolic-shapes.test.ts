import { evaluateDim, inferShapes, type Model, type Tensor, tensorType } from '@lithe/core';
import { readOnnx, readValueProto } from '@lithe/onnx';
import { expect, it } from 'vitest';
import { type NodeCase, readArchive } from './archive.ts';

/** Inputs of these dtypes, and short ones, may carry sizes: they become constants. */
const carriesSizes = (tensor: Tensor): boolean =>
  tensor.dtype === 'int64' || tensor.dtype === 'int32' || tensor.dtype === 'bool' || tensor.shape.length < 2;

/** Puts a symbol in place of every size of an input; equal sizes get equal symbols, so that operands still fit. */
function withSymbols(model: Model, item: NodeCase, symbols: Record<string, number>): void {
  const { graph } = model;
  const data = item.runs[0]?.inputs ?? [];
  const kept = graph.inputs.filter((input, index) => {
    const bytes = data[index];
    if (bytes === undefined || input.type?.kind !== 'tensor') return true;
    const tensor = readValueProto(bytes, 'tensor') as Tensor;
    if (carriesSizes(tensor) && tensor.dtype !== 'string' && tensor.dtype === input.dtype) {
      graph.setInitializer(input, tensor);
      return false;
    }
    const shape = tensor.shape.map((size) => {
      if (size === 1) return size;
      symbols[`s${size}`] = size;
      return `s${size}`;
    });
    input.type = tensorType(input.dtype, shape);
    return true;
  });
  graph.setInputs(kept);
  for (const node of graph.nodesDeep()) for (const output of node.outputs) output.type = undefined;
}

it('expressions over symbols come out as the sizes that were expected', async () => {
  const items = ['onnx-node-tests-1.12.tgz', 'onnx-node-tests-1.16-additions.tgz'].flatMap((file) =>
    readArchive(new URL(file, import.meta.url)),
  );
  const wrong: string[] = [];
  let evaluated = 0;
  let symbolic = 0;
  for (const item of items) {
    const model = await readOnnx(item.model, { name: item.name });
    const symbols: Record<string, number> = {};
    withSymbols(model, item, symbols);
    await inferShapes(model);
    model.graph.outputs.forEach((output, index) => {
      const bytes = item.runs[0]?.outputs[index];
      if (bytes === undefined || output.type?.kind !== 'tensor' || output.type.shape === undefined) return;
      const expected = (readValueProto(bytes, 'tensor') as Tensor).shape;
      const sizes = output.type.shape.map((dim) => evaluateDim(dim, symbols));
      const fits =
        sizes.length === expected.length &&
        sizes.every((size, axis) => (size ?? expected[axis]) === expected[axis]);
      if (!fits) wrong.push(`${item.name}: [${output.type.shape.join(', ')}] for [${expected.join(', ')}]`);
      if (sizes.includes(undefined)) return;
      evaluated++;
      if (output.type.shape.some((dim) => typeof dim === 'string')) symbolic++;
    });
  }
  expect(wrong).toEqual([]);
  // Floors, so that no case falls away unseen.
  expect(evaluated).toBeGreaterThan(1150);
  expect(symbolic).toBeGreaterThan(700);
});

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { inferShapes } from '../infer/infer-shapes.ts';
import { type Attribute, attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { tensorType } from '../ir/types.ts';
import type { DType } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';

interface Operand {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data?: readonly number[];
}
interface Case {
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  readonly attributes: Readonly<Record<string, number | string | readonly number[]>>;
  readonly inputs: readonly (Operand | null)[];
  readonly outputs: readonly Operand[];
}

// What onnxruntime computed for random inputs; made once by running it on each of these nodes.
const { cases } = JSON.parse(
  readFileSync(new URL('./fixtures/onnxruntime-shapes.json', import.meta.url), 'utf8'),
) as { readonly cases: readonly Case[] };

function attributeOf(value: number | string | readonly number[]): Attribute {
  if (typeof value === 'string') return attribute.string(value);
  if (typeof value !== 'number') return attribute.ints(value);
  return Number.isInteger(value) ? attribute.int(value) : attribute.float(value);
}

describe('operators of com.microsoft', () => {
  test.each(cases.map((item) => [item.name, item] as const))(
    '%s gives the shapes that onnxruntime gives',
    async (_, item) => {
      const graph = new Graph();
      const inputs = item.inputs.map((operand, index) => {
        if (operand === null) return null;
        const { dtype, shape, data } = operand;
        if (data === undefined) return graph.addInput(`in${index}`, tensorType(dtype, shape));
        const tensor =
          dtype === 'int64'
            ? Tensor.from('int64', shape, BigInt64Array.from(data, BigInt))
            : Tensor.from('int32', shape, Int32Array.from(data));
        return graph.addInitializer(`in${index}`, tensor);
      });
      const attributes = Object.entries(item.attributes).map(
        ([name, value]) => [name, attributeOf(value)] as const,
      );
      const node = graph.addNode(
        { opType: item.op, domain: item.domain, inputs, attributes: Object.fromEntries(attributes) },
        item.outputs.length,
      );
      graph.setOutputs(node.outputs);
      const report = await inferShapes(new Model({ graph }));
      expect(report.unknown).toEqual([]);
      expect(node.outputs.map((value) => value.type)).toEqual(
        item.outputs.map(({ dtype, shape }) => tensorType(dtype, shape)),
      );
    },
  );
});

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import type { AttributeSpec } from '../op/attributes.ts';
import type { AnyOpDef, ParameterSpec } from '../op/op-def.ts';
import { attributesOf } from '../op/op-def.ts';
import { standardOpDefs, standardOps } from './standard-ops.ts';

interface AttributeFacts {
  readonly kind: string;
  readonly required?: boolean;
  readonly default?: unknown;
}
interface OperatorFacts {
  readonly domain?: string;
  readonly since: number;
  readonly inputs: readonly ParameterSpec[];
  readonly outputs: readonly ParameterSpec[];
  readonly attributes: Readonly<Record<string, AttributeFacts>>;
}

// Facts of the operator schemas of ONNX at opset 21, taken from its schema registry (Apache-2.0, the ONNX project).
const standard = factsOf('onnx-opset21-schemas');
// The same of the operators that onnxruntime adds, from its registry (MIT, Microsoft).
const runtime = factsOf('onnxruntime-schemas');

function factsOf(name: string): Readonly<Record<string, OperatorFacts>> {
  const url = new URL(`./fixtures/${name}.json`, import.meta.url);
  return (JSON.parse(readFileSync(url, 'utf8')) as { operators: Record<string, OperatorFacts> }).operators;
}

const sorted = (parameters: readonly ParameterSpec[]): unknown =>
  parameters.map((item) => ({ ...item, dtypes: [...item.dtypes].sort() }));

/** A default as ONNX notes it: flags are 0 and 1, floats have single precision. */
function noted(spec: AttributeSpec<unknown>): unknown {
  if (spec.required || spec.default === undefined) return undefined;
  if (typeof spec.default === 'boolean') return Number(spec.default);
  return typeof spec.default === 'number' ? Math.fround(spec.default) : spec.default;
}

/** Compares a definition with the facts. */
function agrees(type: string, expected: OperatorFacts): void {
  const op = standardOps.get(expected.domain ?? '', type) as AnyOpDef;
  expect(op.since).toBe(expected.since);
  expect(sorted(op.inputs)).toEqual(sorted(expected.inputs));
  expect(sorted(op.outputs)).toEqual(sorted(expected.outputs));
  const attributes = Object.entries(op.attributes).map(([name, spec]) => [
    name,
    { kind: name === 'sparse_value' ? 'sparse' : spec.kind, required: spec.required, default: noted(spec) },
  ]);
  const wanted = Object.entries(expected.attributes).map(([name, item]) => [
    name,
    {
      kind: item.kind,
      required: item.required ?? false,
      default: typeof item.default === 'number' ? Math.fround(item.default) : item.default,
    },
  ]);
  expect(Object.fromEntries(attributes)).toEqual(Object.fromEntries(wanted));
}

describe('standard operators', () => {
  test('are all operators of opset 21 that are not deprecated', () => {
    expect(Object.keys(standardOpDefs).sort()).toEqual(Object.keys(standard).sort());
  });

  test.each(Object.entries(standard))('%s has the parameters and attributes of the specification', agrees);

  test('of onnxruntime are those that its registry has', () => {
    const own = [...standardOps]
      .filter((op) => op.domain !== '' || !(op.type in standard))
      .map((op) => op.type);
    expect(own.sort()).toEqual(Object.keys(runtime).sort());
  });

  test.each(Object.entries(runtime))(
    '%s has the parameters and attributes that onnxruntime registers',
    agrees,
  );

  test('read their attributes with the types of the table', () => {
    const graph = new Graph();
    const node = graph.addNode({
      opType: 'Conv',
      inputs: [graph.addInput('x'), graph.addInput('w')],
      attributes: { strides: attribute.ints([2, 2]) },
    });
    const { strides, group, auto_pad: padding } = attributesOf(node, standardOpDefs.Conv);
    const typed: readonly number[] | undefined = strides;
    const choice: 'NOTSET' | 'SAME_UPPER' | 'SAME_LOWER' | 'VALID' = padding;
    expect([typed, group, choice]).toEqual([[2, 2], 1, 'NOTSET']);
  });

  test('random operators are not deterministic', () => {
    const random = [...standardOps]
      .filter((op) => op.domain === '' && !op.deterministic)
      .map((op) => op.type);
    expect(random.sort()).toEqual([
      'Bernoulli',
      'Dropout',
      'Multinomial',
      'RandomNormal',
      'RandomNormalLike',
      'RandomUniform',
      'RandomUniformLike',
    ]);
  });
});

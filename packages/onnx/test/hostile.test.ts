import { type ErrorCode, isLitheError } from '@lithe/core';
import { readOnnx, readTensorProto, writeOnnx } from '@lithe/onnx';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { around, floatBytes, floats, type GraphInit, modelBytes, type NodeInit } from './build.ts';
import { realModels } from './models.ts';

const failure = (code: ErrorCode) => expect.toSatisfy((error: unknown) => isLitheError(error, code));
const relu = (input: string, output: string): NodeInit => ({
  opType: 'Relu',
  input: [input],
  output: [output],
});
const weight = (fields: object): GraphInit => ({
  ...around({ opType: 'Add', input: ['x', 'w'], output: ['y'] }),
  initializer: [{ name: 'w', dataType: 1, ...fields }],
});

/** A graph in a graph in a graph …, as attributes of `If` nodes. */
function nested(depth: number): GraphInit {
  let graph: GraphInit = { name: 'leaf' };
  for (let level = 0; level < depth; level++) {
    graph = {
      name: 'g',
      node: [
        { opType: 'If', output: [`o${level}`], attribute: [{ name: 'then_branch', type: 5, g: graph }] },
      ],
    };
  }
  return graph;
}

const broken: readonly (readonly [what: string, code: ErrorCode, graph: GraphInit])[] = [
  ['a cycle', 'MODEL_INVALID', around(relu('b', 'a'), relu('a', 'b'), relu('x', 'y'))],
  ['a node that reads itself', 'MODEL_INVALID', around(relu('y', 'y'))],
  ['a value made twice', 'MODEL_INVALID', around(relu('x', 'y'), relu('x', 'y'))],
  ['a node that makes the input', 'MODEL_INVALID', around(relu('x', 'x'), relu('x', 'y'))],
  ['a value that nothing makes', 'MODEL_INVALID', around(relu('z', 'y'))],
  ['an output that nothing makes', 'MODEL_INVALID', around(relu('x', 'z'))],
  ['a node without operator', 'MODEL_INVALID', around({ input: ['x'], output: ['y'] })],
  [
    'an attribute given twice',
    'MODEL_INVALID',
    around({
      ...relu('x', 'y'),
      attribute: [
        { name: 'a', type: 2 },
        { name: 'a', type: 2 },
      ],
    }),
  ],
  [
    'an attribute without its tensor',
    'MODEL_INVALID',
    around({ opType: 'Constant', output: ['y'], attribute: [{ name: 'value', type: 4 }] }),
  ],
  [
    'two inputs of one name',
    'MODEL_INVALID',
    { ...around(relu('x', 'y')), input: [floats('x', 1), floats('x', 1)] },
  ],
  [
    'two weights of one name',
    'MODEL_INVALID',
    {
      ...weight({ dims: [1n], rawData: floatBytes(1) }),
      initializer: [1, 2].map(() => ({ name: 'w', dataType: 1, dims: [1n], rawData: floatBytes(1) })),
    },
  ],
  ['too little data', 'TENSOR_INVALID', weight({ dims: [3n], rawData: floatBytes(1, 2) })],
  ['too much data', 'TENSOR_INVALID', weight({ dims: [1n], floatData: [1, 2] })],
  ['no data', 'TENSOR_INVALID', weight({ dims: [1n << 36n] })],
  ['data given twice', 'TENSOR_INVALID', weight({ dims: [1n], floatData: [1], rawData: floatBytes(1) })],
  ['a negative dim', 'TENSOR_INVALID', weight({ dims: [-1n], rawData: floatBytes(1) })],
  ['an absurd dim', 'LIMIT_EXCEEDED', weight({ dims: [1n << 62n], rawData: floatBytes(1) })],
  [
    'dims that multiply to an absurd size',
    'LIMIT_EXCEEDED',
    weight({ dims: [1n << 21n, 1n << 21n], rawData: floatBytes(1) }),
  ],
  [
    'dims that overflow',
    'LIMIT_EXCEEDED',
    weight({ dims: [0n, ...Array.from({ length: 40 }, () => 1n << 40n)] }),
  ],
  [
    'too many dims',
    'LIMIT_EXCEEDED',
    weight({ dims: Array.from({ length: 65 }, () => 1n), rawData: floatBytes(1) }),
  ],
  ['a segment', 'TENSOR_INVALID', weight({ dims: [1n], rawData: floatBytes(1), segment: { begin: 0n } })],
  ['no element type', 'TENSOR_INVALID', weight({ dims: [1n], dataType: 0, rawData: floatBytes(1) })],
  ['a number that its dtype lacks', 'TENSOR_INVALID', weight({ dims: [1n], dataType: 3, int32Data: [200] })],
  ['texts as raw bytes', 'TENSOR_INVALID', weight({ dims: [1n], dataType: 8, rawData: floatBytes(1) })],
  ['graphs nested too deep', 'LIMIT_EXCEEDED', nested(40)],
];

describe('hostile models', () => {
  it.each(broken)('end in a typed error: %s', async (_, code, graph) => {
    await expect(readOnnx(modelBytes(graph))).rejects.toEqual(failure(code));
  });

  it('end in a typed error: no graph, two opsets, no opset', async () => {
    const graph = around(relu('x', 'y'));
    const twice = modelBytes(graph, 21, {
      opsetImport: [{ version: 21n }, { domain: 'ai.onnx', version: 20n }],
    });
    await expect(readOnnx(twice)).rejects.toEqual(failure('MODEL_INVALID'));
    await expect(readOnnx(modelBytes(graph, 21, { opsetImport: [] }))).rejects.toEqual(
      failure('MODEL_INVALID'),
    );
    await expect(readOnnx(new Uint8Array(0))).rejects.toEqual(failure('MODEL_INVALID'));
  });

  it('do not pass a limit that was lowered', async () => {
    const bytes = modelBytes(around(relu('x', 'a'), relu('a', 'y')));
    for (const limits of [
      { maxNodes: 1 },
      { maxMessages: 3 },
      { maxListItems: 2 },
      { maxFileBytes: 10 },
      { maxDepth: 2 },
    ]) {
      await expect(readOnnx(bytes, { limits })).rejects.toEqual(failure('LIMIT_EXCEEDED'));
    }
  });

  it('sorts nodes that are out of order, and keeps the order of the rest', async () => {
    const model = await readOnnx(
      modelBytes(around(relu('b', 'y'), relu('x', 'a'), relu('a', 'b'), relu('x', 'c'))),
    );
    expect([...model.graph.nodes()].map((node) => node.output().name)).toEqual(['a', 'b', 'y', 'c']);
  });

  it('never show a raw error when bytes of real models are changed or cut off', {
    timeout: 300_000,
  }, async () => {
    for (const { load } of realModels.filter(({ name }) => !/rec_infer|op18|half/.test(name))) {
      const bytes = await load();
      const structure = structureOf(bytes);
      const change = fc.record({ at: fc.nat(structure.length - 1), value: fc.nat(255) });
      const edited = fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
        const copy = bytes.slice();
        for (const { at, value } of changes) copy[structure[at] as number] = value;
        return copy;
      });
      const cut = fc.nat(bytes.length - 1).map((length) => bytes.subarray(0, length));
      await fc.assert(
        fc.asyncProperty(fc.oneof({ arbitrary: edited, weight: 3 }, { arbitrary: cut, weight: 1 }), survives),
        { seed: 7, numRuns: 40 },
      );
    }
  });

  it('never show a raw error for any structure', { timeout: 120_000 }, async () => {
    const name = fc.constantFrom('', 'x', 'y', 'a', 'b', '__proto__', 'constructor');
    const opType = fc.constantFrom(
      'Clip',
      'Softmax',
      'Resize',
      'Pad',
      'Slice',
      'If',
      'Split',
      'GroupNormalization',
      'Upsample',
      'constructor',
      'GridSample',
      'Add',
    );
    const int = fc.oneof(
      fc.bigInt({ min: -5n, max: 5n }),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    );
    const attribute = fc.record({
      name: fc.constantFrom(
        'axis',
        'axes',
        'mode',
        'scales',
        'pads',
        'starts',
        'ends',
        'num_groups',
        'min',
        'broadcast',
        'to',
        'is_test',
      ),
      type: fc.constantFrom(1, 2, 3, 4, 6, 7, 8, 13) as fc.Arbitrary<1>,
      i: int,
      f: fc.float(),
      ints: fc.array(int, { maxLength: 3 }),
      floats: fc.array(fc.float(), { maxLength: 3 }),
      s: fc.constantFrom('constructor', 'nearest', 'bilinear').map((text) => new TextEncoder().encode(text)),
    });
    const node = fc.record({
      opType,
      input: fc.array(name, { maxLength: 4 }),
      output: fc.array(name, { maxLength: 3 }),
      attribute: fc.array(attribute, { maxLength: 3 }),
    });
    const tensor = fc.record({
      name,
      dataType: fc.nat(30),
      dims: fc.array(int, { maxLength: 3 }),
      int64Data: fc.array(int, { maxLength: 4 }),
      floatData: fc.array(fc.float(), { maxLength: 4 }),
    });
    const graph = fc.record({
      input: fc.array(
        name.map((one) => floats(one, 2, 1)),
        { maxLength: 2 },
      ),
      output: fc.array(
        name.map((one) => floats(one, 2)),
        { maxLength: 2 },
      ),
      initializer: fc.array(tensor, { maxLength: 2 }),
      node: fc.array(node, { maxLength: 5 }),
    });
    const bytes = fc
      .tuple(graph, fc.integer({ min: 1, max: 30 }))
      .map(([init, opset]) => modelBytes(init as GraphInit, opset));
    await fc.assert(fc.asyncProperty(bytes, survives), { seed: 11, numRuns: 1500 });
  });

  it('never show a raw error for any bytes', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), survives), { seed: 3, numRuns: 500 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          readTensorProto(bytes);
        } catch (error) {
          if (!isLitheError(error)) throw error;
        }
      }),
      { seed: 3, numRuns: 500 },
    );
  });
});

/** Reading and, when that works, writing ends well or in a typed error. */
async function survives(bytes: Uint8Array): Promise<void> {
  try {
    const model = await readOnnx(bytes);
    model.producerName = 'changed';
    await writeOnnx(model);
  } catch (error) {
    if (!isLitheError(error)) throw error;
  }
}

/** Positions of a protobuf that are not inside long byte fields: tags, lengths, numbers and short texts. */
function structureOf(bytes: Uint8Array): readonly number[] {
  const positions: number[] = [];
  let run = 0;
  // Weights are long runs without text; the structure is what lies around readable names.
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] as number;
    run = byte >= 0x20 && byte < 0x7f ? run + 1 : 0;
    if (run === 4)
      for (let at = Math.max(0, index - 16); at < Math.min(bytes.length, index + 24); at++)
        positions.push(at);
  }
  return positions;
}

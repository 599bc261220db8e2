import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Tensor } from '@lithe/core';
import {
  readOnnx,
  readTensorProto,
  readValueProto,
  type ValueData,
  writeOnnx,
  writeTensorProto,
  writeValueProto,
} from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { type ModelProto, ModelProtoSchema, TensorProtoSchema } from '../src/proto/onnx_pb.ts';
import { around, floatBytes, floats, type ModelInit, modelBytes } from './build.ts';

const props = (value: string): { key: string; value: string }[] => [{ key: 'k', value }];
const unknown = (no: number): { no: number; wireType: number; data: Uint8Array }[] => [
  { no, wireType: 2, data: new Uint8Array([1, 65]) },
];

/** Reads a model, changes it without consequence, and writes it at its own opset. */
async function rewritten(bytes: Uint8Array): Promise<ModelProto> {
  const model = await readOnnx(bytes);
  model.docString = 'changed';
  return fromBinary(ModelProtoSchema, await writeOnnx(model, { opset: model.origin?.opset }));
}

describe('what the IR has no place for', () => {
  const graph = {
    ...around(
      {
        opType: 'Constant',
        output: ['s'],
        attribute: [
          {
            name: 'sparse_value',
            type: 11,
            sparseTensor: {
              values: { dataType: 1, dims: [1n], rawData: floatBytes(1) },
              indices: { dataType: 7, dims: [1n], int64Data: [2n] },
              dims: [4n],
            },
          },
        ],
      },
      {
        opType: 'Add',
        input: ['x', 'w'],
        output: ['y'],
        docString: 'node',
        metadataProps: props('node'),
        deviceConfigurations: [{ configurationId: 'gpu' }],
        $unknown: unknown(99),
      },
    ),
    docString: 'graph',
    metadataProps: props('graph'),
    $unknown: unknown(98),
    initializer: [
      {
        name: 'w',
        dataType: 1,
        dims: [2n, 2n],
        rawData: floatBytes(1, 2, 3, 4),
        docString: 'weight',
        metadataProps: props('weight'),
        $unknown: unknown(97),
      },
    ],
    sparseInitializer: [
      {
        values: { name: 'p', dataType: 1, dims: [1n], rawData: floatBytes(1) },
        indices: { dataType: 7, dims: [1n], int64Data: [2n] },
        dims: [4n],
      },
    ],
    quantizationAnnotation: [
      { tensorName: 'w', quantParameterTensorNames: [{ key: 'SCALE_TENSOR', value: 'x' }] },
    ],
    valueInfo: [{ ...floats('s', 4), docString: 'value', metadataProps: props('value') }],
  };
  const more: ModelInit = {
    producerName: 'p',
    producerVersion: '1',
    domain: 'd',
    modelVersion: 7n,
    metadataProps: props('model'),
    configuration: [{ name: 'gpu', numDevices: 2 }],
    trainingInfo: [{ algorithm: { name: 'train' } }],
    $unknown: unknown(90),
  };

  it('survives reading and writing', async () => {
    const bytes = modelBytes(graph, 21, more);
    const before = fromBinary(ModelProtoSchema, bytes);
    const after = await rewritten(bytes);
    for (const key of [
      'producerName',
      'producerVersion',
      'domain',
      'modelVersion',
      'metadataProps',
      'configuration',
      'trainingInfo',
      '$unknown',
      'irVersion',
    ] as const) {
      expect(after[key], key).toEqual(before[key]);
    }
    for (const key of [
      'docString',
      'metadataProps',
      '$unknown',
      'quantizationAnnotation',
      'valueInfo',
      'input',
      'output',
      'initializer',
    ] as const) {
      expect(after.graph?.[key], key).toEqual(before.graph?.[key]);
    }
    expect(after.graph?.node.slice(-2)).toEqual(before.graph?.node);
    // A sparse initializer comes back as a Constant that holds it.
    expect(after.graph?.node[0]?.attribute[0]?.sparseTensor).toEqual(before.graph?.sparseInitializer[0]);
  });

  it('survives in types, and in attributes of kinds to come', async () => {
    const type = {
      denotation: 'IMAGE',
      value: {
        case: 'tensorType',
        value: {
          elemType: 1,
          shape: { dim: [{ denotation: 'DATA_BATCH', value: { case: 'dimParam', value: 'N' } }] },
        },
      },
    };
    const map = {
      value: {
        case: 'mapType',
        value: { keyType: 7, valueType: { value: { case: 'tensorType', value: { elemType: 23 } } } },
      },
    };
    const future = {
      name: 'z',
      $unknown: [{ no: 20, wireType: 0, data: new Uint8Array([77]) }, ...unknown(40)],
    };
    const init = {
      name: 'g',
      input: [
        { name: 'x', type },
        { name: 'm', type: map },
      ],
      output: [{ name: 'y', type }],
      node: [
        {
          opType: 'Foo',
          domain: 'acme',
          input: ['x', '', 'm'],
          output: ['y', ''],
          attribute: [
            future,
            { name: 'b', type: 3, s: new Uint8Array([255, 0]) },
            { name: 'bs', type: 8, strings: [new Uint8Array([254])] },
          ],
        },
      ],
    };
    const bytes = modelBytes(init, 21, { opsetImport: [{ domain: 'acme', version: 3n }] });
    const after = await rewritten(bytes);
    expect(after.graph).toEqual(fromBinary(ModelProtoSchema, bytes).graph);
    expect(after.opsetImport.map(({ domain, version }) => [domain, version])).toEqual([['acme', 3n]]);
  });

  it('survives in functions and subgraphs', async () => {
    const branch = (name: string): object => ({
      name,
      node: [{ opType: 'Relu', input: ['x'], output: [`${name}_out`] }],
      output: [floats(`${name}_out`, 2, 2)],
      initializer: [{ name: `${name}_w`, dataType: 1, dims: [1n], rawData: floatBytes(4) }],
    });
    const init = {
      ...around(
        {
          opType: 'Leaky',
          domain: 'local',
          input: ['x'],
          output: ['f'],
          attribute: [{ name: 'slope', type: 1, f: 0.5 }],
        },
        {
          opType: 'If',
          input: ['c'],
          output: ['y'],
          attribute: [
            { name: 'then_branch', type: 5, g: branch('then') },
            { name: 'else_branch', type: 5, g: branch('else') },
          ],
        },
      ),
      initializer: [{ name: 'c', dataType: 9, dims: [], int32Data: [1] }],
    };
    const functions = [
      {
        name: 'Leaky',
        domain: 'local',
        input: ['i'],
        output: ['o'],
        attribute: ['slope'],
        opsetImport: [{ domain: '', version: 21n }],
        node: [
          {
            opType: 'LeakyRelu',
            input: ['i'],
            output: ['o'],
            attribute: [{ name: 'alpha', type: 1, refAttrName: 'slope' }],
          },
        ],
        metadataProps: props('function'),
      },
    ];
    const bytes = modelBytes(init, 21, {
      functions,
      opsetImport: [
        { domain: '', version: 21n },
        { domain: 'local', version: 1n },
      ],
    });
    const after = await rewritten(bytes);
    const before = fromBinary(ModelProtoSchema, bytes);
    expect(after.functions).toEqual(before.functions);
    expect(after.graph?.node).toEqual(before.graph?.node);
  });
});

describe('tensors', () => {
  const encodings: readonly (readonly [
    dtype: string,
    init: object,
    expected: readonly (number | bigint | string)[],
  ])[] = [
    ['float32', { dataType: 1, floatData: [1.5, -2] }, [1.5, -2]],
    ['float64', { dataType: 11, doubleData: [1.5, -2] }, [1.5, -2]],
    ['int64', { dataType: 7, int64Data: [-1n, 2n ** 62n] }, [-1n, 2n ** 62n]],
    ['uint64', { dataType: 13, uint64Data: [1n, 2n ** 64n - 1n] }, [1n, 2n ** 64n - 1n]],
    ['uint32', { dataType: 12, uint64Data: [1n, 2n ** 32n - 1n] }, [1, 2 ** 32 - 1]],
    ['int8', { dataType: 3, int32Data: [-128, 127] }, [-128, 127]],
    ['uint16', { dataType: 4, int32Data: [0, 65535] }, [0, 65535]],
    ['bool', { dataType: 9, int32Data: [0, 1] }, [0, 1]],
    ['float16', { dataType: 10, int32Data: [0x3c00, 0xc000] }, [0x3c00, 0xc000]],
    ['bfloat16', { dataType: 16, int32Data: [0x3f80, 0xc000] }, [0x3f80, 0xc000]],
    ['float8e4m3fn', { dataType: 17, int32Data: [0x38, 0xc0] }, [0x38, 0xc0]],
    ['int4', { dataType: 22, dims: [3n], int32Data: [0x21, 0x0f] }, [0x21, 0x0f]],
    ['complex64', { dataType: 14, floatData: [1, 2, 3, 4] }, [1, 2, 3, 4]],
    [
      'string',
      { dataType: 8, stringData: ['é', ''].map((text) => new TextEncoder().encode(text)) },
      ['é', ''],
    ],
  ];
  it.each(encodings)(
    'of %s are read from their own field, and survive as raw bytes',
    async (dtype, init, expected) => {
      const bytes = toBinary(TensorProtoSchema, create(TensorProtoSchema, { dims: [2n], ...init }));
      const tensor = readTensorProto(bytes);
      expect(tensor.dtype).toBe(dtype);
      expect([...(tensor.data as Iterable<number>)]).toEqual(expected);
      const again = readTensorProto(await writeTensorProto(tensor));
      expect([again.dtype, again.shape, [...(again.data as Iterable<number>)]]).toEqual([
        tensor.dtype,
        tensor.shape,
        expected,
      ]);
    },
  );

  it('are views of the file where it holds raw bytes', async () => {
    const bytes = modelBytes({
      ...around({ opType: 'Add', input: ['x', 'w'], output: ['y'] }),
      initializer: [{ name: 'w', dataType: 1, dims: [4n], rawData: floatBytes(1, 2, 3, 4) }],
    });
    const model = await readOnnx(bytes);
    const weight = await model.graph.value('w')?.initializer?.load();
    expect(weight?.bytes.buffer).toBe(bytes.buffer);
  });

  it('survive in sequences and optionals', async () => {
    const tensor = Tensor.from('int64', [2], new BigInt64Array([4n, 5n]));
    const value: ValueData = { kind: 'optional', value: { kind: 'sequence', items: [tensor, tensor] } };
    const read = readValueProto(await writeValueProto(value, { name: 'v' }), 'optional');
    expect(
      JSON.stringify(read, (_, item) =>
        item instanceof Tensor ? [...(item.data as BigInt64Array)].map(Number) : item,
      ),
    ).toBe('{"kind":"optional","value":{"kind":"sequence","items":[[4,5],[4,5]]}}');
    expect(readValueProto(await writeValueProto({ kind: 'optional', value: null }), 'optional')).toEqual({
      kind: 'optional',
      value: null,
    });
  });
});

describe('initializers that are inputs', () => {
  const graph = {
    ...around({ opType: 'Add', input: ['x', 'w'], output: ['y'] }),
    input: [floats('x', 2, 2), floats('w', 2, 2)],
    initializer: [{ name: 'w', dataType: 1, dims: [2n, 2n], rawData: floatBytes(1, 2, 3, 4) }],
  };

  it('are constants before IR version 4, and defaults from then on', async () => {
    const old = await readOnnx(modelBytes(graph, 8, { irVersion: 3n }));
    expect(old.graph.inputs.map((value) => value.name)).toEqual(['x']);
    const later = await readOnnx(modelBytes(graph, 9, { irVersion: 4n }));
    expect(later.graph.inputs.map((value) => value.name)).toEqual(['x', 'w']);
    expect(later.graph.inputs[1]?.initializer?.shape).toEqual([2, 2]);
  });
});

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from '../src/proto/onnx_pb.ts';

/** Fields of a `GraphProto`; not typed further, because hostile ones are wanted too. */
export type GraphInit = Readonly<Record<string, unknown>>;
/** Fields of a `ModelProto`. */
export type ModelInit = Readonly<Record<string, unknown>>;
/** Fields of a `NodeProto`. */
export type NodeInit = Readonly<Record<string, unknown>>;

/** A model file around a graph. */
export function modelBytes(graph: GraphInit, opset = 21, more: ModelInit = {}): Uint8Array {
  const init = { irVersion: 10n, opsetImport: [{ domain: '', version: BigInt(opset) }], graph, ...more };
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, init as MessageInitShape<typeof ModelProtoSchema>),
  );
}

/** A float32 value of some dims. */
export function floats(
  name: string,
  ...dims: readonly (number | string)[]
): Readonly<Record<string, unknown>> {
  const dim = dims.map((size) =>
    typeof size === 'number'
      ? { value: { case: 'dimValue' as const, value: BigInt(size) } }
      : { value: { case: 'dimParam' as const, value: size } },
  );
  return { name, type: { value: { case: 'tensorType', value: { elemType: 1, shape: { dim } } } } };
}

/** A graph of nodes from `x` to `y`, both float32 of two by two. */
export function around(...node: readonly NodeInit[]): GraphInit {
  return { name: 'g', input: [floats('x', 2, 2)], output: [floats('y', 2, 2)], node: [...node] };
}

/** Raw bytes of float32 numbers. */
export function floatBytes(...values: readonly number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Float32Array(values).buffer);
}

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type GraphProtoSchema,
  ModelProtoSchema,
  type NodeProtoSchema,
  type ValueInfoProtoSchema,
} from '../src/proto/onnx_pb.ts';

/** A message as the generated code takes it. */
export type GraphInit = MessageInitShape<typeof GraphProtoSchema>;
/** A message as the generated code takes it. */
export type ModelInit = MessageInitShape<typeof ModelProtoSchema>;
/** A message as the generated code takes it. */
export type NodeInit = MessageInitShape<typeof NodeProtoSchema>;

/** A model file around a graph. */
export function modelBytes(graph: GraphInit, opset = 21, more: ModelInit = {}): Uint8Array {
  const init: ModelInit = {
    irVersion: 10n,
    opsetImport: [{ domain: '', version: BigInt(opset) }],
    graph,
    ...more,
  };
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, init));
}

/** A float32 value of some dims. */
export function floats(
  name: string,
  ...dims: readonly (number | string)[]
): MessageInitShape<typeof ValueInfoProtoSchema> {
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
export function floatBytes(...values: readonly number[]): Uint8Array {
  return new Uint8Array(new Float32Array(values).buffer);
}

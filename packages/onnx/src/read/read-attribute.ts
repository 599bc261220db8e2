import { toBinary } from '@bufbuild/protobuf';
import type { Attribute, AttributeKind, Graph, TensorSource, ValueType } from '@lithe/core';
import { attributeExtras } from '../extras.ts';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
} from '../proto/onnx_pb.ts';
import { invalidModel, type ReadContext } from './context.ts';
import { readTensor } from './read-tensor.ts';
import { readType } from './read-type.ts';
import { decodeUtf8 } from './text.ts';

/** Makes the graph of an attribute, inside the graph of its node. */
export type SubgraphReader = (proto: GraphProto) => Graph;

const kinds: Readonly<Partial<Record<number, AttributeKind>>> = {
  [AttributeProto_AttributeType.FLOAT]: 'float',
  [AttributeProto_AttributeType.INT]: 'int',
  [AttributeProto_AttributeType.STRING]: 'string',
  [AttributeProto_AttributeType.TENSOR]: 'tensor',
  [AttributeProto_AttributeType.GRAPH]: 'graph',
  [AttributeProto_AttributeType.TYPE_PROTO]: 'type',
  [AttributeProto_AttributeType.FLOATS]: 'floats',
  [AttributeProto_AttributeType.INTS]: 'ints',
  [AttributeProto_AttributeType.STRINGS]: 'strings',
  [AttributeProto_AttributeType.TENSORS]: 'tensors',
  [AttributeProto_AttributeType.GRAPHS]: 'graphs',
  [AttributeProto_AttributeType.TYPE_PROTOS]: 'types',
};

/**
 * Makes an attribute from its message. What the IR has no kind for is carried as bytes.
 *
 * @throws {LitheError} MODEL_INVALID when the message says it holds something that it does not
 */
export function readAttribute(
  proto: AttributeProto,
  readSubgraph: SubgraphReader,
  context: ReadContext,
): Attribute {
  const kind = kindOf(proto);
  const found = kind === undefined ? undefined : readKind(kind, proto, readSubgraph, context);
  const attribute = found ?? { kind: 'opaque', proto: toBinary(AttributeProtoSchema, proto) };
  const docString = proto.docString === '' ? undefined : proto.docString;
  const unknown = proto.$unknown ?? [];
  if (attribute.kind !== 'opaque' && (docString !== undefined || unknown.length > 0)) {
    attributeExtras.set(attribute, { docString, unknown });
  }
  return attribute;
}

/** The declared kind; in files older than IR version 2, that of the field which is filled. */
function kindOf(proto: AttributeProto): AttributeKind | undefined {
  if (proto.type !== AttributeProto_AttributeType.UNDEFINED) return kinds[proto.type];
  // An unknown number of the enum lands among the unknown fields.
  if (proto.$unknown !== undefined) return undefined;
  const own = (field: string): boolean => Object.hasOwn(proto, field);
  if (own('f')) return 'float';
  if (own('i')) return 'int';
  if (own('s')) return 'string';
  if (proto.t !== undefined) return 'tensor';
  if (proto.g !== undefined) return 'graph';
  if (proto.tp !== undefined) return 'type';
  if (proto.floats.length > 0) return 'floats';
  if (proto.ints.length > 0) return 'ints';
  if (proto.strings.length > 0) return 'strings';
  if (proto.tensors.length > 0) return 'tensors';
  if (proto.graphs.length > 0) return 'graphs';
  if (proto.typeProtos.length > 0) return 'types';
  return undefined;
}

function readKind(
  kind: AttributeKind,
  proto: AttributeProto,
  readSubgraph: SubgraphReader,
  context: ReadContext,
): Attribute | undefined {
  if (proto.refAttrName !== '') return { kind: 'reference', name: proto.refAttrName, of: kind };
  const missing = (): Error =>
    invalidModel(context, `Attribute "${proto.name}" says it holds a ${kind}, which is missing.`);
  switch (kind) {
    case 'int':
      return { kind, value: proto.i };
    case 'float':
      return { kind, value: proto.f };
    case 'string':
    case 'bytes': {
      const text = decodeUtf8(proto.s);
      return text === undefined ? { kind: 'bytes', value: proto.s } : { kind: 'string', value: text };
    }
    case 'ints':
      return { kind, value: proto.ints };
    case 'floats':
      return { kind, value: proto.floats };
    case 'strings': {
      const texts = all(proto.strings, decodeUtf8);
      return texts === undefined ? undefined : { kind, value: texts };
    }
    case 'tensor': {
      if (proto.t === undefined) throw missing();
      const tensor = readTensor(proto.t, context);
      return tensor === undefined ? undefined : { kind, value: tensor };
    }
    case 'tensors': {
      const tensors = all(proto.tensors, (item): TensorSource | undefined => readTensor(item, context));
      return tensors === undefined ? undefined : { kind, value: tensors };
    }
    case 'graph':
      if (proto.g === undefined) throw missing();
      return { kind, value: readSubgraph(proto.g) };
    case 'graphs':
      return { kind, value: proto.graphs.map(readSubgraph) };
    case 'type': {
      const type = readType(proto.tp, context);
      if (type === undefined) throw missing();
      return { kind, value: type };
    }
    case 'types': {
      const types = all(proto.typeProtos, (item): ValueType | undefined => readType(item, context));
      return types === undefined ? undefined : { kind, value: types };
    }
  }
}

/** Converts each item, or gives `undefined` if one cannot be. */
function all<T, R>(items: readonly T[], convert: (item: T) => R | undefined): readonly R[] | undefined {
  const out: R[] = [];
  for (const item of items) {
    const converted = convert(item);
    if (converted === undefined) return undefined;
    out.push(converted);
  }
  return out;
}

import { toBinary } from '@bufbuild/protobuf';
import { type Dim, dtypeFromOnnx, errors, type ValueType } from '@lithe/core';
import { typeMessages } from '../extras.ts';
import { type TensorShapeProto, type TypeProto, TypeProtoSchema } from '../proto/onnx_pb.ts';
import type { ReadContext } from './context.ts';

/**
 * Makes a type from its message.
 *
 * @returns `undefined` when the message says nothing
 * @throws {LitheError} LIMIT_EXCEEDED when a shape has too many dims
 * @throws {LitheError} VALUE_OUT_OF_RANGE when a dim is no safe integer
 */
export function readType(proto: TypeProto | undefined, context: ReadContext): ValueType | undefined {
  if (proto === undefined) return undefined;
  const type = convert(proto, context);
  if (type !== undefined && hasMore(proto)) typeMessages.set(type, proto);
  return type;
}

function convert(proto: TypeProto, context: ReadContext): ValueType | undefined {
  const { value } = proto;
  switch (value.case) {
    case undefined:
      return proto.$unknown === undefined ? undefined : opaque(proto);
    case 'tensorType': {
      const code = value.value.elemType;
      const dtype = dtypeFromOnnx(code);
      if (dtype === undefined && code !== 0) return opaque(proto);
      const { shape } = value.value;
      return { kind: 'tensor', dtype, shape: shape === undefined ? undefined : readShape(shape, context) };
    }
    case 'sequenceType':
    case 'optionalType': {
      const element = value.value.elemType === undefined ? undefined : convert(value.value.elemType, context);
      if (element === undefined || element.kind === 'opaque') return opaque(proto);
      return { kind: value.case === 'sequenceType' ? 'sequence' : 'optional', element };
    }
    default:
      return opaque(proto);
  }
}

function opaque(proto: TypeProto): ValueType {
  return { kind: 'opaque', proto: toBinary(TypeProtoSchema, proto) };
}

function readShape(proto: TensorShapeProto, context: ReadContext): readonly Dim[] {
  const { maxRank } = context.limits;
  if (proto.dim.length > maxRank)
    throw errors.limitExceeded('maxRank', maxRank, proto.dim.length, 'The rank of a type');
  return proto.dim.map(({ value }): Dim => {
    if (value.case === 'dimParam') return value.value === '' ? null : value.value;
    if (value.case !== 'dimValue') return null;
    // Exporters write -1 for a size that they do not know.
    if (value.value < 0n) return null;
    const size = Number(value.value);
    if (!Number.isSafeInteger(size)) throw errors.valueOutOfRange('A dim', value.value, 'the safe integers');
    return size;
  });
}

/** Whether the message says something that the IR's type does not hold. */
function hasMore(proto: TypeProto): boolean {
  if (proto.denotation !== '' || proto.$unknown !== undefined) return true;
  const { value } = proto;
  if (value.case === 'tensorType') {
    if (value.value.$unknown !== undefined || value.value.shape?.$unknown !== undefined) return true;
    return value.value.shape?.dim.some((dim) => dim.denotation !== '' || dim.$unknown !== undefined) === true;
  }
  if (value.case === 'sequenceType' || value.case === 'optionalType') {
    return value.value.elemType !== undefined && hasMore(value.value.elemType);
  }
  return false;
}

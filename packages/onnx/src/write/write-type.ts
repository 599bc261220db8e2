import { create, fromBinary } from '@bufbuild/protobuf';
import { type Dim, dtypes, type ValueType } from '@lithe/core';
import { typeMessages } from '../extras.ts';
import {
  type TensorShapeProto,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  type TypeProto,
  TypeProto_OptionalSchema,
  TypeProto_SequenceSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
} from '../proto/onnx_pb.ts';

/** Makes the message of a type. */
export function typeToProto(type: ValueType): TypeProto {
  const known = typeMessages.get(type);
  if (known !== undefined) return known;
  switch (type.kind) {
    case 'opaque':
      return fromBinary(TypeProtoSchema, type.proto);
    case 'tensor': {
      const value = create(TypeProto_TensorSchema, {
        elemType: type.dtype === undefined ? 0 : dtypes[type.dtype].onnx,
        ...(type.shape === undefined ? {} : { shape: shapeToProto(type.shape) }),
      });
      return create(TypeProtoSchema, { value: { case: 'tensorType', value } });
    }
    case 'sequence': {
      const value = create(TypeProto_SequenceSchema, { elemType: typeToProto(type.element) });
      return create(TypeProtoSchema, { value: { case: 'sequenceType', value } });
    }
    case 'optional': {
      const value = create(TypeProto_OptionalSchema, { elemType: typeToProto(type.element) });
      return create(TypeProtoSchema, { value: { case: 'optionalType', value } });
    }
  }
}

function shapeToProto(shape: readonly Dim[]): TensorShapeProto {
  return create(TensorShapeProtoSchema, {
    dim: shape.map((dim) => {
      if (dim === null) return create(TensorShapeProto_DimensionSchema);
      return create(TensorShapeProto_DimensionSchema, {
        value:
          typeof dim === 'number'
            ? { case: 'dimValue', value: BigInt(dim) }
            : { case: 'dimParam', value: dim },
      });
    }),
  });
}

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { dtypes, type Tensor, type TensorSource } from '@lithe/core';
import { tensorExtras } from '../extras.ts';
import {
  type StringStringEntryProto,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from '../proto/onnx_pb.ts';
import { encodeUtf8 } from '../read/text.ts';
import { Rope } from './rope.ts';

/** Field number of `TensorProto.raw_data`. */
const RAW_DATA = 9;

/** Where the bytes of a tensor go when they do not go into the model file. */
export interface ExternalPlace {
  /** File, relative to the model. */
  readonly location: string;
  /** First byte in it. */
  readonly offset: number;
  /** Number of bytes. */
  readonly length: number;
}

/** What a tensor message says beside its data. */
export interface TensorHead {
  /** Name; of the value for an initializer. */
  readonly name: string;
  /** A free text. */
  readonly docString?: string | undefined;
  /** Metadata. */
  readonly props?: ReadonlyMap<string, string> | undefined;
  /** Where the bytes go; into the message when left out. */
  readonly external?: ExternalPlace | undefined;
}

/**
 * Encodes a tensor; its bytes are loaded later, except texts, which have no fixed length.
 *
 * @throws {LitheError} whatever loading texts throws
 */
export async function tensorRope(
  source: TensorSource,
  head: TensorHead,
  signal: AbortSignal | undefined,
): Promise<Rope> {
  const extras = tensorExtras.get(source);
  const docString = head.docString ?? extras?.docString;
  const init: MessageInitShape<typeof TensorProtoSchema> = {
    dims: source.shape.map((dim) => BigInt(dim)),
    dataType: dtypes[source.dtype].onnx,
    ...(head.name === '' ? {} : { name: head.name }),
    ...(docString === undefined ? {} : { docString }),
    metadataProps: entriesOf(head.props ?? extras?.props ?? new Map()),
  };
  if (source.dtype === 'string') {
    const { data } = (await source.load(signal)) as Tensor<'string'>;
    init.stringData = data.map(encodeUtf8);
  }
  if (head.external !== undefined) {
    const { location, offset, length } = head.external;
    init.dataLocation = TensorProto_DataLocation.EXTERNAL;
    init.externalData = entriesOf(
      new Map([
        ['location', location],
        ['offset', String(offset)],
        ['length', String(length)],
      ]),
    );
  }
  const message = create(TensorProtoSchema, init);
  if (extras !== undefined && extras.unknown.length > 0) message.$unknown = [...extras.unknown];
  const rope = new Rope();
  rope.bytes(toBinary(TensorProtoSchema, message));
  if (source.dtype !== 'string' && head.external === undefined) rope.tensorField(RAW_DATA, source);
  return rope;
}

/** A map as metadata entries. */
export function entriesOf(props: ReadonlyMap<string, string>): StringStringEntryProto[] {
  return [...props].map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));
}

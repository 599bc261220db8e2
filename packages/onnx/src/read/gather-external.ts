import { dtypeFromOnnx } from '@lithe/core';
import {
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  TensorProto_DataLocation,
} from '../proto/onnx_pb.ts';
import { quoted, type ReadContext } from './context.ts';
import { externalRange, locateExternal } from './external-tensor.ts';

/** The tensors of a model that lie in other files. */
export interface ExternalTensors {
  /** Files, as the model names them. */
  readonly locations: ReadonlySet<string>;
  /** Tensors that are carried as messages, and so must be read with the model. */
  readonly carried: readonly TensorProto[];
}

/** Finds every tensor of a model whose data lies in another file. */
export function gatherExternal(model: ModelProto): ExternalTensors {
  const locations = new Set<string>();
  const carried: TensorProto[] = [];
  const tensor = (proto: TensorProto | undefined, opaque: boolean): void => {
    if (proto?.dataLocation !== TensorProto_DataLocation.EXTERNAL) return;
    locations.add(externalRange(proto).location);
    if (opaque || dtypeFromOnnx(proto.dataType) === undefined) carried.push(proto);
  };
  const attribute = (proto: AttributeProto, opaque: boolean): void => {
    tensor(proto.t, opaque);
    for (const item of proto.tensors) tensor(item, opaque || hasOpaque(proto.tensors));
    for (const sparse of [proto.sparseTensor, ...proto.sparseTensors]) {
      tensor(sparse?.values, true);
      tensor(sparse?.indices, true);
    }
    if (proto.g !== undefined) graph(proto.g, opaque);
    for (const inner of proto.graphs) graph(inner, opaque);
  };
  const nodes = (protos: readonly NodeProto[], opaque: boolean): void => {
    for (const node of protos) for (const item of node.attribute) attribute(item, opaque);
  };
  const graph = (proto: GraphProto, opaque: boolean): void => {
    for (const item of proto.initializer) tensor(item, opaque);
    for (const sparse of proto.sparseInitializer) {
      tensor(sparse.values, true);
      tensor(sparse.indices, true);
    }
    nodes(proto.node, opaque);
  };
  if (model.graph !== undefined) graph(model.graph, false);
  for (const item of model.functions) {
    nodes(item.node, false);
    for (const inner of item.attributeProto) attribute(inner, false);
  }
  for (const { initialization, algorithm } of model.trainingInfo) {
    if (initialization !== undefined) graph(initialization, true);
    if (algorithm !== undefined) graph(algorithm, true);
  }
  return { locations, carried };
}

function hasOpaque(tensors: readonly TensorProto[]): boolean {
  return tensors.some((item) => dtypeFromOnnx(item.dataType) === undefined);
}

/** Moves the data of carried tensors into their messages, because the message may be written elsewhere. */
export async function inlineCarried(
  carried: readonly TensorProto[],
  context: ReadContext,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const proto of carried) {
    const { data, offset, length } = locateExternal(
      proto,
      undefined,
      `tensor ${quoted(proto.name)}`,
      context,
    );
    proto.rawData = await data.read(offset, length, signal);
    proto.externalData = [];
    proto.dataLocation = TensorProto_DataLocation.DEFAULT;
  }
}

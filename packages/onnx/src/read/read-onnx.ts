import { errors, Model } from '@lithe/core';
import { modelExtras } from '../extras.ts';
import { headerOf } from '../header.ts';
import { defaultReadLimits, type ReadLimits } from '../limits.ts';
import { decodeMessage } from '../proto/decode.ts';
import { ModelProtoSchema } from '../proto/onnx_pb.ts';
import { setUpgradeNotes, upgradeToWorkingOpset } from '../upgrade/upgrade.ts';
import { propsOf, type ReadContext } from './context.ts';
import { type ByteSource, type ExternalData, type ExternalOpener, openerOf } from './external.ts';
import { gatherExternal, inlineCarried } from './gather-external.ts';
import { nameNodes } from './name-nodes.ts';
import { readModelParts } from './read-model.ts';

/** Options of {@link readOnnx}. */
export interface ReadOptions {
  /** External data, by the location that the model names; entries may be `Blob`s, which are read when needed. */
  readonly externalData?: ExternalData | undefined;
  /** Limits to raise (or lower); see {@link ReadLimits} for the others. */
  readonly limits?: Partial<ReadLimits> | undefined;
  /** Whether the model is brought to the working opset, and its nodes without a name get one; `true` by default. */
  readonly upgrade?: boolean | undefined;
  /** Name of the file, for messages. Default `model`. */
  readonly name?: string | undefined;
  /** Stops reading. */
  readonly signal?: AbortSignal | undefined;
}

/** What the file access adds to reading. */
export interface ReadSource {
  /** Opens external data. */
  readonly open: ExternalOpener;
  /** Path of the model. */
  readonly path: string | undefined;
}

/**
 * Reads an ONNX model. Weights are views of `bytes`, which must not be written afterwards. The model is brought to
 * the working opset; what cannot be brought there stays as it is, and {@link upgradeNotes} names it. Nodes without a
 * name get one, such as `Conv_3`, which is not written.
 *
 * @param bytes the file
 * @throws {LitheError} FILE_INVALID when it is not an ONNX protobuf
 * @throws {LitheError} MODEL_INVALID when it is not a valid model
 * @throws {LitheError} TENSOR_INVALID when the data of a tensor does not fit its dims
 * @throws {LitheError} LIMIT_EXCEEDED when it is larger than the limits allow
 * @throws {LitheError} PATH_ESCAPES when it names external data outside its folder
 * @throws {LitheError} FILE_NOT_FOUND when external data is missing
 */
export async function readOnnx(
  bytes: Uint8Array | ArrayBuffer | Blob,
  options: ReadOptions = {},
): Promise<Model> {
  const file = options.name ?? 'model';
  const limits = { ...defaultReadLimits, ...options.limits };
  const size = bytes instanceof Blob ? bytes.size : bytes.byteLength;
  if (size > limits.maxFileBytes)
    throw errors.limitExceeded('maxFileBytes', limits.maxFileBytes, size, `File "${file}"`);
  const plain = bytes instanceof Blob ? await bytes.arrayBuffer() : bytes;
  const view = plain instanceof Uint8Array ? plain : new Uint8Array(plain);
  return readModel(view, { open: openerOf(options.externalData ?? {}), path: undefined }, options);
}

/** Reads a model whose external data `source` opens. */
export async function readModel(bytes: Uint8Array, source: ReadSource, options: ReadOptions): Promise<Model> {
  const file = options.name ?? 'model';
  const limits = { ...defaultReadLimits, ...options.limits };
  options.signal?.throwIfAborted();
  const proto = decodeMessage(ModelProtoSchema, bytes, limits, file);
  const { locations, carried } = gatherExternal(proto);
  if (locations.size > limits.maxExternalFiles) {
    throw errors.limitExceeded('maxExternalFiles', limits.maxExternalFiles, locations.size, `File "${file}"`);
  }
  const external = new Map<string, ByteSource>();
  for (const location of locations) {
    const opened = await source.open(location);
    if (opened !== undefined) external.set(location, opened);
  }
  const irVersion = Number(proto.irVersion);
  const context: ReadContext = { file, limits, irVersion, external };
  await inlineCarried(carried, context, options.signal);
  options.signal?.throwIfAborted();
  const read = readModelParts(proto, context);
  const fileOpset = read.opsetImports.get('') ?? 0;
  if (options.upgrade !== false) for (const { graph } of [read, ...read.functions]) nameNodes(graph);
  const { functions, notes } =
    options.upgrade === false ? { functions: read.functions, notes: [] } : upgradeToWorkingOpset(read);
  const parts = { ...read, functions };
  let revision = parts.graph.revision.count;
  for (const { graph } of parts.functions) revision += graph.revision.count;
  const model = new Model({
    ...parts,
    origin: {
      revision,
      opset: fileOpset,
      irVersion,
      bytes: () => Promise.resolve(bytes),
      path: source.path,
    },
  });
  setUpgradeNotes(model, notes);
  model.producerName = proto.producerName;
  model.producerVersion = proto.producerVersion;
  model.domain = proto.domain;
  model.modelVersion = proto.modelVersion;
  if (proto.docString !== '') model.docString = proto.docString;
  for (const [key, value] of propsOf(proto.metadataProps)) model.props.set(key, value);
  model.meta.set(modelExtras, {
    trainingInfo: proto.trainingInfo,
    trainingOpset: fileOpset,
    configuration: proto.configuration,
    unknown: proto.$unknown ?? [],
    locations: [...locations],
    header: headerOf(model),
  });
  return model;
}

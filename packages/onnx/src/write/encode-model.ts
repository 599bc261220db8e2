import { create, toBinary } from '@bufbuild/protobuf';
import { errors, type Model, type TensorSource } from '@lithe/core';
import { modelExtras } from '../extras.ts';
import { ModelProtoSchema } from '../proto/onnx_pb.ts';
import type { OpsetPlan } from './choose-opset.ts';
import { Rope } from './rope.ts';
import {
  functionRope,
  graphRope,
  importsToProto,
  type ValueInfoChoice,
  type WriteContext,
  writtenImports,
} from './write-graph.ts';
import { type ExternalPlace, entriesOf } from './write-tensor.ts';

const GRAPH = 7;
const FUNCTIONS = 25;

/** Choices of {@link encodeModel}. */
export interface EncodeOptions {
  /** How the nodes are written, and at which opset. */
  readonly plan: OpsetPlan;
  /** IR version to declare. */
  readonly irVersion: number;
  /** Which values in between get their types written. */
  readonly valueInfo: ValueInfoChoice;
  /** Where the bytes of a tensor go; `undefined` for the model file itself. */
  readonly place?: ((source: TensorSource) => ExternalPlace | undefined) | undefined;
  /** Stops writing. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Encodes a model.
 *
 * @throws {LitheError} MODEL_INVALID when a function holds initializers, which the format has no place for
 */
export async function encodeModel(model: Model, options: EncodeOptions): Promise<Rope> {
  const context: WriteContext = {
    place: options.place ?? (() => undefined),
    valueInfo: options.valueInfo,
    opset: options.plan.opset,
    forms: options.plan.forms,
    dropped: options.plan.dropped,
    empties: new Map(),
    signal: options.signal,
  };
  const extras = model.meta.get(modelExtras);
  const head = create(ModelProtoSchema, {
    irVersion: BigInt(options.irVersion),
    opsetImport: importsToProto(writtenImports(model.opsetImports, [model.graph], options.plan.opset)),
    ...(model.producerName === '' ? {} : { producerName: model.producerName }),
    ...(model.producerVersion === '' ? {} : { producerVersion: model.producerVersion }),
    ...(model.domain === '' ? {} : { domain: model.domain }),
    ...(model.modelVersion === 0n ? {} : { modelVersion: model.modelVersion }),
    ...(model.docString === undefined ? {} : { docString: model.docString }),
    metadataProps: entriesOf(model.props),
    trainingInfo: [...(extras?.trainingInfo ?? [])],
    configuration: [...(extras?.configuration ?? [])],
  });
  if (extras !== undefined && extras.unknown.length > 0) head.$unknown = [...extras.unknown];
  const rope = new Rope();
  rope.bytes(toBinary(ModelProtoSchema, head));
  rope.messageField(GRAPH, await graphRope(model.graph, context));
  for (const item of model.functions) {
    if (item.graph.initializers.size > 0) {
      throw errors.modelInvalid([`Function "${item.name}" holds initializers; use Constant nodes.`]);
    }
    rope.messageField(FUNCTIONS, await functionRope(item, context));
  }
  return rope;
}

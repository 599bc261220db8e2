import { errors, type Model, type Tensor, type TensorSource } from '@lithe/core';
import { modelExtras } from '../extras.ts';
import { headerOf } from '../header.ts';
import { chooseOpset, irVersionFor } from './choose-opset.ts';
import { encodeModel } from './encode-model.ts';
import type { Piece, Rope } from './rope.ts';
import type { ValueInfoChoice } from './write-graph.ts';
import type { ExternalPlace } from './write-tensor.ts';

/** Options of {@link writeOnnx}. */
export interface WriteOptions {
  /** Opset of `ai.onnx` to write; by default the lowest that serves. */
  readonly opset?: number | undefined;
  /** IR version to declare; by default the lowest that serves. */
  readonly irVersion?: number | undefined;
  /**
   * Which values in between get their types written: `declared` (default), those that the file declared which the
   * model was read from; `all` that are known; or `none`.
   */
  readonly valueInfo?: ValueInfoChoice | undefined;
  /** Stops writing. */
  readonly signal?: AbortSignal | undefined;
}

/** Bytes that a protobuf message can have. */
export const maxProtobufBytes: number = 2 ** 31 - 1;

/**
 * Writes a model as one ONNX file in memory. One that nothing changed since it was read gives the file's bytes back.
 *
 * @throws {LitheError} LIMIT_EXCEEDED when the file would pass 2 GiB; `saveOnnx` puts weights beside it
 */
export async function writeOnnx(model: Model, options: WriteOptions = {}): Promise<Uint8Array> {
  const original = await unchangedBytes(model, options);
  if (original !== undefined && model.meta.get(modelExtras)?.locations.length === 0) return original;
  const rope = await encodeFor(model, options);
  return ropeBytes(rope, options.signal);
}

/**
 * Loads the weights of an encoded message and puts everything into one array.
 *
 * @throws {LitheError} LIMIT_EXCEEDED when it would pass 2 GiB
 */
export async function ropeBytes(rope: Rope, signal: AbortSignal | undefined): Promise<Uint8Array> {
  if (rope.byteLength > maxProtobufBytes) {
    throw errors.limitExceeded(
      'maxFileBytes',
      maxProtobufBytes,
      rope.byteLength,
      'What would be one ONNX file',
    );
  }
  const bytes = new Uint8Array(rope.byteLength);
  let offset = 0;
  for (const piece of rope.pieces) {
    bytes.set(await pieceBytes(piece, signal), offset);
    offset += piece.byteLength;
  }
  return bytes;
}

/** The bytes of the file that an unchanged model came from, if they are what the options ask for. */
export async function unchangedBytes(model: Model, options: WriteOptions): Promise<Uint8Array | undefined> {
  const { origin } = model;
  if (origin?.bytes === undefined || !model.isUnchanged) return undefined;
  if (model.meta.get(modelExtras)?.header !== headerOf(model)) return undefined;
  if (options.opset !== undefined && options.opset !== origin.opset) return undefined;
  if (options.irVersion !== undefined && options.irVersion !== origin.irVersion) return undefined;
  if (options.valueInfo !== undefined) return undefined;
  return origin.bytes();
}

/** Encodes a model at the opset asked for. */
export async function encodeFor(
  model: Model,
  options: WriteOptions,
  place?: (source: TensorSource) => ExternalPlace | undefined,
): Promise<Rope> {
  const plan = chooseOpset(model, { opset: options.opset });
  return encodeModel(model, {
    plan,
    irVersion: options.irVersion ?? lowestIrVersion(model, plan.opset ?? model.opset),
    valueInfo: options.valueInfo ?? 'declared',
    place,
    signal: options.signal,
  });
}

/** The lowest IR version that has what a model uses. */
function lowestIrVersion(model: Model, opset: number): number {
  let version = irVersionFor(opset);
  const extras = model.meta.get(modelExtras);
  // Functions came with version 8. What the file held that nobody here looks into stays under the file's own version.
  if (model.functions.length > 0) version = Math.max(version, 8);
  const carries = extras !== undefined && (extras.unknown.length > 0 || extras.configuration.length > 0);
  if (carries) version = Math.max(version, model.origin?.irVersion ?? 0);
  return version;
}

/**
 * The bytes of a piece.
 *
 * @throws {LitheError} TENSOR_INVALID when a tensor does not give the bytes that it announced
 */
export async function pieceBytes(piece: Piece, signal: AbortSignal | undefined): Promise<Uint8Array> {
  if (piece instanceof Uint8Array) return piece;
  signal?.throwIfAborted();
  const tensor: Tensor = await piece.source.load(signal);
  if (tensor.byteLength !== piece.byteLength) {
    throw errors.tensorInvalid(
      `${tensor.toString()} has ${tensor.byteLength} bytes and announced ${piece.byteLength}`,
    );
  }
  return tensor.bytes;
}

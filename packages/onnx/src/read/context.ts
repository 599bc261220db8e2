import { errors } from '@lithe/core';
import type { ReadLimits } from '../limits.ts';
import type { StringStringEntryProto } from '../proto/onnx_pb.ts';
import type { ByteSource } from './external.ts';

/** What the readers of one file share. */
export interface ReadContext {
  /** Name of the file, for messages. */
  readonly file: string;
  /** Limits in force. */
  readonly limits: ReadLimits;
  /** IR version of the file. */
  readonly irVersion: number;
  /** The opened external data, by location as the file spells it. */
  readonly external: ReadonlyMap<string, ByteSource>;
}

/** A model that breaks the rules of ONNX; `problem` is a full sentence. */
export function invalidModel(context: ReadContext, problem: string): Error {
  return errors.modelInvalid([problem], `"${context.file}"`);
}

/** Metadata entries as a map; the last of equal keys holds, as in ONNX's own readers. */
export function propsOf(entries: readonly StringStringEntryProto[]): Map<string, string> {
  return new Map(entries.map((entry) => [entry.key, entry.value]));
}

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

/** Characters of a problem that are shown: names come from the file and may be of any length. */
const longestProblem = 500;

/** Quotes a name of the file for a message. */
export function quoted(name: string): string {
  return `"${name.length > 100 ? `${name.slice(0, 100)}…` : name}"`;
}

/** A model that breaks the rules of ONNX; `problem` is a full sentence. */
export function invalidModel(context: ReadContext, problem: string): Error {
  return errors.modelInvalid([problem.slice(0, longestProblem)], `"${context.file}"`);
}

/** Metadata entries as a map; the last of equal keys holds, as in ONNX's own readers. */
export function propsOf(entries: readonly StringStringEntryProto[]): Map<string, string> {
  return new Map(entries.map((entry) => [entry.key, entry.value]));
}

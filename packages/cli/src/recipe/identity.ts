import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { errors } from '@lithe/core';

/** A hash of plain data, the same whatever the order of its keys. */
export function identityOf(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex');
}

/** The hash that {@link hashFiles} would give for one file. */
export function hashBytes(bytes: Uint8Array, label: string): string {
  return createHash('sha256')
    .update(`${label.length}:${label}:`)
    .update(bytes)
    .update(`:${bytes.length};`)
    .digest('hex');
}

/** A hash of the contents of files, in the order given, and of their labels. */
export async function hashFiles(
  files: readonly { readonly path: string; readonly label: string }[],
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  for (const { path, label } of files) {
    signal.throwIfAborted();
    hash.update(`${label.length}:${label}:`);
    let bytes = 0;
    try {
      for await (const chunk of createReadStream(path, { signal, highWaterMark: 2 ** 20 })) {
        hash.update(chunk as Uint8Array);
        bytes += (chunk as Uint8Array).length;
      }
    } catch (cause) {
      if (signal.aborted) throw cause;
      throw errors.fileNotFound(path, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
    }
    hash.update(`:${bytes};`);
  }
  return hash.digest('hex');
}

/** JSON with sorted keys. What JSON cannot hold is written as a text that tells it apart. */
export function canonical(value: unknown): string {
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : `"#${value}"`;
  if (typeof value === 'bigint') return `"#${value}n"`;
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
      .filter(([, item]) => item !== undefined && typeof item !== 'function')
      .sort(([left], [right]) => (left < right ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? '"#undefined"';
}

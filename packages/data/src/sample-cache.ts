import type { Tensor } from '@lithe/core';

/** Keeps decoded samples, so that the next pass over the data, or the next run, need not decode them again. */
export interface SampleCache {
  /** What was kept under `key`, if anything. */
  get(key: string): Promise<Tensor | undefined>;
  /** Keeps a tensor under `key`. */
  put(key: string, tensor: Tensor): Promise<void>;
}

/**
 * The key of a decoded sample: SHA-256 over the bytes of its file and the configuration. A file that was edited, or
 * another configuration, gives another key; so a cache never has to be cleared to stay right.
 *
 * @returns 64 hexadecimal digits
 */
export async function sampleKey(bytes: Uint8Array, config: unknown): Promise<string> {
  const settings = new TextEncoder().encode(JSON.stringify(config));
  const contents = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  const both = new Uint8Array(contents.length + settings.length);
  both.set(contents);
  both.set(settings, contents.length);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', both));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A cache in memory. Nothing is dropped from it. */
export function memoryCache(): SampleCache {
  const kept = new Map<string, Tensor>();
  return {
    get: (key) => Promise.resolve(kept.get(key)),
    put: (key, tensor) => {
      kept.set(key, tensor);
      return Promise.resolve();
    },
  };
}

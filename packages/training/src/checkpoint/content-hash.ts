/** A hash of bytes that come piece by piece; see {@link contentHash}. */
export interface ContentHash {
  /** Takes the next bytes; where one piece ends and the next begins makes no difference. */
  add(bytes: Uint8Array): void;
  /** The hash of all bytes so far, 16 hexadecimal digits. */
  text(): string;
}

/**
 * A hash that tells contents apart, such as those of runs and models: two lanes of 32 bits, the first that of FNV-1a,
 * the second with another start and another factor. The same bytes give the same hash on every machine. It is quick and
 * no defence: who wants two contents with the same hash finds them.
 *
 * @see Fowler, Noll, Vo and others, "The FNV Non-Cryptographic Hash Algorithm"
 * @example
 * ```ts
 * import { contentHash } from '@lithe/training';
 *
 * const hash = contentHash();
 * hash.add(new TextEncoder().encode('a'));
 * hash.text().slice(0, 8) // => 'e40c292c'
 * ```
 */
export function contentHash(): ContentHash {
  let [left, right] = [0x811c9dc5, 0x9747b28c];
  return {
    add: (bytes) => {
      for (let index = 0; index < bytes.length; index++) {
        left = Math.imul(left ^ bytes[index]!, 0x01000193);
        right = Math.imul(right ^ bytes[index]!, 0x01000197);
      }
    },
    text: () => `${(left >>> 0).toString(16).padStart(8, '0')}${(right >>> 0).toString(16).padStart(8, '0')}`,
  };
}

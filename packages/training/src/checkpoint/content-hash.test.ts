import { describe, expect, it } from 'vitest';
import { contentHash } from './content-hash.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function hashed(...pieces: readonly string[]): string {
  const hash = contentHash();
  for (const piece of pieces) hash.add(bytes(piece));
  return hash.text();
}

describe('contentHash', () => {
  // Published test vectors of 32-bit FNV-1a.
  it.each([
    ['', '811c9dc5'],
    ['a', 'e40c292c'],
    ['b', 'e70c2de5'],
    ['foobar', 'bf9cf968'],
  ])('starts with the FNV-1a of "%s"', (text, expected) => {
    expect(hashed(text).slice(0, 8)).toBe(expected);
  });

  it('is 16 digits, with a second lane of its own', () => {
    expect(hashed()).toBe('811c9dc59747b28c');
    // Worked out with whole numbers of any size: h = (h ^ byte) * 0x01000197 mod 2^32.
    expect(hashed('foobar').slice(8)).toBe('3de2b0bd');
  });

  it('does not depend on how the bytes are cut', () => {
    expect(hashed('foo', '', 'bar')).toBe(hashed('foobar'));
    expect(hashed('bar', 'foo')).not.toBe(hashed('foobar'));
  });
});

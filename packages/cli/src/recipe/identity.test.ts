import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { canonical, hashBytes, identityOf } from './identity.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('identities', () => {
  it('do not hang on the order of keys, at any depth', () => {
    const options = { b: 1, a: { d: [2, { f: 3, e: 4 }], c: 5 } };
    expect(canonical(options)).toBe('{"a":{"c":5,"d":[2,{"e":4,"f":3}]},"b":1}');
    expect(identityOf({ a: { c: 5, d: [2, { e: 4, f: 3 }] }, b: 1 })).toBe(identityOf(options));
    expect(identityOf(options)).toBe(sha256(canonical(options)));
  });

  it('tell apart what JSON writes alike', () => {
    const values = [null, Number.NaN, Number.POSITIVE_INFINITY, 1, 1n, '1', [1], {}, [], [undefined], [null]];
    expect(new Set(values.map(canonical)).size).toBe(values.length);
    expect(canonical({ left: undefined, out: () => 1 })).toBe('{}');
  });

  it('of files tell where one ends and the next begins', () => {
    expect(hashBytes(new Uint8Array([65]), 'model')).toBe(sha256('5:model:A:1;'));
  });
});

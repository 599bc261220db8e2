import { describe, expect, expectTypeOf, it } from 'vitest';
import { type Attribute, attribute, toSafeNumber } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import type { Node } from '../ir/node.ts';
import { Tensor } from '../tensor/tensor.ts';
import { attr, readAttributes } from './attributes.ts';
import { attributesOf, defineOp } from './op-def.ts';
import { OpSet } from './op-set.ts';
import { defineTrait } from './trait.ts';

const node = (attributes: Record<string, Attribute>, opType = 'Thing', domain = 'test'): Node =>
  new Graph().addNode({ opType, domain, name: 'n', inputs: [], attributes });
const invalid = expect.objectContaining({ code: 'ATTRIBUTE_INVALID' });
const thing = defineOp({
  domain: 'test',
  type: 'Thing',
  since: 1,
  inputs: [],
  outputs: [],
  attributes: {
    size: attr.int(3),
    mode: attr.oneOf(['linear', 'cubic'], 'linear'),
    keep: attr.flag(true),
    axes: attr.optionalInts(),
    alpha: attr.optionalFloat(),
  },
  infer: () => undefined,
});

describe('attributes', () => {
  it('are read with their defaults, and typed', () => {
    const read = attributesOf(node({ mode: attribute.string('cubic'), keep: attribute.int(0) }), thing);
    expect(read).toEqual({ size: 3, mode: 'cubic', keep: false, axes: undefined, alpha: undefined });
    expectTypeOf(read.mode).toEqualTypeOf<'linear' | 'cubic'>();
    expectTypeOf(read.axes).toEqualTypeOf<readonly number[] | undefined>();
  });

  it('of another kind or value are refused, naming node and attribute', () => {
    for (const wrong of [
      { size: attribute.float(1) },
      { mode: attribute.string('quadratic') },
      { axes: attribute.int(1) },
      { alpha: attribute.ints([1]) },
      { size: { kind: 'reference', name: 'outer', of: 'int' } as const },
    ]) {
      expect(() => attributesOf(node(wrong), thing)).toThrow(invalid);
    }
    expect(() => attributesOf(node({ size: attribute.int(2n ** 60n) }), thing)).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
  });

  it('that are required and missing are refused', () => {
    const specs = {
      a: attr.requiredInt(),
      b: attr.requiredFloat(),
      c: attr.requiredString(),
      d: attr.requiredInts(),
      e: attr.requiredOneOf(['x', 'y']),
      f: attr.graph(),
    };
    for (const name of Object.keys(specs) as (keyof typeof specs)[]) {
      expect(() => readAttributes(node({}), { [name]: specs[name] })).toThrow(invalid);
    }
    const tensor = Tensor.from('int8', [1], new Int8Array(1));
    const all = readAttributes(
      node({ t: attribute.tensor(tensor), f: attribute.floats([0.1]), s: attribute.strings(['a']) }),
      { t: attr.optionalTensor(), f: attr.optionalFloats(), s: attr.optionalStrings() },
    );
    expect(all).toEqual({ t: tensor, f: [Math.fround(0.1)], s: ['a'] });
  });

  it('hold 64-bit integers exactly', () => {
    expect(attribute.int(2n ** 63n - 1n)).toEqual({ kind: 'int', value: 9223372036854775807n });
    expect(toSafeNumber(-5n, 'x')).toBe(-5);
    expect(() => toSafeNumber(2n ** 53n, 'x')).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
  });
});

describe('OpSet', () => {
  it('finds operators by domain and type, and refuses two of one name', () => {
    const set = new OpSet([thing as never]);
    expect(set.of(node({}))).toBe(thing);
    expect(set.get('', 'Thing')).toBeUndefined();
    expect(() => set.with(thing)).toThrow(expect.objectContaining({ code: 'OP_CONFLICT' }));
    const more = set.with(
      defineOp({ type: 'Other', since: 1, inputs: [], outputs: [], infer: () => undefined }),
    );
    expect([set.size, more.size, [...more].map((def) => def.type)]).toEqual([1, 2, ['Thing', 'Other']]);
  });
});

describe('traits', () => {
  it('answer with a rule, an explicit no, or nothing', () => {
    const cost = defineTrait<number>('test/cost');
    const table = cost.table({ Add: 1, Floor: 'none' }, cost.of({ domain: 'test', type: 'Thing' }, 7));
    const ask = (opType: string, domain = ''): unknown => table.get({ opType, domain });
    expect([ask('Add'), ask('Floor'), ask('Thing', 'test'), ask('Thing'), ask('toString')]).toEqual([
      1,
      'none',
      7,
      undefined,
      undefined,
    ]);
    expect(() => table.with(cost.of({ domain: '', type: 'Add' }, 2))).toThrow(
      expect.objectContaining({ code: 'OP_CONFLICT' }),
    );
    // What the standard table says no to, a plugin may know better.
    expect(table.with(cost.of({ domain: '', type: 'Floor' }, 3)).get({ opType: 'Floor', domain: '' })).toBe(
      3,
    );
    expect(ask('Floor')).toBe('none');
  });
});

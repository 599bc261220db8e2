import { isLitheError } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { parseDocument, type RecipeProblem } from './document.ts';

/** What is wrong with a text: `line:column message`. */
function problemOf(text: string): string {
  try {
    parseDocument(text, 'r.yaml');
    return '';
  } catch (error) {
    if (!isLitheError(error, 'RECIPE_INVALID')) throw error;
    return (error.details['problems'] as RecipeProblem[])
      .map(({ line, column, message }) => `${line}:${column} ${message}`)
      .join('\n');
  }
}

describe('parseDocument', () => {
  it('reads YAML and JSON as plain data', () => {
    const yaml = parseDocument(
      'a: &x { b: [1, 0x10, 2.5e-1], c: ~ }\n"d": *x\n1: yes\ne: |\n  two\n  lines\n',
      'r',
    );
    const inner = { b: [1, 16, 0.25], c: null };
    expect(yaml.value).toEqual({ a: inner, d: inner, '1': 'yes', e: 'two\nlines\n' });
    const json = { a: [1, -2.5, 'text', true, null], b: { c: {} } };
    expect(parseDocument(JSON.stringify(json, null, '\t'), 'r').value).toEqual(json);
    expect(parseDocument('\uFEFF{"a": 1}', 'r').value).toEqual({ a: 1 });
  });

  it('knows where each part stands, behind an alias too', () => {
    const text = 'a: 1\nsteps:\n  - &one\n    use: x\n    with: { deep: [10, 20] }\n  - *one\n';
    const { placeOf, keyPlaceOf } = parseDocument(text, 'r');
    expect(placeOf(['a'])).toEqual({ line: 1, column: 4 });
    expect(placeOf(['steps', 0, 'with', 'deep', 1])).toEqual({ line: 5, column: 24 });
    expect(keyPlaceOf(['steps', 0, 'with'])).toEqual({ line: 5, column: 5 });
    expect(placeOf(['steps', 1, 'use'])).toEqual({ line: 4, column: 10 });
    // What is not there stands where the part around it does.
    expect(placeOf(['steps', 0, 'from'])).toEqual({ line: 4, column: 5 });
    expect(keyPlaceOf(['nothing'])).toEqual({ line: 1, column: 1 });
  });

  it('does not let keys reach the prototype of objects', () => {
    const { value } = parseDocument('constructor: 1\n', 'r');
    expect(Object.entries(value as object)).toEqual([['constructor', 1]]);
    expect(problemOf('a: { __proto__: { polluted: true } }\n')).toBe('1:6 A key cannot be "__proto__".');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it.each([
    ['', '1:1 The text is empty.'],
    ['# nothing\n', '1:1 The text is empty.'],
    ['a: 1\na: 2\n', '2:1 The key "a" is there twice.'],
    ['a: [1, 2\n', '2:1 Flow sequence in block collection must be sufficiently indented and end with a ].'],
    ['a: "x\n', '2:1 Missing closing "quote.'],
    ['a:\n\t- b\n', '2:1 Tabs are not allowed as indentation.'],
    ['a: 1\n---\nb: 2\n', '3:1 A recipe is one document; a second one begins here.'],
    ['a: !!js/function "x"\n', '1:4 Unresolved tag: tag:yaml.org,2002:js/function.'],
    ['%YAML 1.1\n---\na: yes\n', '1:1 A recipe is YAML 1.2; leave out the directive.'],
    ['a: *b\n', '1:4 There is no anchor "&b" before this.'],
    ['a: &a [1, *a]\n', '1:11 "*a" holds itself.'],
    ['? [1, 2]\n: x\n', '1:3 A key must be a plain name.'],
    ['a: .nan\n', '1:4 ".nan" is no number that can be held exactly.'],
    ['a: 1e999\n', '1:4 "1e999" is no number that can be held exactly.'],
    ['a: 9007199254740993\n', '1:4 "9007199254740993" is no number that can be held exactly.'],
  ])('refuses %j', (text, problem) => {
    expect(problemOf(text)).toBe(problem);
  });

  it('ends at once on texts that are made to exhaust a parser', () => {
    const nines = Array.from({ length: 9 }, () => '*a').join();
    const bomb = Array.from({ length: 9 }, (_, level) =>
      level === 0 ? 'l0: &l0 [x]' : `l${level}: &l${level} [${nines.replaceAll('*a', `*l${level - 1}`)}]`,
    ).join('\n');
    expect(problemOf(bomb)).toContain('It holds more than 20000 values');
    for (const deep of ['['.repeat(100_000), '{a: '.repeat(50_000), '- '.repeat(90_000), '? '.repeat(90_000)])
      expect(problemOf(deep)).toContain('It is nested more than 64 levels deep.');
    const stairs = Array.from({ length: 600 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n');
    expect(problemOf(stairs)).toContain('It is nested more than 64 levels deep.');
    expect(problemOf(`a: ${'x'.repeat(300_000)}`)).toContain('at most 262144 are read');
    expect(problemOf(`a: [${'1,'.repeat(30_000)}]`)).toContain('It holds more than 20000 values');
  });
});

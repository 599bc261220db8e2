import { describe, expect, it } from 'vitest';
import { expectValue } from './expect.mjs';
import { examplesOfMarkdown, examplesOfSource } from './extract.ts';
import { moduleOf } from './generate.ts';

const fence = '```';

describe('examplesOfMarkdown', () => {
  it('takes ts fences with the line they start at, and leaves sketches and other languages', () => {
    const text = `# T\n\n${fence}ts\nf();\n${fence}\n${fence}sh\nls\n${fence}\n${fence}ts no-run\ng();\n${fence}\n${fence}ts sketch\nh(\n${fence}\n`;
    expect(examplesOfMarkdown({ file: 'a.md', text })).toEqual([
      { file: 'a.md', line: 4, code: 'f();', mode: 'run' },
      { file: 'a.md', line: 10, code: 'g();', mode: 'no-run' },
    ]);
  });

  it('refuses a mark it does not know', () => {
    expect(() => examplesOfMarkdown({ file: 'a.md', text: `${fence}ts norun\n${fence}` })).toThrow('"norun"');
  });
});

describe('examplesOfSource', () => {
  it('finds the fences in documentation comments, past templates that hold braces', () => {
    const text = `const s = \`\${ { a: 1 }.a } /** ${fence}ts */\`;\n/**\n * Adds.\n * @example\n * ${fence}ts\n * add(1, 2); // => 3\n * ${fence}\n */\nexport const x = 1;\n`;
    expect(examplesOfSource({ file: 'a.ts', text })).toEqual([
      { file: 'a.ts', line: 6, code: 'add(1, 2); // => 3', mode: 'run' },
    ]);
  });
});

describe('moduleOf', () => {
  const code = (text: string): string => moduleOf({ file: 'a.ts', line: 5, code: text, mode: 'run' });

  it('asserts the value of an expression, a variable and a printed argument', () => {
    expect(code('1 + 1; // => 2')).toContain('.__expect(1 + 1, "2", "a.ts:5");');
    expect(code('\nconst x = 4; // => 4')).toContain('.__expect(x, "4", "a.ts:6");');
    expect(code('console.log(await f()); // => 4')).toContain('.__expect(await f(), "4", "a.ts:5");');
  });

  it('refuses a promise that stands behind no statement', () => {
    expect(() => code('f(\n  1, // => 1\n);')).toThrow('1 "// =>" but 0');
  });
});

describe('expectValue', () => {
  it('takes expressions, what Node prints, and gaps', () => {
    expectValue([1, 2], '[1, 2]', '');
    expectValue(new Float32Array([1, 2]), '[1, 2]', '');
    expectValue(new Float32Array([1, 2]), 'Float32Array(2) [ 1, 2 ]', '');
    expectValue({ a: 'b' }, "{ a: 'b' }", '');
    expectValue(1 / 3, '0.333…', '');
    expectValue('text', 'text', '');
    expectValue(3n, '3n', '');
  });

  it('refuses another value and names the place', () => {
    expect(() => expectValue([1], '[2]', 'a.ts:3')).toThrow('a.ts:3: expected [2], got [ 1 ]');
    expect(() => expectValue(0.34, '0.333…', 'a')).toThrow();
  });
});

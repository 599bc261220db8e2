import { describe, expect, it } from 'vitest';
import { maxCodeLines, sourceProblems } from './check-source.ts';

const problemsOf = (text: string, file = 'packages/core/src/ir/a.ts'): readonly string[] =>
  sourceProblems([{ file, text }]);

describe('sourceProblems', () => {
  it('takes a non-null assertion of an array element and of nothing else', () => {
    expect(problemsOf('const x = data[i]! + (rows[a]![b]!) + list.at(-1)!;')).toEqual([]);
    expect(problemsOf('const [first] = list;\nconst x = first!;')).toEqual([]);
    expect(problemsOf('const x = map.get(k)!;')).toHaveLength(1);
  });

  it('refuses the clock and the generator of the platform', () => {
    expect(problemsOf('const a = Date.now() + Math.random();\nconst b = new Date();')).toEqual([
      "packages/core/src/ir/a.ts:1: Date.now makes runs differ; use the context's clock.",
      "packages/core/src/ir/a.ts:1: Math.random makes runs differ; use the context's rng.",
      'packages/core/src/ir/a.ts:2: new Date() makes runs differ; take the time from the context.',
    ]);
  });

  it('counts lines of code, not comments or blanks, and lets tables be long', () => {
    const long = 'f();\n'.repeat(maxCodeLines + 1);
    expect(problemsOf(long)).toHaveLength(1);
    expect(problemsOf(long, 'packages/onnx/src/onnx_pb.ts')).toEqual([]);
    expect(problemsOf(`/** ${'x\n * '.repeat(900)} */\n\n\n// c\nf();\n`)).toEqual([]);
  });

  it('refuses a note to self without an issue', () => {
    expect(problemsOf('// TODO: later\n// TODO(#3): tracked\n')).toHaveLength(1);
  });

  it('leaves tests alone', () => {
    expect(problemsOf('map.get(k)!; Date.now();', 'packages/core/src/ir/a.test.ts')).toEqual([]);
  });
});

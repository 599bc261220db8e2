import { describe, expect, it } from 'vitest';
import { layerProblems } from './check-layers.ts';

const problemsOf = (file: string, text: string): readonly string[] => layerProblems([{ file, text }]);

describe('layerProblems', () => {
  it('lets a folder of core import the layers below it', () => {
    expect(
      problemsOf('packages/core/src/ir/graph.ts', "import { Tensor } from '../tensor/tensor.ts';"),
    ).toEqual([]);
    expect(problemsOf('packages/core/src/ir/graph.ts', "import { Value } from './value.ts';")).toEqual([]);
  });

  it('refuses an import of a higher layer, of types too', () => {
    const problems = problemsOf('packages/core/src/ir/a.ts', "import type { Pass } from '../pass/pass.ts';");
    expect(problems).toEqual(['packages/core/src/ir/a.ts: core/ir may not import core/pass.']);
  });

  it('refuses the entry file from inside core', () => {
    expect(problemsOf('packages/core/src/ir/a.ts', "export * from '../index.ts';")).toHaveLength(1);
  });

  it('refuses a package that the table does not allow, by dynamic import too', () => {
    expect(problemsOf('packages/simplify/src/a.ts', "import { read } from '@lithe/onnx';")).toHaveLength(1);
    expect(problemsOf('packages/core/src/index.ts', "await import('@lithe/onnx/node');")).toHaveLength(1);
    expect(problemsOf('packages/onnx/src/a.ts', "import { Tensor } from '@lithe/core';")).toEqual([]);
  });

  it('refuses a path into another package', () => {
    const text = "import { x } from '../../core/src/index.ts';";
    expect(problemsOf('packages/onnx/src/a.ts', text)).toHaveLength(1);
  });

  it('refuses a folder or a package that nobody placed', () => {
    expect(problemsOf('packages/core/src/misc/a.ts', '')).toHaveLength(1);
    expect(problemsOf('packages/extra/src/a.ts', '')).toHaveLength(1);
  });

  it('leaves tests alone', () => {
    expect(problemsOf('packages/simplify/src/a.test.ts', "import { read } from '@lithe/onnx/node';")).toEqual(
      [],
    );
  });
});

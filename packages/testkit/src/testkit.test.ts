import {
  type Backend,
  definePass,
  GraphBuilder,
  type Model,
  type PassStep,
  ReportBuilder,
  Tensor,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { backendConformance } from './backend-conformance.ts';
import { numericGradient } from './numeric-gradient.ts';
import { type Gap, opCases } from './op-case.ts';
import { passConformance } from './pass-conformance.ts';
import { expectClose, toleranceOf } from './tolerance.ts';

const f32 = (...values: number[]): Tensor =>
  Tensor.from('float32', [values.length], Float32Array.from(values));
const failed = expect.objectContaining({ code: 'CONFORMANCE_FAILED' });

/** Runs a suite by hand: the names of its tests with what became of them. */
async function outcomes(
  register: (runner: Parameters<typeof collect>[0]) => void,
): Promise<Record<string, string>> {
  const tests: [string, () => void | Promise<void>][] = [];
  register({ tests });
  const results: Record<string, string> = {};
  for (const [name, body] of tests) {
    try {
      await body();
      results[name] = 'passed';
    } catch (error) {
      results[name] = (error as { code?: string }).code ?? String(error);
    }
  }
  return results;
}
const collect = (into: { tests: [string, () => void | Promise<void>][] }) => ({
  describe: (_name: string, body: () => void) => body(),
  it: (name: string, body: () => void | Promise<void>) => void into.tests.push([name, body]),
});
const failures = (results: Record<string, string>): string[] =>
  Object.keys(results).filter((name) => results[name] !== 'passed');

describe('backendConformance', () => {
  const relu = opCases('Relu', [
    { name: 'right', inputs: [f32(-1, 2)], expect: [f32(0, 2)] },
    { name: 'wrong', inputs: [f32(-1, 2)], expect: [f32(0, 3)] },
  ]);
  const suite = (
    gaps: readonly Gap[],
    backend: () => Backend = referenceBackend,
  ): Promise<Record<string, string>> =>
    outcomes((into) =>
      backendConformance(() => Promise.resolve(backend()), { ...collect(into), cases: relu, gaps }),
    );

  it('fails a case whose result differs', async () => {
    expect(failures(await suite([]))).toEqual(['Relu/wrong']);
  });

  it('accepts a gap that fails, and fails gaps that pass or cover nothing', async () => {
    const reason = 'It is wrong.';
    expect(failures(await suite([{ case: 'Relu/wr*', reason, issue: 1 }]))).toEqual([]);
    expect(failures(await suite([{ case: 'Relu/*', reason, issue: 1 }]))).toEqual(['Relu/right']);
    expect(
      failures(
        await suite([
          { case: 'Relu/wrong', reason, issue: 1 },
          { case: 'Conv/*', reason, issue: 2 },
        ]),
      ),
    ).toEqual(['has no gap that covers no case']);
  });

  it('catches backends that break the contract', async () => {
    const broken = (change: (backend: Backend) => Partial<Backend>): Promise<string[]> =>
      suite([{ case: 'Relu/wrong', reason: 'x', issue: 1 }], () => {
        const backend = referenceBackend();
        return Object.assign(
          Object.create(backend) as Backend,
          { [Symbol.asyncDispose]: () => backend.dispose() },
          change(backend),
        );
      }).then(failures);
    expect(await broken(() => ({ contract: 2 as 1 }))).toEqual(['says who it is']);
    expect(await broken(() => ({ supports: () => ({ ok: true }) }))).toEqual([
      'refuses operators that it does not know, naming the node',
    ]);
    expect(await broken(() => ({ stats: () => ({ executables: 0, liveTensors: 0, liveBytes: 0 }) }))).toEqual(
      ['lets go of all that it held'],
    );
    const forgetsSignal = await broken((backend) => ({
      compile: (model, { signal: _, ...rest } = {}) => backend.compile(model, rest),
    }));
    expect(forgetsSignal).toEqual(['stops when it is aborted']);
  });
});

describe('passConformance', () => {
  const options = { '~standard': { version: 1, vendor: 'test', validate: () => ({ value: {} }) } } as const;
  const step = (
    run: (draft: Model, report: ReportBuilder) => void,
    preserves: 'bitwise' | 'numerics' = 'numerics',
  ): PassStep =>
    definePass({
      name: 'test/pass',
      version: 1,
      summary: 'Is tested.',
      options,
      preserves,
      run: (draft, _options, context) => {
        context.signal.throwIfAborted();
        const report = new ReportBuilder();
        run(draft, report);
        return report.build();
      },
    })();
  const subject = {
    name: 'net',
    feeds: { x: f32(1, -2) },
    model: (): Promise<Model> => {
      const b = new GraphBuilder('net');
      b.output('y', b.op.Mul([b.input('x', 'float32', [2]), b.constant('w', f32(3, 4))]));
      return b.build();
    },
  };
  const suite = (one: () => PassStep): Promise<string[]> =>
    outcomes((into) => passConformance(one, [subject], collect(into))).then(failures);
  const scale = (draft: Model, report: ReportBuilder, factor: number): void => {
    const w = draft.graph.value('w');
    if (w !== undefined) draft.graph.setInitializer(w, f32(3 * factor, 4 * factor));
    report.apply('scale the weight');
  };

  it('passes a pass that does what it says', async () => {
    expect(await suite(() => step(() => undefined, 'bitwise'))).toEqual([]);
    const removesDocs = (draft: Model, report: ReportBuilder): void => {
      for (const node of draft.graph.nodes()) {
        if (node.name === 'renamed') continue;
        node.name = 'renamed';
        report.apply('rename the node');
      }
    };
    expect(await suite(() => step(removesDocs, 'bitwise'))).toEqual([]);
  });

  it('catches what a pass must not do', async () => {
    const drifts = await suite(() => step((draft, report) => scale(draft, report, 1.1)));
    expect(drifts).toEqual(['keeps outputs as close as it declares', 'changes nothing the second time']);
    let calls = 0;
    const wavers = await suite(() => step((draft, report) => scale(draft, report, 1 + 1e-5 * calls++)));
    expect(wavers).toContain('gives the same result again');
    const renames = await suite(() =>
      step((draft, report) => {
        const y = draft.graph.outputs[0];
        if (y?.name !== 'y') return;
        draft.graph.rename(y, 'z');
        report.apply('rename');
      }),
    );
    expect(renames).toContain('gives a valid model with the same interface');
  });
});

describe('numericGradient', () => {
  it('is right to nine digits for smooth functions', async () => {
    const at = new Float64Array([0.5, -2, 1000]);
    const gradient = await numericGradient(
      (x) => Math.sin(x[0] as number) * (x[1] as number) ** 2 + Math.log(x[2] as number),
      at,
    );
    const expected = [Math.cos(0.5) * 4, Math.sin(0.5) * 2 * -2, 1 / 1000];
    gradient.forEach((value, index) => {
      expect(Math.abs(value / (expected[index] as number) - 1)).toBeLessThan(1e-8);
    });
    expect([...at]).toEqual([0.5, -2, 1000]);
  });
});

describe('expectClose', () => {
  const close = (actual: Tensor, expected: Tensor, tolerance = toleranceOf('Relu', expected.dtype)): void =>
    expectClose(actual, expected, { label: 'case', tolerance });

  it('accepts rounding, equal infinities and NaN', () => {
    close(f32(1.000001, Number.NaN, Infinity), f32(1, Number.NaN, Infinity));
    close(Tensor.from('string', [1], ['a']), Tensor.from('string', [1], ['a']));
  });

  it('refuses another dtype, shape, element, and NaN beside a number', () => {
    expect(() => close(f32(1), Tensor.from('int8', [1], new Int8Array([1])))).toThrow(failed);
    expect(() => close(f32(1), f32(1, 2))).toThrow(failed);
    expect(() => close(f32(1.1), f32(1))).toThrow(failed);
    expect(() => close(f32(Number.NaN), f32(1))).toThrow(failed);
    expect(() => close(f32(1), f32(Infinity))).toThrow(failed);
    expect(() => close(Tensor.from('string', [1], ['a']), Tensor.from('string', [1], ['b']))).toThrow(failed);
  });

  it('is exact for whole numbers, but lets quantizers round either way', () => {
    expect(toleranceOf('Add', 'int32')).toEqual({ absolute: 0, relative: 0 });
    expect(toleranceOf('QuantizeLinear', 'uint8')).toEqual({ absolute: 1, relative: 0 });
    expect(toleranceOf('MatMul', 'float32').relative).toBeGreaterThan(toleranceOf('Add', 'float32').relative);
  });
});

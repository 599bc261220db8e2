import { describe, expect, it } from 'vitest';
import { arrayDataset } from '../data/array-dataset.ts';
import { isLitheError } from '../errors/lithe-error.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { tensorType } from '../ir/types.ts';
import { referenceBackend } from '../reference/index.ts';
import { Tensor } from '../tensor/tensor.ts';
import { definePass, type StandardOptions } from './define-pass.ts';
import { optimize } from './optimize.ts';
import type { Pass, PassSpec, Preservation } from './pass.ts';
import { ReportBuilder } from './report.ts';

/** y = x * factor */
function scaleModel(factor: number): Model {
  const graph = new Graph();
  const x = graph.addInput('x', tensorType('float32', ['N', 2]));
  const scale = graph.addInitializer('scale', Tensor.from('float32', [], Float32Array.of(factor)));
  const node = graph.addNode({ opType: 'Mul', inputs: [x, scale] }, [
    { name: 'y', type: tensorType('float32', ['N', 2]) },
  ]);
  graph.setOutputs([node.output()]);
  return new Model({ graph });
}

const anyOptions: StandardOptions<{ readonly to?: number }, { readonly to: number }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => {
      const { to = 2 } = value as { readonly to?: number };
      return typeof to === 'number'
        ? { value: { to } }
        : { issues: [{ message: 'must be a number', path: ['to'] }] };
    },
  },
};

type TestPass = Pass<{ readonly to?: number }, { readonly to: number }>;

/** Sets the factor of {@link scaleModel}. */
function setScale(
  preserves: Preservation,
  more: Partial<PassSpec<{ readonly to?: number }, { readonly to: number }>> = {},
): TestPass {
  return definePass({
    name: 'test/set-scale',
    version: 3,
    summary: 'Sets the factor.',
    options: anyOptions,
    preserves,
    run: (draft, { to }) => {
      const report = new ReportBuilder();
      const scale = draft.graph.value('scale');
      if (scale !== undefined)
        draft.graph.setInitializer(scale, Tensor.from('float32', [], Float32Array.of(to)));
      report.apply('set "scale"');
      return report.build();
    },
    ...more,
  });
}

const data = arrayDataset({ inputs: { x: Tensor.from('float32', [2, 2], Float32Array.of(1, -2, 3, 4)) } });

async function factorOf(model: Model): Promise<number> {
  const tensor = await model.graph.value('scale')?.initializer?.load();
  return (tensor as Tensor<'float32'>).data[0] as number;
}

describe('optimize', () => {
  it('changes a copy and leaves the given model as it was', async () => {
    const model = scaleModel(2);
    const { model: changed, report } = await optimize(model, [setScale('accuracy')({ to: 5 })]);
    expect(await factorOf(model)).toBe(2);
    expect(await factorOf(changed)).toBe(5);
    expect(report.steps[0]).toMatchObject({
      pass: 'test/set-scale',
      version: 3,
      options: { to: 5 },
      changed: true,
    });
    expect(report.steps[0]?.unchecked).toBe('no backend and data to check with');
  });

  it('flattens nested lists and passes over falsy entries', async () => {
    const step = setScale('accuracy')({ to: 3 });
    const { report } = await optimize(scaleModel(2), [[step, [false, null]], undefined, step]);
    expect(report.steps).toHaveLength(2);
  });

  it('measures the drift of each pass on real inputs', async () => {
    await using backend = referenceBackend();
    const { report } = await optimize(scaleModel(2), [setScale('accuracy')({ to: 3 })], { backend, data });
    // x * 2 against x * 3 on 1, -2, 3, 4: largest difference 4, largest output 8.
    expect(report.steps[0]?.check).toMatchObject({ maxAbs: 4, maxRelative: 0.5 });
  });

  it('refuses a pass that changes results more than it declares', async () => {
    await using backend = referenceBackend();
    const run = optimize(scaleModel(2), [setScale('numerics')({ to: 2.1 })], { backend, data });
    await expect(run).rejects.toMatchObject({ code: 'PASS_DRIFT' });
    const bitwise = optimize(scaleModel(2), [setScale('bitwise')({ to: 2.0000002384185791 })], {
      backend,
      data,
    });
    await expect(bitwise).rejects.toMatchObject({ code: 'PASS_DRIFT' });
  });

  it('names everything a pass needs and does not get, before anything runs', async () => {
    let ran = false;
    const pass = setScale('accuracy', {
      needs: ['data', 'target'],
      run: () => {
        ran = true;
        return new ReportBuilder().build();
      },
    });
    const run = optimize(scaleModel(2), [setScale('accuracy')(), pass()]);
    await expect(run).rejects.toMatchObject({ code: 'PASS_NEEDS', details: { missing: ['data', 'target'] } });
    expect(ran).toBe(false);
  });

  it('lists every precondition that does not hold', async () => {
    const never = { name: 'never', check: () => ['First problem.', 'Second problem.'] };
    const run = optimize(scaleModel(2), [setScale('accuracy', { requires: [never] })()]);
    await expect(run).rejects.toMatchObject({
      code: 'PASS_PRECONDITION',
      message: expect.stringContaining('Second problem.'),
    });
  });

  it('wraps what a pass throws with its name and step, and keeps the cause', async () => {
    const cause = new Error('the reason');
    const pass = setScale('accuracy', {
      run: () => {
        throw cause;
      },
    });
    const error = await optimize(scaleModel(2), [setScale('accuracy')(), pass()]).catch(
      (reason: unknown) => reason,
    );
    expect(isLitheError(error, 'PASS_FAILED')).toBe(true);
    expect(error).toMatchObject({ cause, details: { pass: 'test/set-scale', step: 2 } });
  });

  it('blames a pass that leaves a graph which does not verify', async () => {
    const pass = setScale('accuracy', {
      run: (draft) => {
        const x = draft.graph.value('x') ?? null;
        draft.graph.addNode({ opType: 'Add', inputs: [x] });
        return { changed: true, applied: ['broke it'], skipped: [], metrics: {} };
      },
    });
    const error = await optimize(scaleModel(2), [pass()]).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'PASS_FAILED', cause: { code: 'MODEL_INVALID' } });
  });

  it('refuses a pass that edits and says it did not', async () => {
    const pass = setScale('accuracy', {
      run: (draft) => {
        draft.graph.rename(draft.graph.inputs[0] as never, 'z');
        return { changed: false, applied: [], skipped: [], metrics: {} };
      },
    });
    await expect(optimize(scaleModel(2), [pass()])).rejects.toMatchObject({ cause: { code: 'INTERNAL' } });
  });

  it('passes an abort through unwrapped', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const pass = setScale('accuracy', {
      run: (_draft, _options, context) => {
        controller.abort(reason);
        context.signal.throwIfAborted();
        return new ReportBuilder().build();
      },
    });
    await expect(optimize(scaleModel(2), [pass()], { signal: controller.signal })).rejects.toBe(reason);
  });

  it('keeps the model itself when no pass changed it', async () => {
    const model = scaleModel(2);
    const pass = setScale('accuracy', { run: () => new ReportBuilder().build() });
    const { model: same, report } = await optimize(model, [pass()]);
    expect(same).toBe(model);
    expect(report.steps[0]?.unchecked).toBe('the pass changed nothing');
  });

  it('says which option is wrong when a step is made', () => {
    expect(() => setScale('accuracy')({ to: 'three' as unknown as number })).toThrow(
      /"to": must be a number/,
    );
  });

  it('refuses a backend that speaks another version of the contract', async () => {
    await using backend = referenceBackend();
    const future = { ...backend, contract: 2 as unknown as 1 };
    await expect(optimize(scaleModel(2), [], { backend: future })).rejects.toMatchObject({
      code: 'CONTRACT_MISMATCH',
    });
  });

  it('refuses a check without the means for it', async () => {
    await expect(optimize(scaleModel(2), [], { check: 'required' })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });

  it('hands on the tables that a pass reports', async () => {
    const table = {
      title: 'error of each layer',
      columns: [
        { name: 'layer', unit: '' },
        { name: 'error', unit: 'dB' },
      ],
      rows: [['conv1', 31.5]],
    };
    const step = setScale('accuracy', {
      run: () => {
        const report = new ReportBuilder();
        report.table('layers', table);
        return report.build();
      },
    })();
    const { report } = await optimize(scaleModel(2), [step, setScale('accuracy')()]);
    expect(report.steps.map(({ tables }) => tables)).toEqual([{ layers: table }, undefined]);
  });
});

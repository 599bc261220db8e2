import { htmlReport, parseRecipe, planRecipe, type RunReport, readRunReport, runRecipe } from '@lithe/cli';
import { GraphBuilder, Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';
import { saveOnnx } from '@lithe/onnx/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lithe } from '../lithe.ts';
import { makeWorkplace } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());

/** Kinds of ten samples: 5 of 0, 3 of 1, 2 of 2. Their `label` is the kind after it. */
const kinds = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2];

const whole = (values: readonly number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));

/** `constant` always says 0; `logits` says the kind. */
async function writeTwoHeads(): Promise<void> {
  const b = new GraphBuilder('heads');
  const x = b.input('x', 'float32', ['N', 3]);
  const matrix = (name: string, values: readonly number[]) =>
    b.constant(name, Tensor.from('float32', [3, 3], Float32Array.from(values)));
  b.output('constant', b.op.MatMul([x, matrix('first', [1, 0, 0, 1, 0, 0, 1, 0, 0])]));
  b.output('logits', b.op.MatMul([x, matrix('eye', [1, 0, 0, 0, 1, 0, 0, 0, 1])]));
  await saveOnnx(await b.build(), place.at('heads.onnx'));
}

beforeAll(async () => {
  await writeTwoHeads();
  const x = new Float32Array(30);
  for (const [sample, kind] of kinds.entries()) x[sample * 3 + kind] = 1;
  const arrays = { x: Tensor.from('float32', [10, 3], x), kind: whole(kinds) };
  place.write('heads.npz', writeNpz({ ...arrays, label: whole(kinds.map((kind) => (kind + 1) % 3)) }));
  place.write('kinds.npz', writeNpz(arrays));
});

const recipe = (metric: string, data = 'data: { test: heads.npz }'): string => `recipe: 1
plugins: [lithe-plugin-x]
model: heads.onnx
${data}
${metric}
target: { name: node-cpu, rounds: 0 }
steps:
  - use: x/scale
    with: { factor: 2 }
`;

const run = (metric: string): Promise<RunReport> =>
  runRecipe(parseRecipe(recipe(metric), place.at('heads.yaml')), { folder: place.at('heads.run') });

const figures = ({ seeds: [seed] }: RunReport): unknown => [seed?.original.metric, seed?.steps[0]?.metric];

describe('the metric of a recipe', () => {
  const first =
    'The model has 2 outputs, "constant", "logits", and the metric is taken on the first. Name the one that counts: metric.output.';

  it('compares the output and the target that are named, and figures of others are not taken over', async () => {
    // All in one run folder, one after the other.
    const plain = await run('');
    // Label 0 is kind 2: 2 of 10.
    expect(figures(plain)).toEqual([0.2, 0.2]);
    expect(plain).toMatchObject({ warnings: [first], scored: { output: 'constant', label: 'label' } });
    const kind = await run('metric: { label: kind }');
    expect(figures(kind)).toEqual([0.5, 0.5]);
    expect(kind.warnings).toEqual([first]);
    const logits = await run('metric: { output: logits }');
    expect(figures(logits)).toEqual([0, 0]);
    expect(logits.warnings).toEqual([]);
    const both = await run('metric: { output: logits, label: kind }');
    expect(figures(both)).toEqual([1, 1]);
    // The models themselves are none of the metric's business.
    expect(both.seeds[0]?.steps[0]?.resumed).toBe(true);
    expect(both).toMatchObject({ warnings: [], scored: { output: 'logits', label: 'kind' } });
    expect(await readRunReport(place.at('heads.run'))).toMatchObject({ scored: both.scored });
    expect(await htmlReport(both)).toContain(
      'accuracy of &quot;logits&quot; against &quot;kind&quot; on 10 samples',
    );
  });

  it('needs no array "label" where another is named', async () => {
    const planned = (metric: string): Promise<unknown> =>
      planRecipe(
        parseRecipe(recipe(metric, 'data: { train: kinds.npz, test: kinds.npz }'), place.at('r.yaml')),
      );
    await planned('metric: { output: logits, label: kind }');
    await expect(planned('')).rejects.toThrow(':4:16: The data has no labels.');
  });

  it.each([
    [
      'metric: { output: logit }',
      ':5:19: There is no output "logit" here. Did you mean "logits"? Known are "constant", "logits".',
    ],
    [
      'metric: { label: kinds }',
      ':5:18: There is no target "kinds" here. Did you mean "kind"? Known are "kind", "label".',
    ],
    ['metric: { outputs: logits }', ':5:11: There is no key "outputs" here. Did you mean "output"?'],
  ])('says where %s is wrong', async (metric, problem) => {
    await expect(Promise.resolve().then(() => run(metric))).rejects.toThrow(problem);
  });

  it('says that without data there is none', async () => {
    const text = recipe('metric: { output: logits }', 'data: { calibration: heads.npz }');
    await expect(planRecipe(parseRecipe(text, place.at('r.yaml')))).rejects.toThrow(
      ':5:1: There is nothing to take the metric on: give data.test.',
    );
  });

  it('is told by --dry-run', async () => {
    const path = place.write('dry.yaml', recipe(''));
    const { out } = await lithe('run', path, '--dry-run');
    expect(out).toMatch(/^metric +accuracy of "constant" against "label"$/m);
    expect(out).toContain(`warning: ${first}`);
    const named = place.write('named.yaml', recipe('metric: { output: logits, label: kind }'));
    const json = await lithe('run', named, '--dry-run', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ metric: { output: 'logits', label: 'kind', warnings: [] } });
  });
});

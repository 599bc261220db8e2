import { parseRecipe, planRecipe } from '@lithe/cli';
import { isLitheError, Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lithe } from '../lithe.ts';
import { makeWorkplace, model } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());
beforeAll(() => {
  place.write('samples/deep/one.png', '');
  place.write('unlabelled.npz', writeNpz({ x: Tensor.from('float32', [2, 4], new Float32Array(8)) }));
  place.write(
    'node_modules/no-plugin/package.json',
    '{ "name": "no-plugin", "type": "module", "exports": "./i.js" }',
  );
  place.write('node_modules/no-plugin/i.js', 'export const passes = [];');
  place.write(
    'node_modules/broken/package.json',
    '{ "name": "broken", "type": "module", "exports": "./i.js" }',
  );
  place.write('node_modules/broken/i.js', 'throw new Error("broken on import");');
  place.write('node_modules/odd/package.json', '{ "name": "odd", "type": "module", "exports": "./i.js" }');
  place.write('node_modules/odd/i.js', 'export const plugin = { name: "odd", passes: [{ name: "odd/a" }] };');
  place.write('node_modules/twin/package.json', '{ "name": "twin", "type": "module", "exports": "./i.js" }');
  place.write('node_modules/twin/i.js', 'export { plugin } from "lithe-plugin-x";');
});

const head = `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ndata: { train: train.npz, test: test.npz }\n`;
const step = 'steps:\n  - use: x/scale\n';

/** Everything that is wrong with a recipe: `line:column message`. */
async function problemsOf(text: string): Promise<string> {
  try {
    await planRecipe(parseRecipe(text, place.at('r.yaml')), { cwd: place.folder });
    return '';
  } catch (error) {
    if (!isLitheError(error, 'RECIPE_INVALID')) throw error;
    const problems = error.details['problems'] as { line: number; column: number; message: string }[];
    return problems.map(({ line, column, message }) => `${line}:${column} ${message}`).join('\n');
  }
}

describe('a recipe that cannot be run', () => {
  it.each<[what: string, text: string, problem: string]>([
    [
      'a version to come',
      'recipe: 2\nnews: true\n',
      '1:9 The recipe is of version 2; this version of Lithe reads up to 1.',
    ],
    ['no version', `${model}\n${step}`, '1:1 "recipe": Invalid input: expected 1.'],
    ['something else', '- recipe\n', '1:1 A recipe is a map of keys: "recipe", "model", "steps", ….'],
    [
      'an unknown key',
      `${head}stepps: 1\n${step}`,
      '5:1 There is no key "stepps" here. Did you mean "steps"?',
    ],
    [
      'an unknown key deep inside',
      `${head}target: { name: node-cpu, thread: 2 }\n${step}`,
      '5:27 There is no key "thread" here. Did you mean "threads"? Known are "name", "threads", "batches", "rounds".',
    ],
    [
      'rounds that are too few',
      `${head}target: { name: node-cpu, rounds: 5 }\n${step}`,
      '5:35 "target.rounds": Must be 0, or at least 6: fewer have no 95 % interval.',
    ],
    [
      'an unknown key of a step',
      `${head}${step}    with: {}\n    option: 1\n`,
      '8:5 There is no key "option" here. Known are "name", "use", "from", "control", "with".',
    ],
    [
      'a wrong type',
      `${head}seed: one\n${step}`,
      '5:7 "seed": Invalid input: expected number, received string.',
    ],
    [
      'a wrong type in data',
      `recipe: 1\n${model}\ndata:\n  train: { path: a, samples: -1 }\n${step}`,
      '4:30 "data.train.samples": Too small: expected number to be >=1.',
    ],
    [
      'a key that none of several forms has',
      `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: { paht: a.onnx }\n${step}`,
      '3:10 There is no key "paht" here. Known are "path", "shapes", "values", "network", "with".',
    ],
    [
      'a value of none of several forms',
      `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: 3\n${step}`,
      '3:8 "model": It must be a path; or Invalid input: expected object, received number.',
    ],
    [
      'a batch size that is none',
      `${head}limits: { minSpeedup: { 0: 2 } }\n${step}`,
      '5:25 "limits.minSpeedup.0": It must be a batch size.',
    ],
    [
      'a key that objects would swallow',
      `${head}steps:\n  - use: x/scale\n    with: { __proto__: { factor: 2 } }\n`,
      '7:13 A key cannot be "__proto__".',
    ],
    [
      'samples for calibration from nowhere',
      `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ndata: { test: test.npz, calibration: { samples: 8 } }\n${step}`,
      '4:25 Without data.train there is nothing to take samples from: give a path.',
    ],
    [
      'samples of data.train that would be read in another way',
      `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ndata: { train: train.npz, calibration: { samples: 8, part: a } }\n${step}`,
      '4:54 Samples without a path of their own are those of data.train, as they are read there: "part" needs a path.',
    ],
    ['no steps', `${head}steps: []\n`, '5:8 "steps": Too small: expected array to have >=1 items.'],
    [
      'an unknown target',
      `${head}target: toaster\n${step}`,
      '5:9 "target": Invalid option: expected one of "node-cpu"|"wasm"|"webgpu"',
    ],
    ['seed and seeds', `${head}seed: 1\nseeds: [1, 2]\n${step}`, '6:1 Give "seed" or "seeds", not both.'],
    ['a seed twice', `${head}seeds: [1, 2, 1]\n${step}`, '5:15 Seed 1 is there twice.'],
    [
      'a missing plugin',
      `recipe: 1\nplugins:\n  - lithe-plugin-x\n  - lithe-plugin-y\n${model}\n${step}`,
      '4:5 Plugin "lithe-plugin-y" is not installed: npm install lithe-plugin-y',
    ],
    [
      'a package that is no plugin',
      `recipe: 1\nplugins: [lithe-plugin-x, no-plugin]\n${model}\n${step}`,
      '2:27 Plugin "no-plugin" cannot be used: it exports no `plugin`; see definePlugin() of @lithe/core.',
    ],
    [
      'a plugin that breaks',
      `recipe: 1\nplugins: [lithe-plugin-x, broken]\n${model}\n${step}`,
      '2:27 Plugin "broken" cannot be used: importing it failed: broken on import.',
    ],
    [
      'a plugin of odd passes',
      `recipe: 1\nplugins: [lithe-plugin-x, odd]\n${model}\n${step}`,
      '2:27 Plugin "odd" cannot be used: pass 1 of its `plugin` is not made by definePass().',
    ],
    [
      'two plugins with one pass',
      `recipe: 1\nplugins: [lithe-plugin-x, twin]\n${model}\n${step}`,
      '2:27 Plugin "twin" has passes that another one has: "x/scale", "x/count", "x/blend", "x/fail", "x/hungry", "x/odd", "x/astray", "x/straight", "x/wrong".',
    ],
    [
      'a plugin by path',
      `recipe: 1\nplugins: [../evil.js]\n${model}\n${step}`,
      '2:11 "plugins.0": It must be the name of a package.',
    ],
    [
      'an unknown pass',
      `${head}steps:\n  - use: x/scael\n`,
      '6:10 There is no pass "x/scael" here. Did you mean "x/scale"?',
    ],
    [
      'a pass of another version',
      `${head}steps:\n  - use: x/scale@3\n`,
      '6:10 Pass "x/scale" is installed in version 2, not 3.',
    ],
    [
      'an unknown option',
      `${head}steps:\n  - use: x/scale\n    with:\n      factor: 2\n      faktor: 3\n`,
      '9:15 "faktor": x knows no "faktor".',
    ],
    [
      'an option of the wrong type',
      `${head}steps:\n  - use: x/scale\n    with: { factor: much }\n`,
      '7:21 "factor": must be a number.',
    ],
    [
      'options of a pass with zod',
      `recipe: 1\nplugins: ['@lithe/simplify']\n${model}\nsteps:\n  - use: simplify/simplify\n    with: { growthByte: 3 }\n`,
      '6:13 There is no key "growthByte" here. Did you mean "growthBytes"?',
    ],
    [
      'a step name twice',
      `${head}steps:\n  - { name: a, use: x/scale }\n  - { name: a, use: x/scale }\n`,
      '7:13 Step "a" is there twice.',
    ],
    [
      'the name of the original',
      `${head}steps:\n  - { name: original, use: x/scale }\n`,
      '6:13 "original" is the name of the model that the recipe starts from.',
    ],
    [
      'a step name that is a path',
      `${head}steps:\n  - { name: ../../x, use: x/scale }\n`,
      '6:13 "steps.0.name": It must be a name of at most 64 letters',
    ],
    [
      'an unknown step',
      `${head}steps:\n  - use: x/scale\n    from: teecher\n`,
      '7:11 There is no step "teecher" here. Known are "original".',
    ],
    [
      'a later step',
      `${head}steps:\n  - { use: x/scale, from: b }\n  - { name: b, use: x/scale }\n`,
      '6:27 There is no step "b" here. Known are "original". "b" is not before this step.',
    ],
    [
      'an unknown baseline',
      `${head}baseline: teacher\n${step}`,
      '5:11 There is no step "teacher" here. Known are "original", "scale".',
    ],
    [
      'an unknown result',
      `${head}result: scael\n${step}`,
      '5:9 There is no step "scael" here. Did you mean "scale"?',
    ],
    [
      'controls alone',
      `${head}steps:\n  - { use: x/scale, control: true }\n`,
      '6:3 Every step is a control; name the result.',
    ],
    [
      'a teacher that is not there',
      `recipe: 1\nplugins: ['@lithe/distillation']\n${model}\ndata: { train: train.npz }\nsteps:\n  - use: distillation/distil\n    with: { epochs: 1, learningRate: 0.1, teacher: [original, teecher], terms: [{ loss: logits, temperature: 2 }] }\n`,
      '7:63 There is no step "teecher" here. Known are "original".',
    ],
    [
      'training without data',
      `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\nsteps:\n  - use: x/count\n`,
      '5:10 Pass "x/count" needs labelled samples to train on: give data.train.',
    ],
    [
      'calibration without data',
      `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\nsteps:\n  - use: x/hungry\n`,
      '5:10 Pass "x/hungry" needs samples: give data.calibration or data.train.',
    ],
    [
      'a limit that needs a metric',
      `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\nlimits: { maxDrop: 0.1 }\n${step}`,
      '4:11 A loss of the metric cannot be measured without data.test.',
    ],
    [
      'a limit at a batch that is not measured',
      `${head}limits:\n  minSpeedup: { 64: 2 }\n${step}`,
      '6:17 Latency is not measured at batch 64, only at 1 (target.batches).',
    ],
    [
      'an unknown network',
      `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: { network: cnm }\n${step}`,
      '3:19 There is no network "cnm" here. Did you mean "cnn"?',
    ],
    [
      'an unknown option of a network',
      `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: { network: cnn, with: { class: 3 } }\n${step}`,
      '3:32 There is no key "class" here. Did you mean "classes"? Known are "classes", "image".',
    ],
    [
      'a network of more weights than memory holds',
      `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: { network: mlp, with: { inputs: 1000000, hidden: [1000000] } }\n${step}`,
      '3:8 Options of the network are not valid: With "linear1.weight" of shape [1000000, 1000000] it has more than 536870912 weights.',
    ],
    [
      'a network of inputs that memory does not hold',
      `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: { network: resnet20, with: { image: [1, 1000000, 1000000] } }\n${step}`,
      '3:8 Random inputs cannot be made. Input "x" of shape [?, 1, 1000000, 1000000] is too large.',
    ],
    ['a missing model', `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: gone.onnx\n${step}`, '3:8 File "'],
    [
      'missing data',
      `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ndata:\n  test: gone.npz\n${step}`,
      '5:9 File "',
    ],
    [
      'an output that is data',
      `${head}output: ./train.npz\n${step}`,
      '5:9 The output is data.train. Inputs are never overwritten.',
    ],
    [
      'an output that is the recipe',
      `${head}output: r.yaml\n${step}`,
      '5:9 The output is the recipe. Inputs are never overwritten.',
    ],
    [
      'an output among samples',
      `${head.replace('test.npz', 'test.npz, calibration: samples')}output: samples/deep/small.onnx\n${step}`,
      '5:9 The output lies in data.calibration. Inputs are never overwritten.',
    ],
    [
      'data without labels',
      `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ndata: { test: unlabelled.npz }\n${step}`,
      '4:15 The data has no labels.',
    ],
  ])('%s: is an error with its place', async (_what, text, problem) => {
    const found = await problemsOf(text);
    expect(found.slice(0, problem.length)).toBe(problem);
    expect(found.split('\n')).toHaveLength(1);
  });

  it('says of passes whose plugin is missing no more than that they are not there', async () => {
    const found = await problemsOf(`recipe: 1\nplugins: [lithe-plugin-y]\n${model}\n${step}`);
    expect(found).toBe(
      '2:11 Plugin "lithe-plugin-y" is not installed: npm install lithe-plugin-y\n5:10 There is no pass "x/scale" here.',
    );
    expect(await problemsOf(`recipe: 1\n${model}\n${step}`)).toBe(
      '4:10 There is no pass "x/scale" here. No plugin is listed under "plugins".',
    );
  });

  it('finds the plugin that the recipe is a part of, as a module there would', async () => {
    const exported = '"type": "module", "exports": "./i.js"';
    place.write('own/package.json', `{ "name": "lithe-plugin-own", ${exported} }`);
    place.write('own/i.js', 'export { plugin } from "lithe-plugin-x";');
    const text = `recipe: 1\nplugins: [lithe-plugin-own]\n${model}\n${step}`;
    const plan = (path: string): Promise<unknown> =>
      planRecipe(parseRecipe(text, place.at(path)), { cwd: place.folder });
    expect(await plan('own/examples/r.yaml')).toMatchObject({ steps: [{ use: 'x/scale' }] });
    // Of another name, without exports, or not the nearest one: it is not seen from there.
    place.write('own/other/package.json', `{ "name": "other", ${exported} }`);
    await expect(plan('own/other/r.yaml')).rejects.toThrow('"lithe-plugin-own" is not installed');
    place.write('own/closed/package.json', '{ "name": "lithe-plugin-own" }');
    await expect(plan('own/closed/r.yaml')).rejects.toThrow('"lithe-plugin-own" is not installed');
  });

  it('names everything that is wrong at once, in the order of the text', async () => {
    const text = `${head}limits: { minSpeedup: { 2: 2 } }\nsteps:\n  - { use: x/scale, with: { a: 1, b: 2 } }\n  - { use: x/none }\n`;
    expect(await problemsOf(text)).toBe(
      [
        '5:25 Latency is not measured at batch 2, only at 1 (target.batches).',
        '7:32 "a": x knows no "a".',
        '7:38 "b": x knows no "b".',
        '8:12 There is no pass "x/none" here. Known are "x/scale", "x/count", "x/blend", "x/fail", "x/hungry", "x/odd", "x/astray", "x/straight", "x/wrong".',
      ].join('\n'),
    );
  });

  it('gives names to steps without one', async () => {
    const text = `${head}steps:\n  - use: x/scale\n  - { use: x/scale, name: scale-2 }\n  - use: x/scale\n`;
    const plan = await planRecipe(parseRecipe(text, place.at('r.yaml')));
    expect(plan.steps.map(({ name, from }) => [name, from])).toEqual([
      ['scale', null],
      ['scale-2', 'scale'],
      ['scale-3', 'scale-2'],
    ]);
    expect(plan).toMatchObject({ baseline: 'original', result: 'scale-3', seeds: [0], output: null });
  });

  it('ends the command with code 2, and says where on stderr', async () => {
    const path = place.write('wrong.yaml', `${head}seed: one\n${step}`);
    const call = await lithe('run', path);
    expect(call).toMatchObject({ code: 2, out: '' });
    expect(call.err).toContain(`${path}:5:7: "seed": Invalid input`);
    expect(await lithe('run', place.at('gone.yaml'))).toMatchObject({ code: 1 });
    expect(await lithe('run')).toMatchObject({ code: 2 });
    const missing = await lithe(
      'run',
      place.write('missing.yaml', `recipe: 1\nplugins: [a-plugin-that-is-not]\n${model}\n${step}`),
    );
    expect(missing.code).toBe(2);
    expect(missing.err).toContain('npm install a-plugin-that-is-not');
  });
});

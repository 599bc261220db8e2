import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { parseRecipe, readRecipe, runRecipe } from '@lithe/cli';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { afterAll, describe, expect, it } from 'vitest';
import { lithe } from '../lithe.ts';
import { recipeHead as head, makeWorkplace, model } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());

describe('--report', () => {
  it('overwrites nothing that the recipe reads or the run writes, and nothing runs', async () => {
    const given = parseRecipe(`${head}steps:\n  - use: x/scale\n`, place.at('recipe.yaml'));
    await runRecipe(given, { folder: place.at('read') });
    const whole = await loadOnnx(place.at('read', 'seed-0/01-scale.onnx'));
    await saveOnnx(whole, place.at('read.onnx'), { externalData: 'always', externalTensorBytes: 1 });
    const path = place.write(
      'reads.yaml',
      `${head.replace(model, 'model: read.onnx')}output: written.onnx\nsteps:\n  - use: x/scale\n`,
    );
    symlinkSync(place.at('train.npz'), place.at('link.html'));
    const taken = {
      'reads.yaml': 'is the recipe',
      'read.onnx': 'is the model itself',
      'read.onnx_data': 'is external data of the model',
      'train.npz': 'is data.train',
      'test.npz': 'is data.test',
      'link.html': 'is data.train',
      'written.onnx': 'is the output',
      'reads.run/report.json': 'is report.json of the run',
      'reads.run/seed-0/01-scale.onnx': 'lies in the models of the run',
    };
    mkdirSync(place.at('reads.run/seed-0'), { recursive: true });
    const before = Object.keys(taken).map(
      (name) => existsSync(place.at(name)) && readFileSync(place.at(name)),
    );
    for (const [name, conflict] of Object.entries(taken)) {
      const call = await lithe('run', path, '--report', place.at(name));
      expect(call).toMatchObject({ code: 2, out: '' });
      expect(call.err).toContain(`The report "${place.at(name)}" ${conflict}.`);
    }
    const after = Object.keys(taken).map(
      (name) => existsSync(place.at(name)) && readFileSync(place.at(name)),
    );
    expect(after).toEqual(before);
    expect(readdirSync(place.at('reads.run/seed-0'))).toEqual([]);
  });
});

describe('--dry-run', () => {
  const text = `${head}seeds: [0, 1]\nsteps:\n  - { name: first, use: x/count }\n  - { use: x/scale, control: true }\n`;

  it('tells the plan and what is there, and writes nothing', async () => {
    const path = place.write(
      'dry/recipe.yaml',
      text.replaceAll('.npz', '.npz').replace(/(train|test)\.npz/g, '../$1.npz'),
    );
    const before = readdirSync(place.at('dry'));
    const call = await lithe('run', path, '--dry-run');
    expect(call).toMatchObject({ code: 0, err: '' });
    expect(readdirSync(place.at('dry'))).toEqual(before);
    expect(call.out).toContain('nothing was run, nothing was written');
    expect(call.out).toMatch(/1 +first +original +x\/count@1 +training-data +no/);
    expect(call.out).toMatch(/2 +scale \(control\) +first +x\/scale@2 +no/);
    expect(call.out).toContain('mlp: 67 weights, 56 MACs a sample');
    await runRecipe(await readRecipe(path), { seed: 1 });
    const after = await lithe('run', path, '--dry-run');
    expect(after.out).toMatch(/first +original +x\/count@1 +training-data +seed 1/);
    const json = await lithe('run', path, '--dry-run', '--json', '--seed', '1');
    expect(JSON.parse(json.out)).toMatchObject({
      seeds: [1],
      model: { source: 'mlp', bytes: null, parameters: 67, macs: 56 },
      data: { train: { samples: 96 }, calibration: { samples: 96 } },
      steps: [
        { name: 'first', there: [1] },
        { name: 'scale', use: 'x/scale@2', there: [1] },
      ],
      result: 'first',
    });
  });

  it('prints the schema for editors', async () => {
    const call = await lithe('run', '--schema');
    const schema = JSON.parse(call.out) as {
      properties: object;
      required: string[];
      additionalProperties: boolean;
    };
    expect(Object.keys(schema.properties)).toContain('steps');
    expect(schema).toMatchObject({ required: ['recipe', 'model', 'steps'], additionalProperties: false });
  });
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createRng, Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';

/** A folder for one test file, with a plugin, data and a way to write recipes. */
export interface Workplace {
  /** The folder. */
  readonly folder: string;
  /** A path in it. */
  at(...parts: readonly string[]): string;
  /** Writes a file in it and gives its path. */
  write(name: string, contents: string | Uint8Array): string;
  /** Removes it. */
  remove(): void;
}

/** Makes a folder with the plugin `lithe-plugin-x` and the data `train.npz` and `test.npz`. */
export function makeWorkplace(): Workplace {
  const folder = mkdtempSync(join(tmpdir(), 'lithe-recipe-'));
  const at = (...parts: readonly string[]): string => join(folder, ...parts);
  const write = (name: string, contents: string | Uint8Array): string => {
    mkdirSync(dirname(at(name)), { recursive: true });
    writeFileSync(at(name), contents);
    return at(name);
  };
  write(
    'node_modules/lithe-plugin-x/package.json',
    '{ "name": "lithe-plugin-x", "version": "1.0.0", "type": "module", "exports": "./index.js" }',
  );
  write('node_modules/lithe-plugin-x/index.js', pluginSource);
  write('train.npz', blobs(96, 1));
  write('test.npz', blobs(64, 2));
  return { folder, at, write, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Three classes of points around three corners, four numbers a sample. */
function blobs(samples: number, seed: number): Uint8Array {
  const rng = createRng(seed);
  const x = new Float32Array(samples * 4);
  const label = new BigInt64Array(samples);
  for (let sample = 0; sample < samples; sample++) {
    const kind = sample % 3;
    label[sample] = BigInt(kind);
    for (let axis = 0; axis < 4; axis++) x[sample * 4 + axis] = (axis === kind ? 2 : 0) + 0.5 * rng.normal();
  }
  return writeNpz({
    x: Tensor.from('float32', [samples, 4], x),
    label: Tensor.from('int64', [samples], label),
  });
}

/** The model of all recipes here: 4 numbers, 8 hidden, 3 classes. */
export const model = 'model: { network: mlp, with: { inputs: 4, hidden: [8], classes: 3 } }';

/** The beginning of a recipe with the plugin and the data here, whose latency is not measured; steps follow. */
export const recipeHead: string = `recipe: 1
plugins: [lithe-plugin-x]
${model}
data: { train: train.npz, test: test.npz }
target: { name: node-cpu, rounds: 0 }
`;

/**
 * A plugin as a third party writes one, in plain JavaScript, without a package of ours:
 * - `x/scale` multiplies all weights by `factor`;
 * - `x/count` adds up samples for `steps` steps of `delay` milliseconds, keeps a checkpoint after each, and adds the sum
 *   and a number from the seed to all weights;
 * - `x/blend` takes the mean of its own weights and those of the model that it is told;
 * - `x/astray` makes a model that loads and does not run, `x/straight` mends it;
 * - `x/fail` fails.
 */
const pluginSource = `
import { setTimeout } from 'node:timers/promises';

const schema = (rules) => ({
  '~standard': {
    version: 1,
    vendor: 'x',
    validate: (given) => {
      const issues = [];
      for (const key of Object.keys(given)) if (!(key in rules)) issues.push({ message: 'x knows no "' + key + '"', path: [key] });
      for (const [key, rule] of Object.entries(rules)) {
        if (given[key] !== undefined && typeof given[key] !== typeof rule) issues.push({ message: 'must be a ' + typeof rule, path: [key] });
      }
      return issues.length > 0 ? { issues } : { value: { ...rules, ...given } };
    },
  },
});

const definePass = (spec) => {
  const from = (options = {}) => {
    const { value } = spec.options['~standard'].validate(options);
    return {
      name: spec.name, version: spec.version, summary: spec.summary, options: value, needs: spec.needs ?? [],
      preserves: spec.preserves, requires: [], ensures: [], run: (draft, context) => spec.run(draft, value, context),
    };
  };
  return Object.assign((options) => from(options), { spec, from });
};

async function change(draft, formula) {
  const applied = [];
  for (const value of [...draft.graph.initializers]) {
    const tensor = await value.initializer.load();
    if (tensor.dtype !== 'float32') continue;
    const data = await formula(tensor.data, value.name);
    draft.graph.setInitializer(value, tensor.constructor.from('float32', tensor.shape, Float32Array.from(data)));
    applied.push('change ' + value.name);
  }
  return { changed: true, applied, skipped: [], metrics: { weights: { value: applied.length, unit: '' } } };
}

export const scale = definePass({
  name: 'x/scale', version: 2, summary: 'Multiplies all weights.', preserves: 'accuracy', options: schema({ factor: 1 }),
  run: (draft, { factor }) => change(draft, (data) => data.map((one) => one * factor)),
});

export const count = definePass({
  name: 'x/count', version: 1, summary: 'Counts for a while.', preserves: 'accuracy', needs: ['training-data'],
  options: schema({ steps: 4, delay: 0 }),
  run: async (draft, { steps, delay }, context) => {
    const store = context.store('state / of the count');
    const kept = await store.read();
    let { step, sum } = kept === undefined ? { step: 0, sum: 0 } : JSON.parse(new TextDecoder().decode(kept));
    const resumedAt = step;
    for (; step < steps; ) {
      context.signal.throwIfAborted();
      for await (const batch of context.trainingData.batches({ batchSize: 32, limit: 32 })) sum += batch.inputs.x.data[step];
      sum += context.rng.fork(String(step)).next();
      step++;
      await store.write(new TextEncoder().encode(JSON.stringify({ step, sum })));
      context.progress({ task: 'count', done: step, total: steps });
      if (delay > 0) await setTimeout(delay);
    }
    const report = await change(draft, (data) => data.map((one) => one + 1e-3 * sum));
    return { ...report, metrics: { ...report.metrics, 'resumed at': { value: resumedAt, unit: 'steps' }, never: { value: NaN, unit: '' } } };
  },
});

export const blend = definePass({
  name: 'x/blend', version: 1, summary: 'Takes the mean with another model.', preserves: 'accuracy', options: schema({ other: 'original' }),
  run: async (draft, { other }, context) => {
    const model = await context.modelNamed(other);
    const weights = new Map();
    for (const value of model.graph.initializers) weights.set(value.name, (await value.initializer.load()).data);
    return change(draft, (data, name) => data.map((one, index) => (one + weights.get(name)[index]) / 2));
  },
});

export const fail = definePass({
  name: 'x/fail', version: 1, summary: 'Fails.', preserves: 'accuracy', options: schema({}),
  run: () => { throw new Error('the disk is made of cheese'); },
});

export const hungry = definePass({
  name: 'x/hungry', version: 1, summary: 'Needs inputs.', preserves: 'accuracy', needs: ['data'], options: schema({}),
  run: (draft) => change(draft, (data) => data),
});

export const odd = definePass({
  name: 'x/odd', version: 1, summary: 'Puts an operator in front that no runtime has.', preserves: 'accuracy', options: schema({}),
  run: (draft) => {
    const input = draft.graph.inputs[0];
    const uses = [...input.uses];
    draft.opsetImports.set('x', 1);
    const node = draft.graph.addNode({ opType: 'Cheese', domain: 'x', inputs: [input] }, [{ type: input.type }], { before: uses[0].node });
    for (const use of uses) draft.graph.setInput(use.node, use.index, node.outputs[0]);
    return { changed: true, applied: ['cheese'], skipped: [], metrics: {} };
  },
});

export const astray = definePass({
  name: 'x/astray', version: 1, summary: 'Looks up what is not there.', preserves: 'accuracy', options: schema({}),
  run: async (draft) => {
    const { graph } = draft;
    const [input] = graph.inputs;
    const [weight] = graph.initializers;
    const { constructor: Tensor } = await weight.initializer.load();
    const where = graph.addInitializer('where', Tensor.from('int64', [1, 1], BigInt64Array.of(9n)));
    const first = input.uses[0].node;
    const found = graph.addNode({ opType: 'GatherElements', inputs: [input, where], attributes: { axis: { kind: 'int', value: 1n } } }, [{ type: { ...input.type, shape: [1, 1] } }], { before: first });
    const sum = graph.addNode({ opType: 'Add', inputs: [input, found.outputs[0]] }, [{ type: input.type }], { before: first });
    graph.setInput(first, 0, sum.outputs[0]);
    return { changed: true, applied: ['astray'], skipped: [], metrics: {} };
  },
});

export const straight = definePass({
  name: 'x/straight', version: 1, summary: 'Undoes x/astray.', preserves: 'accuracy', options: schema({}),
  run: async (draft) => {
    const where = [...draft.graph.initializers].find((value) => value.name === 'where');
    const { constructor: Tensor } = await where.initializer.load();
    draft.graph.setInitializer(where, Tensor.from('int64', [1, 1], BigInt64Array.of(0n)));
    return { changed: true, applied: ['straight'], skipped: [], metrics: {} };
  },
});

export const wrong = definePass({
  name: 'x/wrong', version: 1, summary: 'Promises not to change anything, and does.', preserves: 'bitwise', options: schema({}),
  run: (draft) => change(draft, (data) => data.map((one) => one + 1)),
});

export const plugin = { name: 'lithe-plugin-x', passes: [scale, count, blend, fail, hungry, odd, astray, straight, wrong] };
`;

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, inferShapes, type Model, measureLatency, modelCost, optimize } from '@lithe/core';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { type CriterionName, prune } from '@lithe/pruning';
import { simplify } from '@lithe/simplify';
import { accuracyOn, fashionMnist, loadTrainedModel, type TrainedName } from '@lithe-internal/models';
import { fresh, train } from './recover.ts';

/** Epochs and learning rate of the original, and of recovery. */
const settings = {
  'fashion-cnn': { epochs: 8, learningRate: 0.002, recovery: 4, recoveryRate: 0.001 },
  'fashion-mobilenet-v2': { epochs: 10, learningRate: 0.005, recovery: 5, recoveryRate: 0.002 },
  'fashion-resnet': { epochs: 6, learningRate: 0.005, recovery: 4, recoveryRate: 0.002 },
} as const satisfies Readonly<Record<TrainedName, object>>;

/** What is measured of one seed. */
interface Seed {
  readonly seed: number;
  readonly before: number;
  readonly tuned: number;
  readonly distilled: number;
  readonly scratch: number;
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * Prunes a trained network to half of its channels and recovers it, beside the same small network trained from
 * scratch, for several seeds: `--model fashion-cnn|fashion-mobilenet-v2|fashion-resnet`, `--criterion l2`, `--ratio 0.5`,
 * `--seeds 3`, `--threads 1`, `--out .out/pruning`. Trained networks are kept there: a run that was stopped goes on.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      model: { type: 'string', default: 'fashion-cnn' },
      criterion: { type: 'string', default: 'l2' },
      ratio: { type: 'string', default: '0.5' },
      seeds: { type: 'string', default: '3' },
      threads: { type: 'string', default: '1' },
      out: { type: 'string', default: '.out/pruning' },
    },
  });
  const name = values.model as TrainedName;
  const backend = await onnxruntimeNode({ threads: Number(values.threads) });
  const run = new PruningRun(name, {
    backend,
    criterion: values.criterion as CriterionName,
    ratio: Number(values.ratio),
    folder: values.out,
  });
  const seeds: Seed[] = [];
  for (let seed = 0; seed < Number(values.seeds); seed++) seeds.push(await run.seed(seed));
  await run.report(seeds);
  await backend.dispose();
  return 0;
}

interface RunSettings {
  readonly backend: Backend;
  readonly criterion: CriterionName;
  readonly ratio: number;
  readonly folder: string;
}

class PruningRun {
  readonly #name: TrainedName;
  readonly #settings: RunSettings;

  constructor(name: TrainedName, run: RunSettings) {
    this.#name = name;
    this.#settings = run;
  }

  async pruned(seed: number): Promise<Model> {
    const { criterion, ratio } = this.#settings;
    const step = prune({ criterion, ratio });
    return (await optimize(await loadTrainedModel(this.#name), [step], { seed })).model;
  }

  async seed(seed: number): Promise<Seed> {
    const { backend } = this.#settings;
    const { epochs, learningRate, recovery, recoveryRate } = settings[this.#name];
    const [images, held] = [await fashionMnist('train'), await fashionMnist('test')];
    const dense = await loadTrainedModel(this.#name);
    const small = await this.pruned(seed);
    const accuracy = (model: Model): Promise<number> => accuracyOn(model, backend, held);
    const log = (what: string) => (line: string) =>
      process.stderr.write(`${this.#name}, seed ${seed}, ${what}: ${line}\n`);
    const base = { backend, images, seed };
    const again = { ...base, epochs: recovery, learningRate: recoveryRate };
    const tuned = await this.#kept(`tuned-${seed}`, () => train(small, { ...again, log: log('fine-tuned') }));
    const distilled = await this.#kept(`distilled-${seed}`, () =>
      train(small, { ...again, teacher: dense, log: log('distilled') }),
    );
    const scratch = await this.#kept(`scratch-${seed}`, () =>
      train(fresh(small, seed), { ...base, epochs, learningRate, log: log('from scratch') }),
    );
    return {
      seed,
      before: await accuracy(small),
      tuned: await accuracy(tuned),
      distilled: await accuracy(distilled),
      scratch: await accuracy(scratch),
    };
  }

  /** A network from an earlier run, or made and kept. */
  async #kept(what: string, make: () => Promise<Model>): Promise<Model> {
    const { criterion, ratio, folder } = this.#settings;
    const file = path.join(folder, `${this.#name}-${criterion}-${ratio}-${what}.onnx`);
    const known = await readFile(file).catch(() => undefined);
    if (known !== undefined) return await loadOnnx(file);
    await mkdir(folder, { recursive: true });
    const model = await make();
    await saveOnnx(model, `${file}.tmp.onnx`);
    await rename(`${file}.tmp.onnx`, file);
    return model;
  }

  async report(seeds: readonly Seed[]): Promise<void> {
    const { backend, criterion, ratio, folder } = this.#settings;
    const dense = await loadTrainedModel(this.#name);
    const held = await fashionMnist('test');
    const before = await accuracyOn(dense, backend, held);
    const small = await this.pruned(0);
    const cost = async (model: Model): Promise<{ macs: number; parameters: number }> => {
      const copy = model.clone();
      await inferShapes(copy);
      const { macs, parameters } = modelCost(copy, { dims: { N: 1 } });
      return { macs, parameters };
    };
    const [whole, part] = [await cost(dense), await cost(small)];
    const speedup = await this.#speedup(dense, small);
    const lines = [
      `${this.#name}, ${criterion}, ${percent(ratio)} of the channels: original ${percent(before)} of 10,000 held-out images`,
      `${(whole.macs / part.macs).toFixed(2)}x fewer multiplications, ${(whole.parameters / part.parameters).toFixed(2)}x fewer parameters, ${speedup} as fast at batch 64`,
      'seed   pruned   fine-tuned   distilled   from scratch',
      ...seeds.map(
        ({ seed, before: raw, tuned, distilled, scratch }) =>
          `${seed}     ${percent(raw)}     ${percent(tuned)}     ${percent(distilled)}     ${percent(scratch)}`,
      ),
      ...(['tuned', 'distilled', 'scratch'] as const).map((kind) => {
        const mean = meanOf(seeds.map((one) => one[kind]));
        return `${kind}: mean ${percent(mean)}, ${(100 * (mean - before)).toFixed(2)} points from the original`;
      }),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
    await mkdir(folder, { recursive: true });
    await writeFile(
      path.join(folder, `${this.#name}-${criterion}-${ratio}.json`),
      JSON.stringify({ before, whole, part, speedup, seeds }, null, 2),
    );
  }

  /** Both simplified, as they would be shipped, at batch 64. */
  async #speedup(dense: Model, small: Model): Promise<string> {
    const { backend } = this.#settings;
    const { x } = await fashionMnist('test', 64);
    const entries = await Promise.all(
      [dense, small].map(async (model, index) => ({
        name: index === 0 ? 'original' : 'pruned',
        executable: await backend.compile((await optimize(model, [simplify()].flat())).model),
      })),
    );
    const { comparisons } = await measureLatency(entries, { x }, { rounds: 31 });
    const [{ speedup, interval } = { speedup: Number.NaN, interval: { low: Number.NaN, high: Number.NaN } }] =
      comparisons;
    return `${speedup.toFixed(2)}x (${interval.low.toFixed(2)} to ${interval.high.toFixed(2)})`;
  }
}

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
  'fashion-resnet': { epochs: 6, learningRate: 0.005, recovery: 6, recoveryRate: 0.005 },
} as const satisfies Readonly<Record<TrainedName, object>>;

/** What is measured of one seed. */
interface Seed {
  readonly seed: number;
  readonly before: number;
  /** Accuracy of each arm that was run. */
  readonly after: Readonly<Partial<Record<Arm, number>>>;
}

/** What becomes of the pruned network: trained on, trained on beside the original, or trained from fresh weights. */
const arms = { tuned: 'fine-tuned', distilled: 'distilled', scratch: 'from scratch' } as const;
type Arm = keyof typeof arms;

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * Prunes a trained network to half of its channels and recovers it, beside the same small network trained from
 * scratch, for several seeds: `--model fashion-cnn|fashion-mobilenet-v2|fashion-resnet`, `--criterion l2`, `--ratio 0.5`,
 * `--seeds 3`, `--arms tuned,distilled,scratch`, `--threads 1`, `--out .out/pruning`. Trained networks are kept there: a run that was stopped goes on.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      model: { type: 'string', default: 'fashion-cnn' },
      criterion: { type: 'string', default: 'l2' },
      ratio: { type: 'string', default: '0.5' },
      seeds: { type: 'string', default: '3' },
      arms: { type: 'string', default: Object.keys(arms).join(',') },
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
    arms: (Object.keys(arms) as Arm[]).filter((arm) => values.arms.split(',').includes(arm)),
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
  readonly arms: readonly Arm[];
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
    const make: Readonly<Record<Arm, () => Promise<Model>>> = {
      tuned: () => train(small, { ...again, log: log('fine-tuned') }),
      distilled: () => train(small, { ...again, teacher: dense, log: log('distilled') }),
      scratch: async () =>
        train(await fresh(small, seed), { ...base, epochs, learningRate, log: log('from scratch') }),
    };
    const after: Partial<Record<Arm, number>> = {};
    for (const arm of this.#settings.arms) {
      after[arm] = await accuracy(await this.#kept(`${arm}-${seed}`, make[arm]));
    }
    return { seed, before: await accuracy(small), after };
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
      `seed   pruned   ${this.#settings.arms.map((arm) => arms[arm]).join('   ')}`,
      ...seeds.map(
        ({ seed, before: raw, after }) =>
          `${seed}     ${[raw, ...this.#settings.arms.map((arm) => after[arm] ?? Number.NaN)].map(percent).join('     ')}`,
      ),
      ...this.#settings.arms.map((arm) => {
        const mean = meanOf(seeds.map((one) => one.after[arm] ?? Number.NaN));
        return `${arms[arm]}: mean ${percent(mean)}, ${(100 * (mean - before)).toFixed(2)} points from the original`;
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

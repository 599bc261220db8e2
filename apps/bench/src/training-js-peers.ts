import { cpus } from 'node:os';
import { onnxruntimeNode, onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { type Backend, createRng, type Model, Tensor } from '@lithe/core';
import { cnn, crossEntropy, mlp, resnet20, sgd, trainingStep, transformerEncoder } from '@lithe/training';
import { jaxJs } from './training-js-peers-jax.ts';
import type { Peer, PeerModel, PeerRequest } from './training-js-peers-models.ts';
import { tfjs } from './training-js-peers-tfjs.ts';

/** One library on one network. */
interface Row {
  readonly model: string;
  readonly batch: number;
  readonly library: string;
  /** Median of the steps; the first, which compiles, is left out where there are several. */
  readonly milliseconds: number | string;
  readonly steps: number;
  /** Its time over that of Lithe in onnxruntime-node in the same round, median. */
  readonly ratio: number | string;
  /** Largest difference of its losses before the first two steps from Lithe's in onnxruntime-node. */
  readonly difference: number | string;
}

const LEARNING_RATE = 0.01;

/** Time after which a library is not asked for another step. */
const ENOUGH_MILLISECONDS = 20_000;

/** What needs many minutes for a step of the full batch, and is left out unless a smaller batch is asked for. */
const left: ReadonlySet<string> = new Set(['tfjs cpu resnet20', 'tfjs cpu transformer']);

const models: Readonly<Record<PeerModel, { readonly make: () => Promise<Model>; readonly batch: number }>> = {
  cnn: { make: () => cnn(), batch: 64 },
  resnet20: { make: () => resnet20(), batch: 128 },
  mlp: { make: () => mlp(), batch: 128 },
  transformer: { make: () => transformerEncoder({ width: 256, heads: 4, length: 64, depth: 4 }), batch: 16 },
};

const median = (values: readonly number[]): number =>
  [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Lithe in a runtime, as a peer of its own. */
function lithe(name: string, backend: Backend): Peer {
  return {
    name,
    prepare: async ({ model, input, labels }) => {
      const step = await trainingStep(await models[model].make(), {
        loss: crossEntropy({ logits: 'logits' }),
        optimizer: sgd({ weightDecay: 0 }),
      });
      const executable = await backend.compile(step.model, { state: step.state });
      const feeds = {
        [model === 'transformer' ? 'tokens' : 'x']: input,
        label: labels,
        [step.learningRate]: Tensor.from('float32', [], Float32Array.of(LEARNING_RATE)),
      };
      return async () => {
        const results = await executable.run(feeds, { outputs: [step.loss] });
        return results[step.loss]?.toFloat64Array()[0] ?? Number.NaN;
      };
    },
  };
}

async function requestOf(model: PeerModel, batch: number): Promise<PeerRequest> {
  const network = await models[model].make();
  const { parameters } = await trainingStep(network, {
    loss: crossEntropy({ logits: 'logits' }),
    optimizer: sgd(),
  });
  const weights: Record<string, Tensor> = {};
  for (const name of parameters) {
    const source = network.graph.value(name)?.initializer;
    if (source !== undefined) weights[name] = await source.load();
  }
  const rng = createRng(1);
  const shape = { cnn: [3, 32, 32], resnet20: [3, 32, 32], mlp: [784], transformer: [64] }[model];
  const size = shape.reduce((left, right) => left * right, batch);
  const whole = (length: number, below: number): BigInt64Array =>
    BigInt64Array.from({ length }, () => BigInt(rng.integer(below)));
  const input =
    model === 'transformer'
      ? Tensor.from('int64', [batch, ...shape], whole(size, 1000))
      : Tensor.from(
          'float32',
          [batch, ...shape],
          Float32Array.from({ length: size }, () => rng.normal()),
        );
  return {
    model,
    weights,
    input,
    labels: Tensor.from('int64', [batch], whole(batch, 10)),
    rate: LEARNING_RATE,
  };
}

/** A peer in the run: its steps, or what it said when it could not. */
interface Runner {
  readonly peer: Peer;
  readonly losses: number[];
  readonly times: number[];
  /** Steps it takes however long they are. */
  readonly least: number;
  step?: () => Promise<number>;
  spent: number;
  failure?: string | undefined;
}

async function takeStep(runner: Runner, request: PeerRequest): Promise<void> {
  if (
    runner.failure !== undefined ||
    (runner.spent > ENOUGH_MILLISECONDS && runner.losses.length >= runner.least)
  )
    return;
  try {
    runner.step ??= await runner.peer.prepare(request);
    const start = performance.now();
    runner.losses.push(await runner.step());
    const took = performance.now() - start;
    runner.times.push(took);
    runner.spent += took;
  } catch (error) {
    runner.failure = error instanceof Error ? error.message.split('\n')[0] : String(error);
  }
}

async function compare(
  model: PeerModel,
  peers: readonly Peer[],
  options: { batch: number | undefined; rounds: number },
): Promise<readonly Row[]> {
  const { batch = models[model].batch } = options;
  const request = await requestOf(model, batch);
  const runners = peers.map(
    (peer): Runner => ({
      peer,
      losses: [],
      times: [],
      spent: 0,
      // Two, of which the first compiles; one of the slowest library, unless a batch of one's own makes it affordable.
      least: options.batch === undefined && peer.name === 'tfjs cpu' ? 1 : 2,
      ...(options.batch === undefined && left.has(`${peer.name} ${model}`)
        ? { failure: 'left out: many minutes a step; see --batch' }
        : {}),
    }),
  );
  for (let round = 0; round < options.rounds; round++)
    for (const runner of runners) await takeStep(runner, request);
  const [own] = runners;
  return runners.map(({ peer, losses, times, failure }): Row => {
    const ratios = times.map((time, round) => time / (own?.times[round] ?? Number.NaN));
    const later = (values: readonly number[]): readonly number[] =>
      values.length > 1 ? values.slice(1) : values;
    const difference = Math.max(
      ...losses.slice(0, 2).map((loss, step) => Math.abs(loss - (own?.losses[step] ?? 0))),
    );
    return {
      model,
      batch,
      library: peer.name,
      milliseconds: failure ?? Number(median(later(times)).toFixed(1)),
      steps: times.length,
      ratio: failure === undefined ? Number(median(later(ratios)).toFixed(2)) : '-',
      difference: failure === undefined ? Number(difference.toExponential(1)) : '-',
    };
  });
}

/**
 * One step of gradient descent (forward, backward, update) in Lithe beside TensorFlow.js and jax-js: same networks, weights,
 * batch and threads, in rounds that take turns. Words pick networks (`cnn`, `resnet20`, `mlp`, `transformer`);
 * `--threads 2`, `--rounds 10`, `--batch N` for another batch than that of the comparison with PyTorch, `--without WORD`
 * leaves out libraries with that in their name, `--json`. A library that has used 20 seconds takes no further
 * step: tfjs on its CPU backend then takes a single one of the CNN, and two with `--batch`, where the losses of two steps
 * are compared.
 */
export async function main(args: readonly string[]): Promise<number> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? undefined : args[at + 1];
  };
  const threads = Number(option('threads') ?? '2');
  const without = option('without');
  const node = await onnxruntimeNode({ threads, idleWorkers: 0 });
  const web = await onnxruntimeWeb({ threads, idleWorkers: 0 });
  const all = [
    lithe(`lithe, onnxruntime-node ${node.version}`, node),
    lithe(`lithe, onnxruntime-web ${web.version}`, web),
    await tfjs('wasm', threads),
    await jaxJs(),
    await tfjs('cpu', threads),
  ];
  const peers = all.filter(
    ({ name }, index) => index === 0 || without === undefined || !name.includes(without),
  );
  const rows: Row[] = [];
  const names = Object.keys(models) as PeerModel[];
  for (const model of names) {
    if (names.some((name) => args.includes(name)) && !args.includes(model)) continue;
    const given = option('batch');
    const batch = given === undefined ? undefined : Number(given);
    const found = await compare(model, peers, { batch, rounds: Number(option('rounds') ?? '10') });
    rows.push(...found);
    if (!args.includes('--json')) console.table(found);
  }
  const device = `${cpus()[0]?.model ?? 'unknown'}, ${threads} threads`;
  if (args.includes('--json')) process.stdout.write(`${JSON.stringify({ device, rows }, null, 2)}\n`);
  await node.dispose();
  await web.dispose();
  return 0;
}

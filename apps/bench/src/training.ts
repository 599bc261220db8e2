import { spawn } from 'node:child_process';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { createRng, type Executable, type Feeds, type Model, Tensor } from '@lithe/core';
import {
  adam,
  cnn,
  crossEntropy,
  mlp,
  type Optimizer,
  resnet20,
  sgd,
  trainingStep,
  transformerEncoder,
} from '@lithe/training';

interface Subject {
  readonly name: string;
  readonly model: () => Promise<Model>;
  readonly optimizer: Optimizer;
  readonly input: Feeds;
  readonly batch: number;
}

/** A training step beside PyTorch's. */
interface Row {
  readonly model: string;
  readonly litheMs: number;
  readonly torchMs: number;
  /** Lithe's time over PyTorch's, median of the rounds; below 1 is faster. */
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** Where a step's time goes. */
interface Share {
  readonly model: string;
  readonly op: string;
  readonly percent: number;
  readonly nodes: number;
}

function normal(shape: readonly number[], seed: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
  for (let index = 0; index < data.length; index++) data[index] = rng.normal();
  return Tensor.from('float32', shape, data);
}

function whole(shape: readonly number[], below: number, seed: number): Tensor<'int64'> {
  const rng = createRng(seed);
  const size = shape.reduce((left, right) => left * right, 1);
  const data = BigInt64Array.from({ length: size }, () => BigInt(Math.floor(rng.next() * below)));
  return Tensor.from('int64', shape, data);
}

function subjects(): readonly Subject[] {
  return [
    {
      name: 'cnn',
      model: () => cnn(),
      optimizer: adam(),
      input: { x: normal([64, 3, 32, 32], 1) },
      batch: 64,
    },
    {
      name: 'resnet20',
      model: () => resnet20(),
      optimizer: sgd({ momentum: 0.9 }),
      input: { x: normal([128, 3, 32, 32], 1) },
      batch: 128,
    },
    { name: 'mlp', model: () => mlp(), optimizer: adam(), input: { x: normal([128, 784], 1) }, batch: 128 },
    {
      name: 'transformer',
      model: () => transformerEncoder({ width: 256, heads: 4, length: 64, depth: 4 }),
      optimizer: adam(),
      input: { tokens: whole([16, 64], 1000, 1) },
      batch: 16,
    },
  ];
}

/** PyTorch in a process of its own: it answers one line per request. */
class Torch {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  constructor(python: string, threads: number, cpu: boolean) {
    const script = fileURLToPath(new URL('training.py', import.meta.url));
    const args = [script, String(threads), ...(cpu ? ['cpu'] : [])];
    this.#child = spawn(python, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async read(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true)
      throw new Error('PyTorch ended; is torch installed for the interpreter of --python?');
    return JSON.parse(line.value);
  }

  async time(name: string, runs: number): Promise<readonly number[]> {
    this.#child.stdin.write(`${name} ${runs}\n`);
    return (await this.read()) as readonly number[];
  }

  end(): void {
    this.#child.stdin.end();
  }
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

const rounded = (value: number): number => Number(value.toFixed(3));

async function feedsOf(subject: Subject, learningRate: string): Promise<Feeds> {
  return {
    ...subject.input,
    label: whole([subject.batch], 10, 2),
    [learningRate]: Tensor.from('float32', [], Float32Array.of(1e-4)),
  };
}

/** Milliseconds of a step: the median by the clock, or the mean by the processor time of this process. */
async function ownTime(executable: Executable, feeds: Feeds, runs: number, cpu: boolean): Promise<number> {
  if (!cpu) return median([...(await executable.time(feeds, { runs, warmup: 1 }))]);
  const before = process.cpuUsage();
  await executable.time(feeds, { runs, warmup: 0 });
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / runs;
}

async function compare(
  subject: Subject,
  executable: Executable,
  feeds: Feeds,
  torch: Torch,
  { rounds, cpu }: { readonly rounds: number; readonly cpu: boolean },
): Promise<Row> {
  const first = await executable.time(feeds, { runs: 2, warmup: 2 });
  await torch.time(subject.name, 4);
  const runs = Math.max(2, Math.min(20, Math.round(150 / median([...first]))));
  const lithe: number[] = [];
  const other: number[] = [];
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const own = await ownTime(executable, feeds, runs, cpu);
    const theirs = median((await torch.time(subject.name, runs + 1)).slice(1));
    lithe.push(own);
    other.push(theirs);
    ratios.push(own / theirs);
  }
  const sorted = [...ratios].sort((left, right) => left - right);
  return {
    model: subject.name,
    litheMs: rounded(median(lithe)),
    torchMs: rounded(median(other)),
    ratio: rounded(median(ratios)),
    low: rounded(sorted[Math.floor(rounds / 4)] ?? Number.NaN),
    high: rounded(sorted[Math.floor((3 * rounds) / 4)] ?? Number.NaN),
  };
}

/**
 * Times one training step (forward, backward, update) in onnxruntime-node beside PyTorch on the CPU, same networks,
 * batches and threads, in rounds that take turns. `--python` names an interpreter that has torch, `--threads` and
 * `--rounds` are numbers, `--cpu` compares processor time instead of the clock (one thread, on a machine that others use),
 * `--profile` shows operators instead, `--json` prints an object, a word picks one model.
 */
export async function main(args: readonly string[]): Promise<number> {
  const option = (name: string, fallback: string): string => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? fallback : (args[at + 1] ?? fallback);
  };
  const threads = Number(option('threads', '2'));
  const rounds = Number(option('rounds', '15'));
  const profiling = args.includes('--profile');
  const cpu = args.includes('--cpu');
  const torch = profiling ? undefined : new Torch(option('python', 'python3'), threads, cpu);
  const about = await torch?.read();
  const backend = await onnxruntimeNode({ threads });
  const rows: Row[] = [];
  const shares: Share[] = [];
  for (const subject of subjects()) {
    if (subjects().some(({ name }) => args.includes(name)) && !args.includes(subject.name)) continue;
    const step = await trainingStep(await subject.model(), {
      loss: crossEntropy({ logits: 'logits' }),
      optimizer: subject.optimizer,
    });
    const executable = await backend.compile(step.model, { state: step.state, extra: { profiling } });
    const feeds = await feedsOf(subject, step.learningRate);
    if (torch === undefined) {
      await executable.time(feeds, { runs: 10 });
      const { nodes, microseconds } = await executable.profile();
      const byOp = new Map<string, (typeof nodes)[number][]>();
      for (const node of nodes) byOp.set(node.op, [...(byOp.get(node.op) ?? []), node]);
      for (const [op, list] of byOp) {
        const spent = list.reduce((sum, node) => sum + node.microseconds, 0);
        const percent = Number(((100 * spent) / microseconds).toFixed(1));
        if (percent >= 1) shares.push({ model: subject.name, op, percent, nodes: list.length });
      }
    } else rows.push(await compare(subject, executable, feeds, torch, { rounds, cpu }));
    await executable.dispose();
  }
  torch?.end();
  shares.sort((left, right) => left.model.localeCompare(right.model) || right.percent - left.percent);
  const result = profiling ? shares : rows;
  const device = `${cpus()[0]?.model ?? 'unknown'}, ${threads} threads`;
  if (args.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ device, runtime: backend.version, about, result }, null, 2)}\n`);
  } else console.table(result);
  await backend.dispose();
  return 0;
}

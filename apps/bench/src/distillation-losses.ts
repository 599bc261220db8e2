import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  type Backend,
  createRng,
  elementsOf,
  type Feeds,
  GraphBuilder,
  type Model,
  Tensor,
} from '@lithe/core';
import {
  attentionTransfer,
  correlationDistillation,
  type DistillationLoss,
  decoupledDistillation,
  distillation,
  hintDistillation,
  logitDistillation,
  relationalDistillation,
  relationDistillation,
  similarityPreserving,
  teacherModel,
} from '@lithe/distillation';
import { sgd, trainingStep } from '@lithe/training';
import { runPython } from './python-peer.ts';

const tap = { student: 'f', teacher: 'f' };

/** Each term, and which features it looks at. */
const terms: Readonly<Record<string, readonly [DistillationLoss, 'logits' | 'images' | 'rows' | 'values']>> =
  {
    'soft targets': [logitDistillation(tap), 'logits'],
    standardized: [logitDistillation({ ...tap, temperature: 2, standardize: true }), 'logits'],
    decoupled: [decoupledDistillation(tap), 'logits'],
    correlation: [correlationDistillation({ ...tap, temperature: 4 }), 'logits'],
    hint: [hintDistillation(tap), 'rows'],
    'attention transfer': [attentionTransfer(tap), 'images'],
    similarity: [similarityPreserving(tap), 'images'],
    relations: [relationalDistillation(tap), 'rows'],
    'value relations': [relationDistillation(tap), 'values'],
  };

/** A model that hands input `name` out as `f`, plus a weight of its shape: the gradient by that is the gradient by `f`. */
async function leaf(name: string, feeds: Feeds, learns: boolean): Promise<Model> {
  const b = new GraphBuilder(`leaf-${name}`);
  let out = null;
  for (const [input, tensor] of Object.entries(feeds)) {
    const value = b.input(input, 'float32', tensor.shape);
    if (input === name) out = value;
  }
  const { shape } = feeds[name] as Tensor;
  const zeros = Tensor.from('float32', shape, new Float32Array(elementsOf(shape)));
  b.output('f', learns ? b.op.Add([out, b.constant('offset', zeros)]) : b.op.Identity([out]));
  return await b.build();
}

interface Result {
  readonly loss: number;
  readonly gradient: readonly number[];
}

/** Loss and gradient: after one step of plain descent at rate 1 the weight is minus the gradient. */
async function ours(
  loss: DistillationLoss,
  pair: readonly Tensor[],
  labels: Tensor,
  backend: Backend,
): Promise<Result> {
  const [s, t] = pair as readonly [Tensor, Tensor];
  const step = await trainingStep(await leaf('s', { s, t }, true), {
    loss: distillation({ teacher: await teacherModel(await leaf('t', { t }, false)), terms: [{ loss }] }),
    optimizer: sgd({ momentum: 0 }),
    trainable: ['offset'],
  });
  await using executable = await backend.compile(step.model, { state: step.state });
  const one = Tensor.from('float32', [], Float32Array.of(1));
  const feeds: Record<string, Tensor> = { s, t, [step.learningRate]: one };
  if (executable.inputNames.includes('label')) feeds['label'] = labels;
  const results = await executable.run(feeds);
  const { offset } = await executable.readState(['offset']);
  return {
    loss: results[step.loss]?.toFloat64Array()[0] ?? Number.NaN,
    gradient: [...(offset?.toFloat64Array() ?? [])].map((value) => -value),
  };
}

/**
 * Compares the losses of @lithe/distillation and their gradients with PyTorch's: `--python FILE` names an interpreter
 * that has torch. Fails when one differs by more than 1e-5 of the largest.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { python: { type: 'string', default: 'python3' } },
  });
  const rng = createRng(0);
  const draw = (shape: readonly number[]): Tensor =>
    Tensor.from(
      'float32',
      shape,
      Float32Array.from({ length: elementsOf(shape) }, () => rng.normal()),
    );
  const pairs = {
    logits: [draw([16, 10]), draw([16, 10])],
    images: [draw([8, 6, 5, 5]), draw([8, 4, 5, 5])],
    rows: [draw([12, 20]), draw([12, 20])],
    values: [draw([3, 4, 7, 8]), draw([3, 4, 7, 16])],
  };
  const labels = Array.from({ length: 16 }, () => rng.integer(10));
  const plain = ([s, t]: readonly Tensor[]): unknown =>
    [s, t].map((tensor) => ({ shape: tensor?.shape, values: [...(tensor?.toFloat64Array() ?? [])] }));
  const job = Object.fromEntries(Object.entries(pairs).map(([name, pair]) => [name, plain(pair)]));
  const theirs = runPython<Readonly<Record<string, Result>>>({
    python: values.python,
    script: 'distillation_losses.py',
    input: { ...job, labels },
    needs: 'torch',
  });
  await using backend = await onnxruntimeNode({ threads: 1 });
  let worst = 0;
  process.stdout.write('loss                    ours       PyTorch    loss apart   gradient apart\n');
  for (const [name, [loss, features]] of Object.entries(terms)) {
    const mine = await ours(
      loss,
      pairs[features],
      Tensor.from('int64', [16], BigInt64Array.from(labels, BigInt)),
      backend,
    );
    const other = theirs[name] as Result;
    const apart = Math.abs(mine.loss - other.loss) / Math.abs(other.loss);
    const largest = Math.max(...other.gradient.map(Math.abs));
    const slope =
      Math.max(...mine.gradient.map((value, at) => Math.abs(value - (other.gradient[at] ?? Number.NaN)))) /
      largest;
    worst = Math.max(worst, apart, slope);
    process.stdout.write(
      `${name.padEnd(20)}${mine.loss.toFixed(6).padStart(11)}${other.loss.toFixed(6).padStart(11)}${apart.toExponential(1).padStart(12)}${slope.toExponential(1).padStart(14)}\n`,
    );
  }
  return worst <= 1e-5 ? 0 : 1;
}

import {
  arrayDataset,
  createRng,
  elementsOf,
  type Feeds,
  GraphBuilder,
  type Model,
  Tensor,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { quantizationAware } from '@lithe/quantization';
import { meanSquaredError, sgd, trainingStep } from '@lithe/training';
import { runPython } from './python-peer.ts';

interface Case {
  readonly name: string;
  readonly ranges: 'ema' | 'lsq';
  readonly weightBits: 4 | 8;
  readonly activationBits: 4 | 8;
}

interface Numbers {
  readonly loss: number;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

const cases: readonly Case[] = [
  { name: 'int8, moving ranges', ranges: 'ema', weightBits: 8, activationBits: 8 },
  { name: 'int8, learned steps', ranges: 'lsq', weightBits: 8, activationBits: 8 },
  { name: 'int4, moving ranges', ranges: 'ema', weightBits: 4, activationBits: 4 },
  { name: 'int4, learned steps', ranges: 'lsq', weightBits: 4, activationBits: 4 },
];

/** Largest difference that passes, relative to the largest number of its tensor. */
const TOLERANCE = 1e-5;

/**
 * Steps of activations: sums over a whole batch of what rounding left of numbers up to 255, which float32 has to 1e-5 each
 * and which cancel.
 */
const summed: ReadonlySet<string> = new Set(['x_step', 'h_step', 'o_step']);

/** Gradients are read off an update: a large one, so that the weight it is added to rounds nothing away. */
const RATE = 1024;

function random(shape: readonly number[], seed: number, center = 0, deviation = 0.4): Tensor<'float32'> {
  const rng = createRng(seed);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: elementsOf(shape) }, () => center + deviation * rng.normal()),
  );
}

const constants: Feeds = {
  w1: random([6, 3, 3, 3], 1),
  gamma: random([6], 2, 1, 0.2),
  beta: random([6], 3),
  mean: random([6], 4, 0, 0.2),
  variance: Tensor.from('float32', [6], Float32Array.of(0.7, 1.1, 2.3, 0.9, 1.4, 0.6)),
  w2: random([5, 6, 1, 1], 5),
  b2: random([5], 6),
};
const x = random([8, 3, 6, 6], 7, 0.2, 1);
const target = random([8, 5], 8, 0, 1);

async function network(): Promise<Model> {
  const b = new GraphBuilder('torch');
  const input = b.input('x', 'float32', ['N', 3, 6, 6]);
  const constant = (name: string): ReturnType<typeof b.constant> =>
    b.constant(name, constants[name] as Tensor);
  const conv = b.op.Conv([input, constant('w1')], { pads: [1, 1, 1, 1] });
  const norm = b.op.BatchNormalization([
    conv,
    constant('gamma'),
    constant('beta'),
    constant('mean'),
    constant('variance'),
  ]);
  const hidden = b.op.Relu([norm]);
  const last = b.op.Conv([hidden, constant('w2'), constant('b2')]);
  b.output('y', b.op.Flatten([b.op.GlobalAveragePool([last])]));
  return await b.build();
}

/** One step of ours, and what PyTorch needs to make it. */
async function ours({
  name: _,
  ...one
}: Case): Promise<{ readonly numbers: Numbers; readonly given: object }> {
  const backend = referenceBackend();
  const model = await network();
  const nodes = [...model.graph.nodes()];
  const relu = nodes.find((node) => node.is('Relu'))?.output().name ?? '';
  const last = nodes.findLast((node) => node.is('Conv'))?.output().name ?? '';
  const aware = await quantizationAware(model, {
    ...one,
    backend,
    data: arrayDataset({ inputs: { x } }),
    calibrator: 'min-max',
    eightBits: 'none',
    depthwise: true,
    conversionCost: 0,
    minimumElements: 1,
    // The mean over the image stays float.
    exclude: nodes.filter((node) => node.is('GlobalAveragePool')).map(({ name }) => name),
  });
  await shrinkSteps(aware.model);
  const training = aware.training(sgd());
  const step = await trainingStep(aware.model, { ...training, loss: meanSquaredError({ output: 'y' }) });
  await using executable = await backend.compile(step.model, { state: step.state });
  const scalar = Tensor.from('float32', [], Float32Array.of(RATE));
  const { loss } = await executable.run({ x, target, [step.learningRate]: scalar });
  const state = await executable.readState();
  const gradients: Record<string, readonly number[]> = {};
  const parameters: Record<string, object> = {};
  for (const name of step.parameters) {
    const before = (await aware.model.graph.value(name)?.initializer?.load()) as Tensor;
    const after = (state[name] as Tensor).toFloat64Array();
    const known = name.replace(relu, 'h').replace(last, 'o');
    gradients[known] = [...before.toFloat64Array()].map(
      (value, at) => (value - (after[at] as number)) / RATE,
    );
    parameters[known] = entry(before);
  }
  const high = one.activationBits === 4 ? 15 : 255;
  const activations: Record<string, object> = {};
  for (const [known, value, elements] of [
    ['x', 'x', 3 * 36],
    ['h', relu, 6 * 36],
    ['o', last, 5 * 36],
  ] as const) {
    const found = await parametersOf(aware.model, value, high);
    if (found === undefined) continue;
    const { scale, zeroPoint } = found;
    activations[known] = { scale, zeroPoint, gradientScale: 1 / Math.sqrt(elements * (high - zeroPoint)) };
  }
  return {
    numbers: { loss: (loss as Tensor).toFloat64Array()[0] as number, gradients },
    given: {
      ...one,
      weightHigh: one.weightBits === 4 ? 7 : 127,
      activationHigh: high,
      parameters,
      activations,
      x: entry(x),
      target: entry(target),
      variance: entry(constants['variance'] as Tensor),
    },
  };
}

/** Makes learned steps smaller than they start, so that values are clipped and none lies on the end of its range. */
async function shrinkSteps({ graph }: Model): Promise<void> {
  for (const value of graph.initializers) {
    if (!value.name.endsWith('_step')) continue;
    const step = (await value.initializer?.load()) as Tensor<'float32'>;
    const { data, shape } = step;
    graph.setInitializer(
      value,
      Tensor.from(
        'float32',
        shape,
        data.map((size) => size * 0.83),
      ),
    );
  }
}

const entry = (tensor: Tensor): object => ({ shape: tensor.shape, values: [...tensor.toFloat64Array()] });

/** Scale and zero point of an activation at the start; `undefined` where it stays float. */
async function parametersOf(
  { graph }: Model,
  name: string,
  high: number,
): Promise<{ readonly scale: number; readonly zeroPoint: number } | undefined> {
  const number = async (of: string): Promise<number | undefined> =>
    ((await graph.value(`${name}_${of}`)?.initializer?.load()) as Tensor | undefined)?.toFloat64Array()[0];
  const [step, zero] = [await number('step'), await number('zero_point')];
  if (step !== undefined && zero !== undefined) return { scale: step, zeroPoint: zero };
  const [low, most] = [await number('minimum'), await number('maximum')];
  if (low === undefined || most === undefined) return undefined;
  const scale = Math.fround((most - low) / high);
  return { scale, zeroPoint: Math.round(-low / scale) };
}

function distance(left: readonly number[], right: readonly number[]): number {
  const most = Math.max(1e-6, ...right.map(Math.abs));
  return Math.max(0, ...left.map((value, at) => Math.abs(value - (right[at] as number)) / most));
}

/**
 * Compares a step of a convolution with batch normalization and another convolution, quantized in every way, with
 * PyTorch's.
 *
 * @param python a Python with torch
 * @returns 1 when a loss or gradient differs
 */
export async function compareWithTorch(python: string): Promise<number> {
  const made = await Promise.all(cases.map(ours));
  const theirs = runPython<readonly Numbers[]>({
    python,
    script: 'quantization_aware.py',
    input: made.map(({ given }) => given),
    needs: 'torch',
  });
  let failed = 0;
  for (const [at, { name }] of cases.entries()) {
    const own = made[at]?.numbers as Numbers;
    const other = theirs[at] as Numbers;
    const rows: (readonly [string, number])[] = [['loss', distance([own.loss], [other.loss])]];
    for (const [parameter, gradient] of Object.entries(own.gradients))
      rows.push([parameter, distance(gradient, other.gradients[parameter] ?? [])]);
    failed += rows.filter(
      ([what, difference]) => !(difference <= (summed.has(what) ? 1e-3 : TOLERANCE)),
    ).length;
    const shown = rows.map(([what, difference]) => `${what} ${difference.toExponential(1)}`).join(', ');
    process.stdout.write(`${name}: ${shown}\n`);
  }
  process.stdout.write(
    failed === 0 ? 'all within 1e-5, learned steps of activations within 1e-3\n' : `${failed} beyond that\n`,
  );
  return failed === 0 ? 0 : 1;
}

import { arrayDataset, GraphBuilder, type Model, optimize, Tensor } from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { cnn, mlp } from '../layers/networks.ts';
import { type LossChoice, scoresOf } from './loss-options.ts';
import { optimizerOf, optimizerSchema } from './optimizer-options.ts';
import { scheduleOf, scheduleSchema } from './schedule-options.ts';
import { train } from './train.ts';
import type { TrainingOptions } from './training-options.ts';

const ROWS = 6;
const x = Tensor.from(
  'float32',
  [ROWS, 3],
  Float32Array.from({ length: 3 * ROWS }, (_, at) => Math.sin(1 + at)),
);
/** Rows of probabilities, for losses on any target. */
const shares = Float32Array.from({ length: 2 * ROWS }, (_, at) => {
  const first = 0.1 + 0.13 * Math.floor(at / 2);
  return at % 2 === 0 ? first : 1 - first;
});
const probabilities = Tensor.from('float32', [ROWS, 2], shares);
const numbers = [0, 1, 1, 0, 1, 0];
const classes = Tensor.from('int64', [ROWS], BigInt64Array.from(numbers, BigInt));
const net = await mlp({ inputs: 3, hidden: [4], classes: 2, seed: 4 });
const z = (await evaluateModel(net, { x }))['logits']?.toFloat64Array() ?? new Float64Array();

const still: Omit<TrainingOptions, 'loss'> = { epochs: 1, batchSize: ROWS, learningRate: 1e-12 };
const lossIn = async (model: Model, loss: LossChoice, target: Tensor): Promise<number> => {
  const { report } = await optimize(model, [train({ ...still, loss })], {
    backend: referenceBackend(),
    trainingData: arrayDataset({ inputs: { x }, targets: { target } }),
  });
  return report.steps[0]?.metrics['loss']?.value ?? Number.NaN;
};

const logSoftmax = (row: number, at: number): number =>
  (z[2 * row + at] ?? 0) - Math.log(Math.exp(z[2 * row] ?? 0) + Math.exp(z[2 * row + 1] ?? 0));
const meanOver = (count: number, each: (at: number) => number): number =>
  Array.from({ length: count }, (_, at) => each(at)).reduce((sum, value) => sum + value, 0) / count;
const difference = (at: number): number => (z[at] ?? 0) - (shares[at] ?? 0);

describe('losses by name', () => {
  it.each<readonly [LossChoice, Tensor, number]>([
    ['cross-entropy', classes, meanOver(ROWS, (row) => -logSoftmax(row, numbers[row] ?? 0))],
    [
      { name: 'cross-entropy', labelSmoothing: 0.2 },
      classes,
      meanOver(ROWS, (row) => {
        const own = numbers[row] ?? 0;
        return -(0.9 * logSoftmax(row, own) + 0.1 * logSoftmax(row, 1 - own));
      }),
    ],
    [
      { name: 'cross-entropy', targets: 'probabilities' },
      probabilities,
      meanOver(
        ROWS,
        (row) =>
          -(shares[2 * row] ?? 0) * logSoftmax(row, 0) - (shares[2 * row + 1] ?? 0) * logSoftmax(row, 1),
      ),
    ],
    [
      'kl-divergence',
      probabilities,
      meanOver(ROWS, (row) =>
        [0, 1].reduce((sum, at) => {
          const share = shares[2 * row + at] ?? 0;
          return sum + share * (Math.log(share) - logSoftmax(row, at));
        }, 0),
      ),
    ],
    [
      'binary-cross-entropy',
      probabilities,
      meanOver(2 * ROWS, (at) => {
        const [score, share] = [z[at] ?? 0, shares[at] ?? 0];
        return (
          -share * Math.log(1 / (1 + Math.exp(-score))) - (1 - share) * Math.log(1 / (1 + Math.exp(score)))
        );
      }),
    ],
    ['mean-squared-error', probabilities, meanOver(2 * ROWS, (at) => difference(at) ** 2)],
    [
      { name: 'huber', delta: 0.3 },
      probabilities,
      meanOver(2 * ROWS, (at) => {
        const size = Math.abs(difference(at));
        return size <= 0.3 ? size ** 2 / 2 : 0.3 * (size - 0.15);
      }),
    ],
    [
      'cosine-distance',
      probabilities,
      meanOver(ROWS, (row) => {
        const [a, b] = [z[2 * row] ?? 0, z[2 * row + 1] ?? 0];
        const [c, d] = [shares[2 * row] ?? 0, shares[2 * row + 1] ?? 0];
        return 1 - (a * c + b * d) / (Math.hypot(a, b) * Math.hypot(c, d));
      }),
    ],
  ])('%o is that of its formula', async (loss, target, wanted) => {
    expect(await lossIn(net, loss, target)).toBeCloseTo(wanted, 5);
  });

  it('look at scores before a softmax at the end of the model', async () => {
    const b = new GraphBuilder('probabilities');
    const input = b.input('x', 'float32', ['N', 3]);
    const weight = Tensor.from('float32', [3, 2], Float32Array.of(1, -1, 0.5, 0.2, -0.3, 0.4));
    const scores = b.op.MatMul([input, b.constant('w', weight)]);
    b.output('scores', scores);
    const plain = (await b.build()).clone();
    const ends = plain.clone();
    const softmax = ends.graph.addNode({
      opType: 'Softmax',
      inputs: [ends.graph.value('scores') ?? null],
    });
    ends.graph.setOutputs([softmax.output()]);
    expect(scoresOf(ends)).toMatchObject({ name: 'scores' });
    expect(await lossIn(ends, 'cross-entropy', classes)).toBeCloseTo(
      await lossIn(plain, 'cross-entropy', classes),
      6,
    );
  });

  it('ask which of several outputs they are for', async () => {
    const two = net.clone();
    const inner = [...two.graph.nodes()][0]?.output();
    if (inner === undefined) throw new Error('the network has no node');
    two.graph.setOutputs([...two.graph.outputs, inner]);
    await expect(lossIn(two, 'cross-entropy', classes)).rejects.toMatchObject({
      cause: { code: 'OPTIONS_INVALID' },
    });
    const named = await lossIn(two, { name: 'cross-entropy', logits: 'logits' }, classes);
    expect(named).toBeCloseTo(await lossIn(net, 'cross-entropy', classes), 6);
  });
});

describe('schedules by name', () => {
  const at = (choice: Parameters<typeof scheduleSchema.parse>[0], step: number, epoch = 0): number =>
    scheduleOf(scheduleSchema.parse(choice))({ step, steps: 101, epoch });

  it('have the factors of their formulas', () => {
    expect(at('constant', 50)).toBe(1);
    expect(at({ name: 'cosine', floor: 0.2 }, 50)).toBeCloseTo(0.6, 10);
    expect(at({ name: 'polynomial', power: 2 }, 75)).toBeCloseTo(0.0625, 10);
    expect(at({ name: 'step', epochs: [2, 4], factor: 0.5 }, 90, 4)).toBe(0.25);
    expect(at('one-cycle', 0)).toBeCloseTo(1 / 25, 10);
    expect(at({ name: 'one-cycle', rise: 0.5 }, 50)).toBeCloseTo(1, 10);
    expect(at({ name: 'constant', warmUp: 10 }, 4)).toBe(0.5);
  });
});

describe('optimizers by name', () => {
  it('are those of the package', () => {
    const names = (['adamw', 'adam', 'sgd', 'rmsprop', 'lion'] as const).map(
      (name) => optimizerOf(optimizerSchema.parse(name)).name,
    );
    expect(names).toEqual(['AdamW', 'Adam', 'SGD', 'RMSprop', 'Lion']);
    const nesterov = optimizerSchema.parse({ name: 'sgd', momentum: 0.9, nesterov: true, weightDecay: 0.1 });
    expect(optimizerOf(nesterov)).toMatchObject({ name: 'SGD, Nesterov momentum', weightDecay: 0.1 });
  });
});

describe('augmentations by name', () => {
  it('train, mixup with the number of classes of the model and beside a validation share', async () => {
    const images = Tensor.from(
      'float32',
      [ROWS, 1, 8, 8],
      Float32Array.from({ length: 64 * ROWS }, (_, at) => Math.cos(at)),
    );
    const { report } = await optimize(
      await cnn({ image: [1, 8, 8], classes: 2 }),
      [
        train({
          epochs: 1,
          batchSize: 2,
          learningRate: 1e-3,
          augment: ['flip', { crop: 1 }, { cutout: { size: 3, fill: -1 } }, { mixup: 0.3 }],
          validation: 0.34,
        }),
      ],
      {
        backend: referenceBackend(),
        trainingData: arrayDataset({ inputs: { x: images }, targets: { label: classes } }),
      },
    );
    expect(Number.isFinite(report.steps[0]?.metrics['loss']?.value)).toBe(true);
    expect([0, 0.5, 1]).toContain(report.steps[0]?.metrics['validation']?.value);
  });
});

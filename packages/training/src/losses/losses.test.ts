import { readFileSync } from 'node:fs';
import { type Feeds, GraphBuilder, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { sgd } from '../optimizers/standard.ts';
import { trainingStep } from '../step/training-step.ts';
import { binaryCrossEntropy, crossEntropy } from './classification.ts';
import { type Loss, weightedSum } from './loss.ts';
import { cosineDistance, huber, klDivergence, meanSquaredError } from './regression.ts';

/** What PyTorch gives; test/fixtures/pytorch.py writes it. */
interface Fixture {
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly losses: Readonly<Record<string, number>>;
}

const fixture = JSON.parse(
  readFileSync(new URL('../../test/fixtures/pytorch.json', import.meta.url), 'utf8'),
) as Fixture;

const floats = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('float32', shape, Float32Array.from(values));
const labels = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('int64', shape, BigInt64Array.from(values, BigInt));
const given = (name: string): readonly number[] => fixture.inputs[name] ?? [];

/** The loss of a model whose output is its only weight. */
async function lossOf(loss: Loss, output: Tensor, targets: Feeds): Promise<number> {
  return (await stepOf(loss, output, targets)).loss;
}

/** The same, and the gradient by the output: what a step of rate 1 takes away. */
async function stepOf(
  loss: Loss,
  output: Tensor,
  targets: Feeds,
): Promise<{ readonly loss: number; readonly gradient: readonly number[] }> {
  const builder = new GraphBuilder('constant');
  const zero = builder.input('zero', 'float32', output.shape);
  builder.output('y', builder.op.Add([zero, builder.constant('w', output)]));
  const step = await trainingStep(await builder.build(), { loss, optimizer: sgd(), trainable: ['w'] });
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  const zeros = floats(output.shape, Array<number>(output.size).fill(0));
  const results = await executable.run({ zero: zeros, learning_rate: floats([], [1]), ...targets });
  const { w } = await executable.readState(['w']);
  const before = output.toFloat64Array();
  return {
    loss: results['loss']?.toFloat64Array()[0] ?? Number.NaN,
    gradient: [...(w?.toFloat64Array() ?? [])].map((after, index) => (before[index] ?? Number.NaN) - after),
  };
}

const logits = floats([4, 3], given('logits'));
const output = floats([4, 3], given('output'));
const target = { target: floats([4, 3], given('target')) };
const shares = floats([4, 3], given('shares'));

describe('losses', () => {
  it.each([
    ['crossEntropy', crossEntropy({ logits: 'y' }), logits, { label: labels([4], given('labels')) }],
    [
      'labelSmoothing',
      crossEntropy({ logits: 'y', labelSmoothing: 0.1 }),
      logits,
      { label: labels([4], given('labels')) },
    ],
    [
      'ignoreIndex',
      crossEntropy({ logits: 'y', ignoreIndex: -100 }),
      logits,
      { label: labels([4], given('ignored')) },
    ],
    [
      'ignoreIndexAndSmoothing',
      crossEntropy({ logits: 'y', ignoreIndex: -100, labelSmoothing: 0.1 }),
      logits,
      { label: labels([4], given('ignored')) },
    ],
    [
      'probabilities',
      crossEntropy({ logits: 'y', targets: 'probabilities', target: 'p' }),
      logits,
      { p: shares },
    ],
    [
      'dense',
      crossEntropy({ logits: 'y' }),
      floats([2, 3, 4], given('dense')),
      { label: labels([2, 4], given('denseLabels')) },
    ],
    ['binaryCrossEntropy', binaryCrossEntropy({ logits: 'y' }), logits, { target: shares }],
    ['meanSquaredError', meanSquaredError({ output: 'y' }), output, target],
    ['huber', huber({ output: 'y', delta: 0.7 }), output, target],
    ['klDivergence', klDivergence({ logits: 'y' }), logits, { target: shares }],
    ['cosineDistance', cosineDistance({ output: 'y' }), output, target],
  ] as const)('%s is what PyTorch gives', async (name, loss, values, feeds) => {
    expect(await lossOf(loss, values, feeds)).toBeCloseTo(fixture.losses[name] ?? Number.NaN, 5);
  });

  it('are right by hand', async () => {
    const even = floats([1, 4], [0, 0, 0, 0]);
    expect(await lossOf(crossEntropy({ logits: 'y' }), even, { label: labels([1], [3]) })).toBeCloseTo(
      Math.log(4),
      6,
    );
    const pair = floats([1, 2], [3, -1]);
    const wanted = { target: floats([1, 2], [1, -1]) };
    expect(await lossOf(meanSquaredError({ output: 'y' }), pair, wanted)).toBeCloseTo(2, 6);
    // |3 - 1| = 2 is beyond 1: 1 (2 - 1 / 2) = 1.5, and 0; their mean.
    expect(await lossOf(huber({ output: 'y' }), pair, wanted)).toBeCloseTo(0.75, 6);
    expect(
      await lossOf(klDivergence({ logits: 'y' }), even, { target: floats([1, 4], [1, 0, 0, 0]) }),
    ).toBeCloseTo(Math.log(4), 6);
    const sum = weightedSum([
      { loss: meanSquaredError({ output: 'y' }), weight: 0.5 },
      { loss: huber({ output: 'y' }), weight: 2 },
    ]);
    expect(await lossOf(sum, pair, wanted)).toBeCloseTo(0.5 * 2 + 2 * 0.75, 6);
  });

  it('do not overflow, and give 0 where nothing counts', async () => {
    const large = floats([1, 2], [1000, -1000]);
    expect(await lossOf(crossEntropy({ logits: 'y' }), large, { label: labels([1], [1]) })).toBeCloseTo(
      2000,
      3,
    );
    const wanted = { target: floats([1, 2], [0, 1]) };
    expect(await lossOf(binaryCrossEntropy({ logits: 'y' }), large, wanted)).toBeCloseTo(1000, 3);
    const none = crossEntropy({ logits: 'y', ignoreIndex: 9 });
    expect(await lossOf(none, large, { label: labels([1], [9]) })).toBe(0);
  });

  it('binary cross-entropy has the slope sigmoid(z) - t, at 0 too', async () => {
    const scores = [0, 0, 0, 2, -3, 0];
    const wanted = [0, 1, 0.3, 1, 0.2, 0.5];
    const { gradient } = await stepOf(binaryCrossEntropy({ logits: 'y' }), floats([2, 3], scores), {
      target: floats([2, 3], wanted),
    });
    for (const [index, score] of scores.entries())
      expect(gradient[index]).toBeCloseTo((1 / (1 + Math.exp(-score)) - (wanted[index] ?? 0)) / 6, 6);
  });

  it('cross-entropy is no number where a label is no class, and no gradient flows there', async () => {
    const scores = floats([2, 3], [1, 2, 3, 4, 5, 6]);
    for (const wrong of [3, -1]) {
      const label = { label: labels([2], [wrong, 0]) };
      const plain = await stepOf(crossEntropy({ logits: 'y' }), scores, label);
      expect(plain.loss).toBeNaN();
      expect(plain.gradient.slice(0, 3)).toEqual([0, 0, 0]);
      expect(await lossOf(crossEntropy({ logits: 'y', ignoreIndex: -100 }), scores, label)).toBeNaN();
      const ignored = crossEntropy({ logits: 'y', ignoreIndex: wrong });
      // -log softmax([4, 5, 6])_0
      expect(await lossOf(ignored, scores, label)).toBeCloseTo(Math.log(1 + Math.E + Math.E ** 2), 5);
    }
  });

  it('refuse what they cannot be computed from', async () => {
    const feeds = { label: labels([4], [0, 0, 0, 0]) };
    await expect(lossOf(crossEntropy({ logits: 'z' }), logits, feeds)).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
    // A name that the model uses for a value of its own: its output would be its own target.
    for (const taken of [meanSquaredError({ output: 'y', target: 'y' }), huber({ output: 'y', target: 'w' })])
      await expect(lossOf(taken, logits, {})).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
    const dense = floats([2, 3, 4], given('dense'));
    await expect(lossOf(klDivergence({ logits: 'y' }), dense, { target: dense })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
    const clash = weightedSum([
      { loss: crossEntropy({ logits: 'y' }), weight: 1 },
      { loss: crossEntropy({ logits: 'y', targets: 'probabilities' }), weight: 1 },
    ]);
    await expect(lossOf(clash, logits, feeds)).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
    expect(() => crossEntropy({ logits: 'y', labelSmoothing: 1 })).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
    for (const wrong of [{ ignoreIndex: 0.5 }, { ignoreIndex: 1, targets: 'probabilities' } as const])
      expect(() => crossEntropy({ logits: 'y', ...wrong })).toThrow(
        expect.objectContaining({ code: 'OPTIONS_INVALID' }),
      );
    expect(() => huber({ output: 'y', delta: 0 })).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
    expect(() => weightedSum([])).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }));
  });
});

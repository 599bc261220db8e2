import { createRng, type Feeds, GraphBuilder, type Model, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import {
  attentionDistillation,
  attentionTransfer,
  correlationDistillation,
  type DistillationLoss,
  decoupledDistillation,
  distillation,
  hiddenStateDistillation,
  hintDistillation,
  logitDistillation,
  relationalDistillation,
  relationDistillation,
  similarityPreserving,
  teacherModel,
} from '@lithe/distillation';
import { sgd, trainingStep } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { echo, floats, lossOf } from './support.ts';

// The formulas of the papers once more, in float64 and plain loops: the graphs must agree with them.

type Matrix = readonly (readonly number[])[];

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const mean = (values: readonly number[]): number => sum(values) / values.length;
const dot = (a: readonly number[], b: readonly number[]): number =>
  sum(a.map((value, i) => value * (b[i] ?? 0)));
const length = (a: readonly number[]): number => Math.sqrt(dot(a, a));
const column = (m: Matrix, at: number): number[] => m.map((row) => row[at] ?? 0);

function softmax(z: readonly number[], temperature: number): number[] {
  const exp = z.map((value) => Math.exp(value / temperature));
  return exp.map((value) => value / sum(exp));
}

const kl = (p: readonly number[], q: readonly number[]): number =>
  sum(p.map((value, i) => value * Math.log(value / (q[i] ?? 0))));

function matrix(rows: number, columns: number, seed: number): Matrix {
  const rng = createRng(seed);
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => 2 * rng.normal()));
}

const tensor = (m: Matrix, shape: readonly number[] = [m.length, m[0]?.length ?? 0]): Tensor<'float32'> =>
  floats(shape, m.flat());

const [S, T] = [matrix(4, 5, 1), matrix(4, 5, 2)];
const ends = { student: 'f', teacher: 'f' };

describe('losses on logits', () => {
  it('soft targets: T^2 KL, averaged over the samples alone', async () => {
    const wanted = 9 * mean(S.map((row, n) => kl(softmax(T[n] ?? [], 3), softmax(row, 3))));
    const { loss } = await lossOf(logitDistillation({ ...ends, temperature: 3 }), tensor(S), tensor(T));
    expect(loss).toBeCloseTo(wanted, 5);
  });

  it('soft targets by hand: two classes, equal teacher', async () => {
    // softmax(0, 0) = (1/2, 1/2); softmax(0, ln 3) = (1/4, 3/4): KL = ln 2 / 2 + ln (2/3) / 2.
    const { loss } = await lossOf(
      logitDistillation({ ...ends, temperature: 1 }),
      floats([1, 2], [0, Math.log(3)]),
      floats([1, 2], [0, 0]),
    );
    expect(loss).toBeCloseTo((Math.log(2) + Math.log(2 / 3)) / 2, 6);
  });

  it('standardized soft targets', async () => {
    const standard = (z: readonly number[]): number[] => {
      const m = mean(z);
      const deviation = Math.sqrt(mean(z.map((value) => (value - m) ** 2)));
      return z.map((value) => (value - m) / deviation);
    };
    const wanted =
      4 * mean(S.map((row, n) => kl(softmax(standard(T[n] ?? []), 2), softmax(standard(row), 2))));
    const options = { ...ends, temperature: 2, standardize: true };
    const { loss } = await lossOf(logitDistillation(options), tensor(S), tensor(T));
    expect(loss).toBeCloseTo(wanted, 5);
    // The range of the student does not matter.
    const wide = S.map((row) => row.map((value) => 7 * value + 3));
    const other = await lossOf(logitDistillation(options), tensor(wide), tensor(T));
    expect(other.loss).toBeCloseTo(wanted, 4);
  });

  it('decoupled soft targets', async () => {
    const labels = [0, 3, 3, 1];
    const part = (z: readonly number[], label: number): { pair: number[]; others: number[] } => {
      const p = softmax(z, 2);
      const hit = p[label] ?? 0;
      const rest = p.filter((_, c) => c !== label);
      return { pair: [hit, 1 - hit], others: rest.map((value) => value / sum(rest)) };
    };
    const pairs = S.map((row, n) => ({ s: part(row, labels[n] ?? 0), t: part(T[n] ?? [], labels[n] ?? 0) }));
    const target = mean(pairs.map(({ s, t }) => kl(t.pair, s.pair)));
    const others = mean(pairs.map(({ s, t }) => kl(t.others, s.others)));
    const { loss } = await lossOf(
      decoupledDistillation({ ...ends, temperature: 2, alpha: 1.5, beta: 6 }),
      tensor(S),
      tensor(T),
      { label: Tensor.from('int64', [4], BigInt64Array.from(labels, BigInt)) },
    );
    expect(loss).toBeCloseTo(4 * (1.5 * target + 6 * others), 4);
  });

  it('decoupled soft targets leave out samples whose label is no class', async () => {
    const of = async (rows: readonly number[], labels: readonly bigint[]): Promise<number> => {
      const chosen = (m: Matrix): Tensor => tensor(rows.map((row) => m[row] ?? []));
      const label = Tensor.from('int64', [rows.length], BigInt64Array.from(labels));
      return (await lossOf(decoupledDistillation(ends), chosen(S), chosen(T), { label })).loss;
    };
    expect(await of([0, 1, 2, 3], [2n, -1n, 4n, 5n])).toBeCloseTo(await of([0, 2], [2n, 4n]), 4);
    expect(await of([0, 1], [-1n, -1n])).toBe(0);
  });

  it('correlation within samples and within classes', async () => {
    const pearson = (a: readonly number[], b: readonly number[]): number => {
      const [x, y] = [a.map((value) => value - mean(a)), b.map((value) => value - mean(b))];
      return dot(x, y) / (length(x) * length(y));
    };
    const [p, q] = [S.map((row) => softmax(row, 2)), T.map((row) => softmax(row, 2))];
    const inter = 1 - mean(p.map((row, n) => pearson(row, q[n] ?? [])));
    const intra = 1 - mean([0, 1, 2, 3, 4].map((c) => pearson(column(p, c), column(q, c))));
    const { loss } = await lossOf(
      correlationDistillation({ ...ends, temperature: 2, beta: 2, gamma: 3 }),
      tensor(S),
      tensor(T),
    );
    expect(loss).toBeCloseTo(4 * (2 * inter + 3 * intra), 4);
  });
});

describe('losses on features', () => {
  it('hints: mean squared error, behind a regressor where channels differ', async () => {
    const wanted = mean(S.flatMap((row, n) => row.map((value, i) => (value - (T[n]?.[i] ?? 0)) ** 2)));
    const same = await lossOf(hintDistillation(ends), tensor(S), tensor(T));
    expect(same.loss).toBeCloseTo(wanted, 4);
    expect(same.parameters).toEqual(['factor']);
    const image = (channels: number, seed: number): Tensor =>
      tensor(matrix(2, channels * 6, seed), [2, channels, 2, 3]);
    const other = await lossOf(hintDistillation(ends), image(3, 1), image(4, 2));
    expect(other.parameters.length).toBe(3);
    expect(other.loss).toBeGreaterThan(0);
    await expect(lossOf(hintDistillation(ends), image(3, 1), tensor(T))).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });

  /** The learned weights `[to, from]` or `[from, to]` and the bias of the one regressor. */
  const regressor = (state: Feeds): { weight: readonly number[]; bias: readonly number[] } => {
    const of = (end: string): readonly number[] => [
      ...(Object.entries(state)
        .find(([name]) => name.startsWith('loss:projector') && name.endsWith(end))?.[1]
        .toFloat64Array() ?? []),
    ];
    return { weight: of('.weight'), bias: of('.bias') };
  };

  it.each([
    ['pictures', [2, 3], 6],
    ['volumes', [2, 1, 3], 6],
  ] as const)('hints: the regressor of %s is a convolution over their channels', async (_, sizes, places) => {
    const [a, b] = [matrix(2, 3 * places, 1), matrix(2, 4 * places, 2)];
    const { loss, state } = await lossOf(
      hintDistillation(ends),
      tensor(a, [2, 3, ...sizes]),
      tensor(b, [2, 4, ...sizes]),
    );
    const { weight, bias } = regressor(state);
    const wanted = mean(
      b.flatMap((row, n) =>
        row.map((value, at) => {
          const [to, place] = [Math.floor(at / places), at % places];
          const ours = sum(
            [0, 1, 2].map((c) => (weight[to * 3 + c] ?? 0) * (a[n]?.[c * places + place] ?? 0)),
          );
          return (ours + (bias[to] ?? 0) - value) ** 2;
        }),
      ),
    );
    expect(weight.length).toBe(12);
    expect(loss).toBeCloseTo(wanted, 4);
  });

  it.each([
    ['hints', hintDistillation],
    ['hidden states', hiddenStateDistillation],
  ] as const)('%s of sequences: a linear map of their last axis', async (_, make) => {
    const [a, b] = [matrix(2, 12, 1), matrix(2, 18, 2)];
    const { loss, state } = await lossOf(make(ends), tensor(a, [2, 3, 4]), tensor(b, [2, 3, 6]));
    const { weight, bias } = regressor(state);
    const wanted = mean(
      b.flatMap((row, n) =>
        row.map((value, at) => {
          const [position, to] = [Math.floor(at / 6), at % 6];
          const ours = sum(
            [0, 1, 2, 3].map((d) => (weight[d * 6 + to] ?? 0) * (a[n]?.[position * 4 + d] ?? 0)),
          );
          return (ours + (bias[to] ?? 0) - value) ** 2;
        }),
      ),
    );
    expect(weight.length).toBe(24);
    expect(loss).toBeCloseTo(wanted, 4);
  });

  it('attention transfer', async () => {
    const [a, b] = [matrix(2, 3 * 4, 5), matrix(2, 2 * 4, 6)];
    const map = (row: readonly number[], channels: number): number[] => {
      const energy = [0, 1, 2, 3].map((at) =>
        mean(Array.from({ length: channels }, (_, c) => (row[c * 4 + at] ?? 0) ** 2)),
      );
      return energy.map((value) => value / length(energy));
    };
    const wanted = mean(
      a.flatMap((row, n) => {
        const theirs = map(b[n] ?? [], 2);
        return map(row, 3).map((value, at) => (value - (theirs[at] ?? 0)) ** 2);
      }),
    );
    const { loss } = await lossOf(attentionTransfer(ends), tensor(a, [2, 3, 2, 2]), tensor(b, [2, 2, 2, 2]));
    expect(loss).toBeCloseTo(wanted, 6);
  });

  it('similarity of samples', async () => {
    const wide = matrix(4, 9, 3);
    const gram = (m: Matrix): number[][] =>
      m.map((row) => {
        const products = m.map((other) => dot(row, other));
        return products.map((value) => value / length(products));
      });
    const [g, h] = [gram(S), gram(wide)];
    const wanted = sum(g.flatMap((row, i) => row.map((value, j) => (value - (h[i]?.[j] ?? 0)) ** 2))) / 16;
    const { loss } = await lossOf(similarityPreserving(ends), tensor(S), tensor(wide));
    expect(loss).toBeCloseTo(wanted, 6);
  });

  it('relations: distances of pairs and angles of triples', async () => {
    const wide = matrix(4, 9, 3);
    const huber = (d: number): number => (Math.abs(d) < 1 ? (d * d) / 2 : Math.abs(d) - 0.5);
    const minus = (a: readonly number[], b: readonly number[]): number[] =>
      a.map((value, i) => value - (b[i] ?? 0));
    const distances = (m: Matrix): number[] => {
      const all = m.flatMap((a) => m.map((b) => length(minus(a, b))));
      const positive = mean(all.filter((value) => value > 0));
      return all.map((value) => value / positive);
    };
    const angles = (m: Matrix): number[] =>
      m.flatMap((a) =>
        m.flatMap((b) =>
          m.map((c) => {
            const [u, v] = [minus(b, a), minus(c, a)];
            return length(u) === 0 || length(v) === 0 ? 0 : dot(u, v) / (length(u) * length(v));
          }),
        ),
      );
    const apart = (x: readonly number[], y: readonly number[]): number =>
      mean(x.map((value, i) => huber(value - (y[i] ?? 0))));
    const wanted = 25 * apart(distances(S), distances(wide)) + 50 * apart(angles(S), angles(wide));
    const { loss } = await lossOf(relationalDistillation(ends), tensor(S), tensor(wide));
    expect(loss).toBeCloseTo(wanted, 3);
  });
});

describe('losses on transformers', () => {
  it('attention scores, without what a mask forbids', async () => {
    // One is forbidden by both, one by the student alone, one by the teacher alone; the last differs by 2.
    const { loss } = await lossOf(
      attentionDistillation(ends),
      floats([1, 1, 2, 2], [-Infinity, -1e9, 2, 1]),
      floats([1, 1, 2, 2], [-3e38, -3, -Infinity, 3]),
    );
    expect(loss).toBeCloseTo(4 / 4, 6);
  });

  it('relations of values, with other widths and numbers of heads', async () => {
    // Both split anew into one head: queries of length 3 for 2 positions on one side, 4 on the other.
    const [a, b] = [matrix(2, 4, 7), matrix(2, 2, 8)];
    const relation = (m: Matrix): number[][] =>
      m.map((row) =>
        softmax(
          m.map((other) => dot(row, other) / Math.sqrt(row.length)),
          1,
        ),
      );
    const [p, q] = [relation(a), relation(b)];
    const wanted = mean(q.map((row, i) => kl(row, p[i] ?? [])));
    // [1, 2 heads, 2 positions, 2]: heads hold columns 0-1 and 2-3.
    const heads = [0, 1].flatMap((head) => a.flatMap((row) => row.slice(2 * head, 2 * head + 2)));
    const { loss } = await lossOf(
      relationDistillation({ ...ends, heads: 1 }),
      floats([1, 2, 2, 2], heads),
      floats([1, 1, 2, 2], b.flat()),
    );
    expect(loss).toBeCloseTo(wanted, 5);
  });
});

describe('values whose sizes are open', () => {
  it('are compared where their channels are known: lengths of texts, sizes of pictures', async () => {
    const model = async (name: string, shape: readonly (number | string)[]): Promise<Model> => {
      const b = new GraphBuilder(name);
      const factor = b.constant('factor', floats([1], [1]));
      b.output('f', b.op.Mul([b.input(name, 'float32', ['N', ...shape]), factor]));
      return await b.build();
    };
    const loss = async (
      term: DistillationLoss,
      student: readonly [Tensor, readonly (number | string)[]],
      teacher: readonly [Tensor, readonly (number | string)[]],
    ): Promise<number> => {
      const b = new GraphBuilder('both');
      const factor = b.constant('factor', floats([1], [1]));
      b.output('f', b.op.Mul([b.input('s', 'float32', ['N', ...student[1]]), factor]));
      b.input('t', 'float32', ['N', ...teacher[1]]);
      const step = await trainingStep(await b.build(), {
        loss: distillation({
          teacher: await teacherModel(await model('t', teacher[1])),
          terms: [{ loss: term }],
        }),
        optimizer: sgd(),
        trainable: ['factor'],
      });
      await using executable = await referenceBackend().compile(step.model, { state: step.state });
      const feeds = { s: student[0], t: teacher[0], learning_rate: floats([], [0]) };
      return (await executable.run(feeds))[step.loss]?.toFloat64Array()[0] ?? Number.NaN;
    };
    const [a, b] = [tensor(matrix(2, 12, 1), [2, 3, 4]), tensor(matrix(2, 18, 2), [2, 3, 6])];
    expect(await loss(hiddenStateDistillation(ends), [a, ['T', 4]], [b, ['T', 6]])).toBeCloseTo(
      (await lossOf(hiddenStateDistillation(ends), a, b)).loss,
      5,
    );
    const [p, q] = [tensor(matrix(2, 12, 1), [2, 3, 2, 2]), tensor(matrix(2, 8, 2), [2, 2, 2, 2])];
    expect(await loss(attentionTransfer(ends), [p, [3, 'H', 'W']], [q, [2, 'H', 'W']])).toBeCloseTo(
      (await lossOf(attentionTransfer(ends), p, q)).loss,
      5,
    );
    await expect(loss(hintDistillation(ends), [a, [3, 'D']], [a, [3, 'D']])).rejects.toThrow('must be known');
  });
});

describe('what can not be compared', () => {
  const some = (shape: readonly number[]): Tensor =>
    tensor(
      matrix(
        1,
        shape.reduce((product, size) => product * size, 1),
        1,
      ),
      shape,
    );
  it.each<readonly [string, DistillationLoss, readonly number[], readonly number[], RegExp]>([
    ['scores of one class beside those of five', logitDistillation(ends), [4, 1], [4, 5], /same shape/],
    ['scores of five classes beside one', logitDistillation(ends), [4, 5], [4, 1], /same shape/],
    ['one score alone', logitDistillation(ends), [4, 1], [4, 1], /always 1/],
    [
      'one score alone, by its last axis',
      logitDistillation({ ...ends, axis: -1 }),
      [4, 3, 1],
      [4, 3, 1],
      /always 1/,
    ],
    ['one class, decoupled', decoupledDistillation(ends), [4, 1], [4, 5], /same shape/],
    ['correlations of one class', correlationDistillation(ends), [4, 5], [4, 1], /same shape/],
    ['correlations of sequences', correlationDistillation(ends), [4, 6, 5], [4, 6, 5], /\[N, C\]/],
    ['hints of other lengths', hintDistillation(ends), [2, 3, 4], [2, 5, 4], /only channels/],
    ['attention of one head', attentionDistillation(ends), [2, 1, 3, 3], [2, 4, 3, 3], /same shape/],
    ['attention to one position', attentionDistillation(ends), [2, 2, 3, 3], [2, 2, 3, 1], /same shape/],
    ['relations of one position', relationDistillation(ends), [2, 2, 3, 4], [2, 2, 1, 4], /3 positions/],
    ['relations without heads', relationDistillation(ends), [2, 2, 3], [2, 2, 3], /heads, T, d/],
    [
      'relations split unevenly',
      relationDistillation({ ...ends, heads: 3 }),
      [2, 3, 2, 4],
      [2, 2, 2, 4],
      /"f" of the teacher/,
    ],
  ])('%s', async (_, loss, student, teacher, message) => {
    const label = Tensor.from('int64', [4], new BigInt64Array(4));
    await expect(lossOf(loss, some(student), some(teacher), { label })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      message: expect.stringMatching(message),
    });
  });

  it.each([
    ['alpha', () => decoupledDistillation({ alpha: Number.NaN })],
    ['beta', () => decoupledDistillation({ beta: -1 })],
    ['gamma', () => correlationDistillation({ gamma: Number.POSITIVE_INFINITY })],
    ['angle', () => relationalDistillation({ ...ends, angle: Number.NaN })],
    ['power', () => attentionTransfer({ ...ends, power: Number.POSITIVE_INFINITY })],
    ['axis', () => logitDistillation({ axis: 0.5 })],
  ])('by a senseless %s', (name, make) => {
    expect(make).toThrow(name);
  });

  it('are not values of a wider float type: the teacher is brought to the type of the student', async () => {
    const b = new GraphBuilder('half');
    b.output('f', b.op.Cast([b.input('t', 'float32', ['N', 5])], { to: 10 }));
    const step = await trainingStep(await echo('s', { s: [5], t: [5] }), {
      loss: distillation({
        teacher: await teacherModel(await b.build()),
        terms: [{ loss: logitDistillation(ends) }],
      }),
      optimizer: sgd(),
      trainable: ['factor'],
    });
    await using executable = await referenceBackend().compile(step.model, { state: step.state });
    const results = await executable.run({ s: tensor(S), t: tensor(T), learning_rate: floats([], [0]) });
    const { loss } = await lossOf(logitDistillation(ends), tensor(S), tensor(T));
    expect(results[step.loss]?.toFloat64Array()[0]).toBeCloseTo(loss, 2);
  });
});

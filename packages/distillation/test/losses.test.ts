import { createRng, Tensor } from '@lithe/core';
import {
  attentionDistillation,
  attentionTransfer,
  correlationDistillation,
  decoupledDistillation,
  hiddenStateDistillation,
  hintDistillation,
  logitDistillation,
  relationalDistillation,
  relationDistillation,
  similarityPreserving,
} from '@lithe/distillation';
import { describe, expect, it } from 'vitest';
import { floats, lossOf } from './support.ts';

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
  it('hidden states behind a linear map', async () => {
    const result = await lossOf(
      hiddenStateDistillation(ends),
      tensor(matrix(2, 12, 1), [2, 3, 4]),
      tensor(matrix(2, 18, 2), [2, 3, 6]),
    );
    expect(result.parameters.filter((name) => name.startsWith('loss:')).length).toBe(2);
  });

  it('attention scores, without what a mask forbids', async () => {
    const scores = [0.5, -1e9, 2, 1];
    const { loss } = await lossOf(
      attentionDistillation(ends),
      floats([1, 1, 2, 2], scores),
      floats([1, 1, 2, 2], [1, -3e38, 2, 3]),
    );
    expect(loss).toBeCloseTo((0.25 + 4) / 4, 6);
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

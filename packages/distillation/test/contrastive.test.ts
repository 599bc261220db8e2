import { referenceBackend } from '@lithe/core/reference';
import {
  contrastiveDistillation,
  contrastTable,
  distillation,
  findTaps,
  teacherModel,
} from '@lithe/distillation';
import { mlp, sampleTable, sgd, trainingStep } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { echo, floats } from './support.ts';

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((total, value, at) => total + value * (b[at] ?? 0), 0);
const unit = (a: readonly number[]): number[] => a.map((value) => value / Math.sqrt(dot(a, a)));

describe('contrastive distillation', () => {
  it('draws negatives of other classes, the same for the same seed and batch', async () => {
    const table = contrastTable(sampleTable({ inputs: { s: floats([6, 1], [0, 1, 2, 3, 4, 5]) } }), {
      labels: [0, 0, 1, 1, 2, 2],
      negatives: 20,
      seed: 3,
    });
    const batch = await table.gather(Uint32Array.of(0, 3));
    const { targets } = batch;
    expect(targets?.['sample_index']?.toFloat64Array()).toEqual(Float64Array.of(0, 3));
    const drawn = [...(targets?.['sample_negatives']?.toFloat64Array() ?? [])];
    expect(drawn.slice(0, 20).every((index) => index >= 2)).toBe(true);
    expect(drawn.slice(20).every((index) => index < 2 || index > 3)).toBe(true);
    const again = await table.gather(Uint32Array.of(0, 3));
    expect(again.targets?.['sample_negatives']?.bytes).toEqual(targets?.['sample_negatives']?.bytes);
    expect(() => contrastTable(table, { labels: [0, 0, 0, 0, 0, 0] })).toThrow('more than one class');
  });

  it('draws from all that may be drawn, evenly, and nothing else', async () => {
    const counts = async (labels: readonly number[] | undefined): Promise<number[]> => {
      const negatives = 4000;
      const table = contrastTable(sampleTable({ inputs: { s: floats([5, 1], [0, 1, 2, 3, 4]) } }), {
        labels,
        negatives,
      });
      const { targets } = await table.gather(Uint32Array.of(2));
      const found = [0, 0, 0, 0, 0];
      for (const index of targets?.['sample_negatives']?.toFloat64Array() ?? [])
        found[index] = (found[index] ?? 0) + 5 / negatives;
      return found;
    };
    for (const [at, share] of (await counts(undefined)).entries())
      expect(share).toBeCloseTo(at === 2 ? 0 : 5 / 4, 0);
    expect((await counts(undefined))[2]).toBe(0);
    const own = await counts([7, -1, 7, 0, -1]);
    expect([own[0], own[2]]).toEqual([0, 0]);
    for (const at of [1, 3, 4]) expect(Math.abs((own[at] ?? 0) - 5 / 3)).toBeLessThan(0.15);
  });

  it('takes no longer where all samples but one are of a class', async () => {
    const size = 100_000;
    const labels = new Uint8Array(size);
    labels[70_000] = 1;
    const inner = { size, description: 'many', gather: () => Promise.resolve({ inputs: {}, size: 1 }) };
    const { targets } = await contrastTable(inner, { labels }).gather(Uint32Array.of(5));
    expect(new Set(targets?.['sample_negatives']?.toFloat64Array())).toEqual(new Set([70_000]));
  });

  it('gives each pair of values embeddings of its own', async () => {
    const model = await mlp({ inputs: 2, hidden: [4, 4], classes: 3 });
    const terms = findTaps(model, 'Relu*').map((student) => ({
      loss: contrastiveDistillation({ student, samples: 5, negatives: 2, width: 3 }),
    }));
    const loss = distillation({ teacher: await teacherModel(model), terms });
    const { lossParameters } = await trainingStep(model, { loss, optimizer: sgd() });
    expect(terms.length).toBe(2);
    expect(new Set(lossParameters).size).toBe(8);
  });

  it.each([
    ['samples', { samples: 1 }],
    ['negatives', { negatives: 0 }],
    ['negatives', { negatives: 2.5 }],
    ['width', { width: Number.NaN }],
    ['temperature', { temperature: Number.POSITIVE_INFINITY }],
    ['momentum', { momentum: 1 }],
  ])('refuses senseless %s', (name, options) => {
    expect(() => contrastiveDistillation({ student: 'f', samples: 5, ...options })).toThrow(name);
  });

  it('follows the paper over three steps', async () => {
    const samples = 5;
    const table = contrastTable(
      sampleTable({
        inputs: {
          s: floats(
            [samples, 3],
            Float32Array.from({ length: 15 }, (_, at) => Math.sin(at)),
          ),
          t: floats(
            [samples, 2],
            Float32Array.from({ length: 10 }, (_, at) => Math.cos(at)),
          ),
        },
      }),
      { negatives: 4, seed: 1 },
    );
    const step = await trainingStep(await echo('s', { s: [3], t: [2] }), {
      loss: distillation({
        teacher: await teacherModel(await echo('t', { t: [2] })),
        terms: [
          {
            loss: contrastiveDistillation({
              student: 'f',
              samples,
              negatives: 4,
              width: 4,
              temperature: 0.5,
              momentum: 0.7,
            }),
          },
        ],
      }),
      optimizer: sgd({ momentum: 0 }),
      trainable: ['factor'],
    });
    await using executable = await referenceBackend().compile(step.model, { state: step.state });
    const state = await executable.readState();
    const rowsOf = (name: string): number[][] => {
      const tensor = state[name];
      const [rows = 0, width = 0] = tensor?.shape ?? [];
      const values = [...(tensor?.toFloat64Array() ?? [])];
      return Array.from({ length: rows }, (_, row) => values.slice(row * width, (row + 1) * width));
    };
    const memories = { student: rowsOf('loss:memory:student'), teacher: rowsOf('loss:memory:teacher') };
    const weights = {
      student: rowsOf('loss:contrast:f:f:student.weight'),
      teacher: rowsOf('loss:contrast:f:f:teacher.weight'),
    };
    const normalizers = { student: 0, teacher: 0 };
    for (const batchIndices of [
      [0, 2],
      [2, 4],
      [4, 0],
    ]) {
      const batch = await table.gather(Uint32Array.from(batchIndices));
      const features = (name: 's' | 't', side: 'student' | 'teacher'): number[][] => {
        const width = name === 's' ? 3 : 2;
        const values = [...(batch.inputs[name]?.toFloat64Array() ?? [])];
        return batchIndices.map((_, n) => {
          const row = values.slice(n * width, (n + 1) * width);
          return unit(
            [0, 1, 2, 3].map((at) =>
              dot(
                row,
                weights[side].map((line) => line[at] ?? 0),
              ),
            ),
          );
        });
      };
      const embedded = { student: features('s', 'student'), teacher: features('t', 'teacher') };
      const negatives = [...(batch.targets?.['sample_negatives']?.toFloat64Array() ?? [])];
      let wanted = 0;
      for (const [own, other] of [
        ['student', 'teacher'],
        ['teacher', 'student'],
      ] as const) {
        const raw = batchIndices.map((index, n) =>
          [index, ...negatives.slice(n * 4, n * 4 + 4)].map((row) =>
            Math.exp(dot(memories[own][row] ?? [], embedded[other][n] ?? []) / 0.5),
          ),
        );
        const all = raw.flat();
        if (normalizers[own] === 0)
          normalizers[own] = (samples * all.reduce((total, value) => total + value, 0)) / all.length;
        const noise = 4 / samples;
        for (const scores of raw) {
          scores.forEach((score, at) => {
            const p = score / normalizers[own];
            wanted -=
              (at === 0 ? Math.log(p / (p + noise)) : Math.log(noise / (p + noise))) / batchIndices.length;
          });
        }
      }
      const results = await executable.run({
        ...batch.inputs,
        ...batch.targets,
        learning_rate: floats([], [0]),
      });
      expect(results[step.loss]?.toFloat64Array()[0]).toBeCloseTo(wanted, 4);
      batchIndices.forEach((index, n) => {
        for (const side of ['student', 'teacher'] as const) {
          const old = memories[side][index] ?? [];
          memories[side][index] = unit(
            old.map((value, at) => 0.7 * value + 0.3 * (embedded[side][n]?.[at] ?? 0)),
          );
        }
      });
    }
  });
});

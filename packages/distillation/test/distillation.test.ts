import { GraphBuilder, type Model, Tensor } from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import {
  type DistillationLoss,
  distillation,
  hintDistillation,
  logitDistillation,
  type Teacher,
  teacherEnsemble,
  teacherModel,
} from '@lithe/distillation';
import { crossEntropy, fit, layers, mlp, sampleTable, sgd, trainingStep } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { echo, floats } from './support.ts';

const rate = (value: number): Tensor => floats([], [value]);
const x = floats([4, 2], [0, 1, 2, -1, 0.5, 3, -2, 1]);
const label = Tensor.from('int64', [4], BigInt64Array.of(0n, 1n, 2n, 0n));

/** The mean of the teacher's and of the student's value, each times a factor: gradients are plain to see. */
const differenceOf = (tap: string): DistillationLoss => ({
  name: 'difference',
  build: ({ emit, value, teacher }) =>
    emit.op('ReduceMean', [emit.sub(value(tap), teacher(tap))], { keepdims: 0 }),
});

const firstRelu = ({ graph }: Model): string =>
  [...graph.nodes()].find((node) => node.is('Relu'))?.output().name ?? '';

async function firstLoss(model: Model, loss: ReturnType<typeof distillation>, feeds = {}): Promise<number[]> {
  const step = await trainingStep(model, { loss, optimizer: sgd() });
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  const losses: number[] = [];
  for (let at = 0; at < 3; at++) {
    const results = await executable.run({ x, learning_rate: rate(0), ...feeds });
    losses.push(results[step.loss]?.toFloat64Array()[0] ?? Number.NaN);
  }
  return losses;
}

describe('distillation', () => {
  it('teaches the student alone, and leaves teacher and regressors behind', async () => {
    const teacher = await mlp({ inputs: 2, hidden: [16, 16], classes: 3, seed: 5 });
    const before = await evaluateModel(teacher, { x });
    const student = await mlp({ inputs: 2, hidden: [4], classes: 3, seed: 1 });
    const classes = async (model: Model): Promise<number[]> => {
      const { logits } = await evaluateModel(model, { x });
      return [...(logits?.toFloat64Array() ?? [])].map(Math.exp).map((value, at, all) => {
        const row = all.slice(at - (at % 3), at - (at % 3) + 3);
        return value / row.reduce((total, item) => total + item, 0);
      });
    };
    const wanted = await classes(teacher);
    const apart = async (model: Model): Promise<number> =>
      Math.max(...(await classes(model)).map((value, at) => Math.abs(value - (wanted[at] ?? 0))));
    const data = sampleTable({ inputs: { x } });
    const hidden = firstRelu(teacher);
    const ours = firstRelu(student);
    const { model } = await fit(student, data, {
      backend: referenceBackend(),
      loss: distillation({
        teacher: await teacherModel(teacher),
        terms: [
          { loss: logitDistillation({ temperature: 2 }) },
          { loss: hintDistillation({ student: ours, teacher: hidden }), weight: 0.01 },
        ],
      }),
      optimizer: sgd(),
      learningRate: 0.05,
      epochs: 200,
      batchSize: 4,
    });
    expect(model.graph.nodeCount).toBe(student.graph.nodeCount);
    expect([...model.graph.values()].some((value) => /teacher|loss:/.test(value.name))).toBe(false);
    expect(await apart(model)).toBeLessThan((await apart(student)) / 3);
    expect(await evaluateModel(teacher, { x })).toEqual(before);
  });

  it('takes a loss on labels, factors, warm-up and teachers of their own', async () => {
    const student = await mlp({ inputs: 2, hidden: [4], classes: 3, seed: 1 });
    const [one, two] = (await Promise.all(
      [2, 3].map(async (seed) =>
        teacherModel(await mlp({ inputs: 2, hidden: [8], classes: 3, seed }), { name: `t${seed}` }),
      ),
    )) as [Teacher, Teacher];
    const single = async (teacher: Teacher): Promise<number> =>
      (await firstLoss(student, distillation({ teacher, terms: [{ loss: differenceOf('logits') }] })))[0] ??
      0;
    const task = crossEntropy({ logits: 'logits' });
    const [alone = 0] = await firstLoss(student, task, { label });
    const [a, b] = [await single(one), await single(two)];
    const loss = distillation({
      teacher: one,
      task,
      taskWeight: 0.5,
      terms: [
        { loss: differenceOf('logits'), weight: 2 },
        { loss: differenceOf('logits'), teacher: two, weight: 3, warmUp: 2 },
      ],
    });
    const seen = await firstLoss(student, loss, { label });
    expect(seen[0]).toBeCloseTo(alone / 2 + 2 * a + 1.5 * b, 5);
    expect(seen[1]).toBeCloseTo(alone / 2 + 2 * a + 3 * b, 5);
    expect(seen[2]).toBeCloseTo(seen[1] ?? 0, 6);
    const both = await single(teacherEnsemble([one, two], [1, 3]));
    expect(both).toBeCloseTo((a + 3 * b) / 4, 5);
  });

  it('keeps a teacher in inference form', async () => {
    const b = new GraphBuilder('with-norm');
    const net = layers(b, 3);
    const input = b.input('x', 'float32', ['N', 2]);
    b.output('f', net.dropout(net.batchNorm2d(net.linear(input, 3)), 0.5));
    const teacher = await b.build();
    const student = await mlp({ inputs: 2, hidden: [4], classes: 3, seed: 1 });
    const loss = distillation({
      teacher: await teacherModel(teacher),
      terms: [
        {
          loss: {
            name: 'mean',
            build: ({ emit, value, teacher: theirs }) =>
              emit.op('ReduceMean', [emit.add(emit.scale(value('logits'), 0), theirs('f'))], { keepdims: 0 }),
          },
        },
      ],
    });
    const { f } = await evaluateModel(teacher, { x });
    const wanted = [...(f?.toFloat64Array() ?? [])].reduce((total, value) => total + value, 0) / 12;
    const seen = await firstLoss(student, loss);
    for (const value of seen) expect(value).toBeCloseTo(wanted, 5);
  });

  it('says what does not fit', async () => {
    const student = await mlp({ inputs: 2, hidden: [4], classes: 3 });
    const teacher = await teacherModel(await echo('u', { u: [2] }));
    const step = (term: DistillationLoss): Promise<unknown> =>
      trainingStep(student, { loss: distillation({ teacher, terms: [{ loss: term }] }), optimizer: sgd() });
    await expect(step(logitDistillation())).rejects.toThrow('It has no value called "logits"');
    await expect(step(logitDistillation({ teacher: 'f' }))).rejects.toThrow('fed by "u"');
    expect(() => distillation({ teacher, terms: [] })).toThrow('no term');
    expect(() => distillation({ teacher, terms: [{ loss: logitDistillation(), weight: -1 }] })).toThrow(
      '0 or more',
    );
    expect(() => logitDistillation({ temperature: 0 })).toThrow('above 0');
    expect(() => teacherEnsemble([])).toThrow('There must be teachers');
  });
});

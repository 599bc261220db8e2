import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, createRng, type Feeds, type Model } from '@lithe/core';
import {
  distillation,
  findTaps,
  logitDistillation,
  recordTeacher,
  suggestTaps,
  teacherModel,
} from '@lithe/distillation';
import { fileRows } from '@lithe/distillation/node';
import { fit, mlp, mobileNetV2, resnet20, sampleTable, sgd } from '@lithe/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats } from './support.ts';

const rng = createRng(4);
const x = floats(
  [50, 2],
  Float32Array.from({ length: 100 }, () => rng.normal()),
);
const table = sampleTable({ inputs: { x } });

describe('recordTeacher', () => {
  let backend: Backend;
  let folder: string;
  beforeAll(async () => {
    backend = await onnxruntimeNode({ threads: 1 });
    folder = await mkdtemp(path.join(tmpdir(), 'lithe-teacher-'));
  });
  afterAll(async () => {
    await backend.dispose();
    await rm(folder, { recursive: true });
  });

  it('trains a student as the teacher in the graph does', async () => {
    const teacher = await mlp({ inputs: 2, hidden: [16], classes: 3, seed: 5 });
    const student = await mlp({ inputs: 2, hidden: [4], classes: 3, seed: 1 });
    const terms = [{ loss: logitDistillation() }];
    const settings = { backend, optimizer: sgd(), learningRate: 0.1, epochs: 3, batchSize: 10 };
    const recorded = await recordTeacher(teacher, table, { backend, batchSize: 8 });
    const losses = await Promise.all([
      fit(student, table, {
        ...settings,
        loss: distillation({ teacher: await teacherModel(teacher), terms }),
      }),
      fit(student, recorded.table, { ...settings, loss: distillation({ teacher: recorded.teacher, terms }) }),
    ]);
    const [live, kept] = losses.map(({ history }) => history.map(({ loss }) => loss));
    expect(live?.length).toBe(3);
    kept?.forEach((loss, epoch) => {
      expect(loss).toBeCloseTo(live?.[epoch] ?? 0, 5);
    });
  });

  it('goes on in a file where it was, and begins anew for another teacher', async () => {
    const file = path.join(folder, 'logits.rows');
    const teacher = await mlp({ inputs: 2, hidden: [16], classes: 3, seed: 5 });
    let runs = 0;
    const counting: Backend = Object.assign(Object.create(backend) as Backend, {
      compile: async (model: Model) => {
        const executable = await backend.compile(model);
        const run = (feeds: Feeds): Promise<Feeds> => {
          runs++;
          return executable.run(feeds);
        };
        return {
          inputNames: executable.inputNames,
          run,
          [Symbol.asyncDispose]: () => executable.dispose(),
        };
      },
    });
    const options = { backend: counting, batchSize: 10, store: () => fileRows(file) };
    const whole = await recordTeacher(teacher, table, options);
    const indices = Uint32Array.of(49, 0, 7);
    const wanted = (await whole.table.gather(indices)).targets?.['teacher:logits'];
    expect(runs).toBe(6);
    // Stopped after 23 rows and a half: 27 are to come, in three runs beside the one that looks at shapes.
    await truncate(file, 23 * 12 + 5);
    const resumed = await recordTeacher(teacher, table, options);
    expect(runs).toBe(10);
    expect((await resumed.table.gather(indices)).targets?.['teacher:logits']?.bytes).toEqual(wanted?.bytes);
    await recordTeacher(teacher, table, options);
    expect(runs).toBe(11);
    await recordTeacher(await mlp({ inputs: 2, hidden: [16], classes: 3, seed: 6 }), table, options);
    expect(runs).toBe(17);
  });

  it('stops when it is told to, and says what it cannot record', async () => {
    const teacher = await mlp({ inputs: 2, hidden: [16], classes: 3, seed: 5 });
    await expect(recordTeacher(teacher, table, { backend, signal: AbortSignal.abort() })).rejects.toThrow();
    await expect(recordTeacher(teacher, table, { backend, values: ['nothing'] })).rejects.toThrow(
      'no value called "nothing"',
    );
    await expect(recordTeacher(teacher, table, { backend, values: ['linear1.bias'] })).rejects.toThrow();
    const other = sampleTable({ inputs: { y: x } });
    await expect(recordTeacher(teacher, other, { backend })).rejects.toThrow('have no "x"');
  });
});

describe('taps', () => {
  it('are found by pattern', async () => {
    const model = await mlp({ inputs: 2, hidden: [4, 4], classes: 3 });
    expect(findTaps(model, 'Relu*').length).toBe(2);
    expect(() => findTaps(model, 'nothing*')).toThrow('No computed value');
  });

  it('are suggested where stages end', async () => {
    const student = await mobileNetV2({ image: [3, 32, 32], width: 0.25 });
    const teacher = await resnet20();
    const found = await suggestTaps(student, teacher);
    const shapes = found.map(({ studentShape, teacherShape }) => [studentShape, teacherShape]);
    expect(shapes).toEqual([
      [
        [48, 16, 16],
        [32, 16, 16],
      ],
      [
        [48, 8, 8],
        [64, 8, 8],
      ],
    ]);
    for (const { studentShape, teacherShape, projector } of found) {
      expect(studentShape.slice(1)).toEqual(teacherShape.slice(1));
      expect(projector).toBe(studentShape[0] !== teacherShape[0]);
    }
  });
});

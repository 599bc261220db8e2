import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, createRng, type Feeds, GraphBuilder, type Model } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import {
  distillation,
  findTaps,
  logitDistillation,
  memoryRows,
  type RecordedTeacher,
  type RowStore,
  recordTeacher,
  suggestTaps,
  type Teacher,
  teacherModel,
} from '@lithe/distillation';
import { fileRows } from '@lithe/distillation/node';
import {
  fit,
  mlp,
  mobileNetV2,
  resnet20,
  type SampleTable,
  sampleTable,
  sgd,
  transformerEncoder,
} from '@lithe/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, openEncoder } from './support.ts';

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

describe('what a recording is of', () => {
  const backend = referenceBackend();
  let teacher: Model;
  beforeAll(async () => {
    teacher = await mlp({ inputs: 2, hidden: [4], classes: 3, seed: 5 });
  });
  const rowOf = async (recorded: RecordedTeacher, index: number): Promise<readonly number[]> => [
    ...((await recorded.table.gather(Uint32Array.of(index))).targets?.['teacher:logits']?.toFloat64Array() ??
      []),
  ];

  it('is these samples: others in the middle or at the end begin it anew', async () => {
    for (const changed of [31, 49]) {
      const rows = memoryRows();
      const store = (): RowStore => rows;
      const before = await rowOf(await recordTeacher(teacher, table, { backend, store }), changed);
      const values = x.data.slice();
      values[2 * changed] = 9;
      const other = sampleTable({ inputs: { x: floats([50, 2], values) } });
      const after = await rowOf(await recordTeacher(teacher, other, { backend, store }), changed);
      expect(after).not.toEqual(before);
      expect(after).toEqual(await rowOf(await recordTeacher(teacher, other, { backend }), changed));
    }
  });

  it('is one teacher: a second of the same name is refused, one of another stands beside it', async () => {
    const first = await recordTeacher(teacher, table, { backend });
    const other = await mlp({ inputs: 2, hidden: [4], classes: 3, seed: 6 });
    await expect(recordTeacher(other, first.table, { backend })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      message: expect.stringContaining('"teacher:logits" already'),
    });
    const second = await recordTeacher(other, first.table, { backend, name: 'other' });
    const { targets } = await second.table.gather(Uint32Array.of(3));
    expect(Object.keys(targets ?? {})).toEqual(['teacher:logits', 'other:logits']);
    expect([...(targets?.['teacher:logits']?.toFloat64Array() ?? [])]).toEqual(await rowOf(first, 3));
  });

  it('goes on where one value is further than another', async () => {
    const values = ['logits', 'Relu_0_output'];
    const stores = new Map(values.map((value) => [value, memoryRows()]));
    let left = 3;
    const failing = (value: string): RowStore => {
      const inner = stores.get(value) as RowStore;
      // The disk is full when the second value is written the second time.
      const append: RowStore['append'] = (bytes) =>
        left-- > 0 ? inner.append(bytes) : Promise.reject(new Error('full'));
      return { ...inner, append };
    };
    const options = { backend, values, batchSize: 20 };
    await expect(recordTeacher(teacher, table, { ...options, store: failing })).rejects.toThrow('full');
    expect([await stores.get('logits')?.rows(), await stores.get('Relu_0_output')?.rows()]).toEqual([40, 20]);
    const whole = await recordTeacher(teacher, table, options);
    const resumed = await recordTeacher(teacher, table, {
      ...options,
      store: (value) => stores.get(value) as RowStore,
    });
    const all = Uint32Array.from({ length: 50 }, (_, at) => at);
    const [wanted, found] = [await whole.table.gather(all), await resumed.table.gather(all)];
    for (const value of values) {
      expect(await stores.get(value)?.rows()).toBe(50);
      expect(found.targets?.[`teacher:${value}`]?.bytes).toEqual(wanted.targets?.[`teacher:${value}`]?.bytes);
    }
  });

  it.each([0, -1, 2.5, Number.NaN])('is not made in batches of %d', async (batchSize) => {
    await expect(recordTeacher(teacher, table, { backend, batchSize })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });

  it('is not nothing', async () => {
    const none = sampleTable({ inputs: { x: floats([0, 2], []) } });
    await expect(recordTeacher(teacher, none, { backend })).rejects.toMatchObject({ code: 'DATA_INVALID' });
    const b = new GraphBuilder('narrow');
    b.output('logits', b.op.MatMul([b.input('x', 'float32', ['N', 2]), floats([2, 0], [])]));
    await expect(recordTeacher(await b.build(), table, { backend })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });

  it('may be made sample by sample, by a teacher that takes no more', async () => {
    const b = new GraphBuilder('single');
    b.output('logits', b.op.Mul([b.input('x', 'float32', [1, 2]), floats([1], [2])]));
    const recorded = await recordTeacher(await b.build(), table, { backend, batchSize: 1 });
    expect(await rowOf(recorded, 7)).toEqual([2 * (x.data[14] ?? 0), 2 * (x.data[15] ?? 0)]);
  });

  it('is in float32, of a teacher that computes in float16; in the graph it is cast, too', async () => {
    const b = new GraphBuilder('half');
    const input = b.input('x', 'float16', ['N', 2]);
    b.output('logits', b.op.Add([input, input]));
    const half = await b.build();
    const recorded = await recordTeacher(half, table, { backend });
    const [left = 0] = await rowOf(recorded, 7);
    expect(left).toBeCloseTo(2 * (x.data[14] ?? 0), 2);
    const student = await mlp({ inputs: 2, hidden: [4], classes: 2, seed: 1 });
    const first = async (teacher: Teacher, from: SampleTable): Promise<number | undefined> => {
      const { history } = await fit(student, from, {
        backend,
        optimizer: sgd(),
        learningRate: 0.1,
        epochs: 1,
        batchSize: 10,
        loss: distillation({ teacher, terms: [{ loss: logitDistillation() }] }),
      });
      return history[0]?.loss;
    };
    expect(await first(await teacherModel(half), table)).toBeCloseTo(
      (await first(recorded.teacher, recorded.table)) ?? 0,
      5,
    );
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

  it('are suggested at the same relative depth of transformers, where blocks end', async () => {
    const size = { vocabulary: 11, length: 6, heads: 2, classes: 4 };
    const student = await transformerEncoder({ ...size, depth: 2, width: 8 });
    const teacher = await transformerEncoder({ ...size, depth: 4, width: 16 });
    const found = await suggestTaps(student, teacher);
    // Two blocks in each layer, attention and the rest; the last goes through a normalization.
    const residuals = (model: Model): readonly string[] =>
      [...model.graph.nodes()]
        .filter((node) => node.is('LayerNormalization'))
        .flatMap((node) => {
          const { producer, uses, name } = node.input(0) ?? { producer: null, uses: [], name: '' };
          return producer?.is('Add') ? [uses.length === 1 ? node.output().name : name] : [];
        })
        .slice(1);
    const [ours, theirs] = [residuals(student), residuals(teacher)];
    expect([ours.length, theirs.length]).toEqual([4, 8]);
    expect(found.map((pair) => pair.student)).toEqual(ours);
    expect(found.map((pair) => pair.teacher)).toEqual([1, 3, 5, 7].map((at) => theirs[at]));
    expect(
      found.every(({ studentShape, teacherShape }) => studentShape[1] === 8 && teacherShape[1] === 16),
    ).toBe(true);
    // Turned round, the larger is asked at the depths that the smaller has.
    const back = await suggestTaps(teacher, student);
    expect(back.map((pair) => [pair.student, pair.teacher])).toEqual(
      found.map((pair) => [pair.teacher, pair.student]),
    );
  });

  it.each([
    ['both', ['samples', 'length'], ['batch', null]],
    ['the student', ['samples', 'length'], [2, 6]],
    ['the teacher', [2, 6], ['batch', 'words']],
  ])('are suggested where lengths are open in %s', async (_, ours, theirs) => {
    const size = { vocabulary: 11, heads: 2, classes: 4 };
    const fixed = [
      await transformerEncoder({ ...size, length: 6, depth: 1, width: 8 }),
      await transformerEncoder({ ...size, length: 6, depth: 2, width: 16 }),
    ] as const;
    const wanted = await suggestTaps(...fixed);
    expect(wanted.length).toBe(2);
    const found = await suggestTaps(openEncoder(fixed[0], ours), openEncoder(fixed[1], theirs));
    expect(found.map(({ student, teacher }) => [student, teacher])).toEqual(
      wanted.map(({ student, teacher }) => [student, teacher]),
    );
    for (const { studentShape, teacherShape, projector } of found)
      expect([studentShape[1], teacherShape[1], projector]).toEqual([8, 16, true]);
  });

  it('are suggested of texts of two lengths each by its own, and of pictures of open sizes by their stages', async () => {
    const b = new GraphBuilder('texts');
    const [source, target] = ['source', 'target'].map((name, at) =>
      b.op.Relu([b.input(name, 'float32', ['N', at === 0 ? 'S' : 'T', 4])]),
    );
    b.output(
      'y',
      b.op.MatMul([b.op.Neg([target ?? null]), b.op.Transpose([source ?? null], { perm: [0, 2, 1] })]),
    );
    const t = new GraphBuilder('texts-turned');
    const [later, earlier] = ['target', 'source'].map((name) =>
      t.op.Relu([t.input(name, 'float32', ['N', null, 4])]),
    );
    t.output(
      'y',
      t.op.MatMul([t.op.Neg([later ?? null]), t.op.Transpose([earlier ?? null], { perm: [0, 2, 1] })]),
    );
    const pairs = await suggestTaps(await b.build(), await t.build());
    expect(pairs.map(({ student, teacher }) => [student, teacher])).toEqual([
      ['Relu_0_output', 'Relu_1_output'],
      ['Relu_1_output', 'Relu_0_output'],
    ]);
    const stages = async (sizes: readonly (string | number)[], first: number): Promise<Model> => {
      const p = new GraphBuilder('pictures');
      let x = p.input('x', 'float32', ['N', 2, ...sizes]);
      for (const stride of [first, 2, 2])
        x = p.op.Relu([
          p.op.MaxPool([x], { kernel_shape: [2, 2], strides: [stride, stride], auto_pad: 'SAME_UPPER' }),
        ]);
      p.output('y', p.op.GlobalAveragePool([x]));
      return await p.build();
    };
    const found = await suggestTaps(await stages(['H', 'W'], 2), await stages(['rows', 'columns'], 4));
    expect(found.map(({ student, teacher }) => [student, teacher])).toEqual([
      ['Relu_1_output', 'Relu_0_output'],
      ['Relu_2_output', 'Relu_1_output'],
    ]);
  });

  it('are suggested of what lies inside: outputs have losses of their own', async () => {
    const b = new GraphBuilder('pictures');
    b.output('y', b.op.Relu([b.op.Relu([b.op.Neg([b.input('x', 'float32', ['N', 2, 4, 4])])])]));
    const model = await b.build();
    expect((await suggestTaps(model, model)).map(({ student }) => student)).toEqual(['Relu_0_output']);
  });

  it('are suggested for sequences without residual blocks, and never of scores of attention', async () => {
    const sequences = async (depth: number): Promise<Model> => {
      const b = new GraphBuilder('sequences');
      let x = b.input('x', 'float32', ['N', 5, 4]);
      for (let at = 0; at < depth; at++) x = b.op.Relu([x]);
      const scores = b.op.Add([
        b.op.MatMul([x, b.op.Transpose([x], { perm: [0, 2, 1] })]),
        floats([5, 5], new Array(25).fill(1)),
      ]);
      b.output('y', b.op.MatMul([b.op.Softmax([scores]), x]));
      return await b.build();
    };
    const found = await suggestTaps(await sequences(1), await sequences(3));
    expect(found.map((pair) => [pair.student, pair.teacher])).toEqual([['Relu_0_output', 'Relu_2_output']]);
  });
});

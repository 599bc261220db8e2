import {
  attribute,
  constantOf,
  type Dim,
  type Feeds,
  GraphBuilder,
  type Model,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { type DistillationLoss, distillation, teacherModel } from '@lithe/distillation';
import { sgd, trainingStep } from '@lithe/training';

export const floats = (shape: readonly number[], values: ArrayLike<number>): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

/** The numbers of a weight; none where there is no such weight. */
export const weightOf = async (model: Model, name = 'linear1.weight'): Promise<readonly number[]> => [
  ...((await constantOf(model.graph.value(name))?.load())?.toFloat64Array() ?? []),
];

/** A model that hands its input `from` out as `f`, times a factor that learns. */
export async function echo(
  from: string,
  shapes: Readonly<Record<string, readonly number[]>>,
): Promise<Model> {
  const b = new GraphBuilder(`echo-${from}`);
  let out: Value | undefined;
  for (const [name, shape] of Object.entries(shapes)) {
    const value = b.input(name, 'float32', ['N', ...shape]);
    if (name === from) out = value;
  }
  b.output('f', b.op.Mul([out as Value, b.constant('factor', floats([1], [1]))]));
  return await b.build();
}

/** What a loss gives for features of student and teacher, in the graph that trains, and the weights it had. */
export async function lossOf(
  loss: DistillationLoss,
  student: Tensor,
  teacher: Tensor,
  feeds: Feeds = {},
): Promise<{ readonly loss: number; readonly parameters: readonly string[]; readonly state: Feeds }> {
  const shapes = { s: student.shape.slice(1), t: teacher.shape.slice(1) };
  const step = await trainingStep(await echo('s', shapes), {
    loss: distillation({ teacher: await teacherModel(await echo('t', { t: shapes.t })), terms: [{ loss }] }),
    optimizer: sgd(),
    trainable: ['factor'],
  });
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  const state = await executable.readState();
  const results = await executable.run({ s: student, t: teacher, learning_rate: floats([], [0]), ...feeds });
  return {
    loss: results[step.loss]?.toFloat64Array()[0] ?? Number.NaN,
    parameters: [...step.parameters, ...step.lossParameters],
    state,
  };
}

/** A `transformerEncoder` as exporters write it with open axes: `tokens` of any size, positions counted while it runs. */
export function openEncoder(model: Model, tokens: readonly Dim[]): Model {
  const copy = model.clone();
  const { graph } = copy;
  const [input, positions] = [graph.value('tokens'), graph.value('every')];
  if (input === undefined || positions === undefined) throw new Error('no encoder');
  input.type = tensorType('int64', tokens);
  for (const node of graph.nodes()) for (const output of node.outputs) output.type = undefined;
  const scalar = (value: bigint): Value =>
    graph.addInitializer(graph.uniqueName('scalar'), Tensor.from('int64', [], BigInt64Array.of(value)));
  const before = { before: [...graph.nodes()][0] };
  const shape = graph.addNode({ opType: 'Shape', inputs: [input] }, 1, before).output();
  const attributes = new Map([['axis', attribute.int(0)]]);
  const length = graph
    .addNode({ opType: 'Gather', inputs: [shape, scalar(1n)], attributes }, 1, before)
    .output();
  const every = graph
    .addNode({ opType: 'Range', inputs: [scalar(0n), length, scalar(1n)] }, 1, before)
    .output();
  graph.replaceAllUses(positions, every);
  graph.removeValue(positions);
  return copy;
}

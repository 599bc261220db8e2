import { errors, type Graph, inferShapes, type Model, type Node, tensorType, type Value } from '@lithe/core';
import type { Loss, LossContext } from '@lithe/training';

/** How a float model teaches its quantized form. */
export interface SoftTargetOptions {
  /** The teacher; not changed. Its inputs have the names of the student's. */
  readonly teacher: Model;
  /** Value of the teacher that holds its class scores. */
  readonly teacherScores: string;
  /** Value of the student that holds its class scores, `[N, C]`. */
  readonly scores: string;
  /** Temperature that both are softened by. */
  readonly temperature: number;
  /** Factor on this part of the loss. */
  readonly weight: number;
  /** Loss on labels, which gets the rest of the weight; none without labels. */
  readonly task: Loss | undefined;
}

/**
 * A loss in which the quantized model also matches the softened scores of a float one, computed in the same graph:
 * w T^2 KL(softmax(t / T) || softmax(s / T)) + (1 - w) task, the divergence averaged over the batch.
 *
 * @see Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2
 */
export async function softTargets(options: SoftTargetOptions): Promise<Loss> {
  const { teacherScores, temperature, weight, task } = options;
  const teacher = options.teacher.clone();
  await inferShapes(teacher);
  return {
    name: 'soft targets',
    build: (context) => {
      const { emit } = context;
      const student = context.value(options.scores);
      const taught = copyInto(context, teacher, teacherScores);
      const wanted = emit.op('Softmax', [emit.scale(taught, 1 / temperature)], { axis: 1 });
      const log = emit.op('LogSoftmax', [emit.scale(taught, 1 / temperature)], { axis: 1 });
      const own = emit.op('LogSoftmax', [emit.scale(student, 1 / temperature)], { axis: 1 });
      const each = emit.sum(emit.mul(context.detach(wanted), emit.sub(context.detach(log), own)), [1], false);
      const divergence = emit.op('ReduceMean', [each], { keepdims: 0 });
      const soft = emit.scale(divergence, weight * temperature * temperature);
      if (task === undefined) return soft;
      return emit.add(soft, emit.scale(task.build(context), 1 - weight));
    },
  };
}

/** Copies what a value of another model is computed from into the training graph, and gives its copy. */
function copyInto({ graph, opsetImports }: LossContext, teacher: Model, name: string): Value {
  const wanted = teacher.graph.value(name);
  if (wanted === undefined) throw errors.optionsInvalid('teacher', [`It has no value called "${name}".`]);
  const copies = new Map<Value, Value>();
  for (const node of neededFor(wanted)) {
    if (node.subgraphs.length > 0)
      throw errors.opUnsupported(node.name, node.op, 'Teaching', 'it holds a subgraph');
    const inputs = node.inputs.map((value) =>
      value === null
        ? null
        : (copies.get(value) ?? sourceOf(value, { graph, copies, teacher: teacher.graph })),
    );
    const outputs = node.outputs.map((value) => ({
      name: value.name === '' ? '' : graph.uniqueName(`teacher/${value.name}`),
      type: value.type,
    }));
    const { domain, opType, attributes } = node;
    const copy = graph.addNode({ domain, opType, inputs, attributes: new Map(attributes) }, outputs);
    node.outputs.forEach((value, index) => {
      copies.set(value, copy.output(index));
    });
  }
  for (const [domain, version] of teacher.opsetImports) if (domain !== '') opsetImports.set(domain, version);
  return copies.get(wanted) ?? sourceOf(wanted, { graph, copies, teacher: teacher.graph });
}

/** Nodes that a value is computed by, in order. */
function neededFor(wanted: Value): readonly Node[] {
  const needed = new Set<Node>();
  if (wanted.producer !== null) needed.add(wanted.producer);
  const order: Node[] = [];
  for (const node of wanted.graph.nodesReversed()) {
    if (!needed.has(node)) continue;
    order.push(node);
    for (const value of node.inputs)
      if (value !== null && value.producer !== null) needed.add(value.producer);
  }
  return order.reverse();
}

/** A constant of the teacher, or the input of the student that its input is fed by. */
function sourceOf(
  value: Value,
  {
    graph,
    copies,
    teacher,
  }: { readonly graph: Graph; readonly copies: Map<Value, Value>; readonly teacher: Graph },
): Value {
  const { initializer } = value;
  const fed = teacher.isInput(value) && initializer === undefined ? graph.value(value.name) : undefined;
  const found =
    initializer === undefined
      ? fed
      : graph.addInitializer(graph.uniqueName(`teacher/${value.name}`), initializer);
  if (found === undefined)
    throw errors.optionsInvalid('teacher', [`Its input "${value.name}" is none of the student's.`]);
  found.type ??= tensorType('float32');
  copies.set(value, found);
  return found;
}

import { errors, inferShapes, type Model, standardOps, type Value } from '@lithe/core';
import { Graft, type Loss, type LossContext } from '@lithe/training';

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
  for (const [domain, version] of teacher.opsetImports) if (domain !== '') opsetImports.set(domain, version);
  const input = (own: string): Value => {
    const found = graph.value(own);
    if (found !== undefined) return found;
    throw errors.optionsInvalid('teacher', [`Its input "${own}" is none of the student's.`]);
  };
  return new Graft({
    source: teacher.graph,
    target: graph,
    prefix: 'teacher/',
    opset: standardOps,
    input,
  }).copy(wanted);
}

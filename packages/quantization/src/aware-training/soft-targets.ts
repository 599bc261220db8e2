import { errors, inferShapes, type Model, standardOps, type Value } from '@lithe/core';
import { Graft, type Loss, type LossContext } from '@lithe/training';

/** How a float model teaches its quantized form. */
export interface SoftTargetOptions {
  /** The teacher; not changed. A single input is fed by the only one of the student, several by those of their names. */
  readonly teacher: Model;
  /** The model that it teaches; only the names of its inputs are taken. */
  readonly student: Model;
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
 * @throws {LitheError} OPTIONS_INVALID when the teacher has local functions, or, from `build`, an input that the student
 *   has not
 * @see Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2
 */
export async function softTargets(options: SoftTargetOptions): Promise<Loss> {
  const { teacherScores, temperature, weight, task } = options;
  const fed = fedInputs(options.student);
  const teacher = options.teacher.clone();
  if (teacher.functions.length > 0)
    throw errors.optionsInvalid('teacher', ['It has local functions.'], 'Inline them first.');
  await inferShapes(teacher);
  return {
    name: 'soft targets',
    build: (context) => {
      const { emit } = context;
      const student = context.value(options.scores);
      const taught = copyInto(context, { teacher, name: teacherScores, fed });
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

/** Copies what a value of another model is computed from into the training graph, and gives its copy as float32. */
function copyInto(
  { graph, opsetImports, emit }: LossContext,
  { teacher, name, fed }: { readonly teacher: Model; readonly name: string; readonly fed: readonly string[] },
): Value {
  const wanted = teacher.graph.value(name);
  if (wanted === undefined) throw errors.optionsInvalid('teacher', [`It has no value called "${name}".`]);
  for (const [domain, version] of teacher.opsetImports) if (domain !== '') opsetImports.set(domain, version);
  const [only, another] = fedInputs(teacher).length === 1 ? fed : [];
  const input = (wished: string): Value => {
    const found = graph.value(another === undefined ? (only ?? wished) : wished);
    if (found !== undefined) return found;
    throw errors.optionsInvalid('teacher', [`Its input "${wished}" is none of the student's.`]);
  };
  const copy = new Graft({
    source: teacher.graph,
    target: graph,
    prefix: 'teacher/',
    opset: standardOps,
    input,
  }).copy(wanted);
  return copy.dtype === 'float32' ? copy : emit.cast(copy, 'float32');
}

const fedInputs = ({ graph }: Model): readonly string[] =>
  graph.inputs.filter((input) => input.initializer === undefined).map((input) => input.name);

import { errors, inferShapes, type Model, standardOps, type Tensor, type Value } from '@lithe/core';
import { Graft, type Loss, type LossContext } from '@lithe/training';
import { divergence } from './losses/logits.ts';

/** Options of {@link mutualLearning}. */
export interface MutualLearningOptions {
  /** Output of both that holds scores; `logits` by default. */
  readonly logits?: string | undefined;
  /** Loss on labels, of one network: built for the student and for the peer. */
  readonly task: (logits: string) => Loss;
  /** Temperature; 1 by default, as in the paper. */
  readonly temperature?: number | undefined;
  /** Axis of the classes; 1 by default. */
  readonly axis?: number | undefined;
}

/**
 * Deep mutual learning (Zhang et al., 2018): two networks learn together, each from the labels and from what the other
 * says at the time: L = task_1 + KL(p_2 || p_1) + task_2 + KL(p_1 || p_2), where each takes the other's distribution
 * as given. The peer's weights belong to the loss and are left behind. Its inputs must have the student's names.
 *
 * @param peer not changed
 * @throws {LitheError} OPTIONS_INVALID when the peer has batch normalization or dropout, whose training form it could
 *   not be given, or local functions
 */
export async function mutualLearning(peer: Model, options: MutualLearningOptions): Promise<Loss> {
  const { logits = 'logits', task, temperature = 1, axis = 1 } = options;
  const copy = peer.clone();
  const odd = [...copy.graph.nodesDeep()].find((node) => node.is('BatchNormalization') || node.is('Dropout'));
  if (odd !== undefined || copy.functions.length > 0)
    throw errors.optionsInvalid('mutualLearning', [
      odd === undefined
        ? 'The peer has local functions.'
        : `The peer has ${odd.op} ("${odd.name}"), which behaves differently in training.`,
    ]);
  await inferShapes(copy, { opset: standardOps });
  const weights = new Map<string, Tensor>();
  for (const value of copy.graph.initializers)
    if (value.initializer?.dtype === 'float32') weights.set(value.name, await value.initializer.load());
  return {
    name: 'mutual learning',
    build: (context) => {
      const { emit, graph } = context;
      const output = copy.graph.value(logits);
      if (output === undefined)
        throw errors.optionsInvalid('mutualLearning', [`The peer has no "${logits}".`]);
      const graft = new Graft({
        source: copy.graph,
        target: graph,
        prefix: 'peer/',
        opset: standardOps,
        input: (name) => context.value(name),
        weight: (name) => learned(context, name, weights.get(name)),
      });
      const [ours, theirs] = [context.value(logits), graft.copy(output)];
      const soft = (value: Value): Value => emit.scale(value, 1 / temperature);
      const between = (from: Value, to: Value): Value =>
        emit.scale(divergence(emit, soft(context.detach(from)), soft(to), axis), temperature ** 2);
      const parts = [
        task(ours.name).build(context),
        between(theirs, ours),
        task(theirs.name).build(context),
        between(ours, theirs),
      ];
      return parts.reduce((left, right) => emit.add(left, right));
    },
  };
}

/** Weights of at least one axis learn; numbers stay as they are. */
function learned(context: LossContext, name: string, tensor: Tensor | undefined): Value | undefined {
  return tensor === undefined || tensor.shape.length === 0
    ? undefined
    : context.parameter(`peer:${name}`, tensor);
}

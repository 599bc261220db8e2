import { errors, inferShapes, type Model, standardOps, type Tensor, type Value } from '@lithe/core';
import { findWeights, Graft, type Loss, promoteConstants } from '@lithe/training';
import { checkTemperature, divergence } from './losses/logits.ts';

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
  /**
   * Whether batch normalizations of the peer go by their running statistics, rather than by those of the batch (default):
   * as `frozenStatistics` says for the student.
   */
  readonly frozenStatistics?: boolean | undefined;
}

/**
 * Deep mutual learning (Zhang et al., 2018): two networks learn together, each from the labels and from what the other
 * says at the time: L = task_1 + KL(p_2 || p_1) + task_2 + KL(p_1 || p_2), where each takes the other's distribution
 * as given. The peer's weights belong to the loss and are left behind. Its inputs must have the student's names. Batch
 * normalizations of the peer use statistics of the batch, as the student's do; their running ones, which nothing reads
 * before the peer is left behind, are not kept.
 *
 * @param peer not changed
 * @throws {LitheError} OPTIONS_INVALID when the peer has dropout, whose masks it could not be given, or local functions;
 *   from `build`, when the scores of the two have different shapes
 */
export async function mutualLearning(peer: Model, options: MutualLearningOptions): Promise<Loss> {
  const { logits = 'logits', task, temperature = 1, axis = 1, frozenStatistics = false } = options;
  checkTemperature('mutualLearning', temperature);
  const copy = peer.clone();
  const odd = [...copy.graph.nodesDeep()].find((node) => node.is('Dropout'));
  if (odd !== undefined || copy.functions.length > 0)
    throw errors.optionsInvalid(
      'mutualLearning',
      [
        odd === undefined
          ? 'The peer has local functions.'
          : `The peer has ${odd.op} ("${odd.name}"), which needs random masks in training.`,
      ],
      odd === undefined ? 'Inline them first.' : 'Leave out dropout (simplify/simplify does).',
    );
  promoteConstants(copy.graph);
  await inferShapes(copy, { opset: standardOps });
  const weights = new Map<string, Tensor>();
  for (const value of await findWeights(copy.graph))
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
        batchStatistics: !frozenStatistics,
        input: (name) => context.value(name),
        weight: (name) => {
          const tensor = weights.get(name);
          return tensor === undefined ? undefined : context.parameter(`peer:${name}`, tensor);
        },
      });
      const [ours, theirs] = [context.value(logits), graft.copy(output)];
      const sizes = [ours, theirs].map(({ shape }) => shape?.slice(1).join(', '));
      if (sizes[0] !== sizes[1])
        throw errors.optionsInvalid('mutualLearning', [
          `"${logits}" of the model is [N, ${sizes[0]}] and that of the peer [N, ${sizes[1]}]: they must have the same shape.`,
        ]);
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

import type { DriftOptions, Model } from '@lithe/core';

/** Root mean square that probabilities of independent yes-or-no answers are measured against. */
const PROBABILITY_FLOOR = 0.05;

/**
 * What the graph says about a model's outputs: those of a Softmax over the last axis hold class scores at every
 * position; those of a Sigmoid are probabilities, which all lie near 0 where there is nothing to find.
 */
export function outputTraits(model: Model): DriftOptions {
  const floors: Record<string, number> = {};
  const scores: string[] = [];
  for (const output of model.graph.outputs) {
    const { producer } = output;
    if (producer === null) continue;
    if (producer.is('Sigmoid') || producer.is('HardSigmoid')) floors[output.name] = PROBABILITY_FLOOR;
    if (!producer.is('Softmax')) continue;
    const axis = producer.attributes.get('axis');
    const last =
      axis === undefined ||
      (axis.kind === 'int' && (axis.value === -1n || Number(axis.value) === (output.shape?.length ?? 0) - 1));
    if (last) scores.push(output.name);
  }
  return { floors, scores };
}

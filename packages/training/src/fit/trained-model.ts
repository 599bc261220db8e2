import { errors, type Feeds, type Model } from '@lithe/core';
import { inferenceNorms } from '../step/inference-norms.ts';
import { promoteConstants } from '../step/promote-constants.ts';

/**
 * The model with other weights: those of a training state, by name, as `readState` of a compiled `trainingStep`
 * gives them for its `parameters` and `statistics`. Its structure is that of inference: a batch
 * normalization whose file says `training_mode = 1` goes by its running statistics, unless those it hands out are used.
 *
 * @throws {LitheError} OPTIONS_INVALID when a name is no weight of the model
 */
export function trainedModel(model: Model, weights: Feeds): Model {
  const copy = model.clone();
  promoteConstants(copy.graph);
  for (const [name, tensor] of Object.entries(weights)) {
    const value = copy.graph.value(name);
    if (value?.initializer === undefined)
      throw errors.optionsInvalid('trainedModel', [`The model has no weight called "${name}".`]);
    copy.graph.setInitializer(value, tensor);
  }
  inferenceNorms(copy.graph);
  return copy;
}

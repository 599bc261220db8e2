import { z } from 'zod';
import type { Optimizer } from '../optimizers/optimizer.ts';
import {
  type AdamOptions,
  adam,
  adamW,
  type LionOptions,
  lion,
  type RmspropOptions,
  rmsprop,
  type SgdOptions,
  sgd,
} from '../optimizers/standard.ts';
import { allowedNames, namedChoice } from './choice.ts';

/** An optimizer as data: its name, and its options beside it. */
export type OptimizerSettings =
  | ({
      /** Name of the optimizer. */
      readonly name: 'adamw';
    } & AdamOptions)
  | ({
      /** Name of the optimizer. */
      readonly name: 'adam';
    } & AdamOptions)
  | ({
      /** Name of the optimizer. */
      readonly name: 'lion';
    } & LionOptions)
  | ({
      /** Name of the optimizer. */
      readonly name: 'rmsprop';
    } & RmspropOptions)
  | ({
      /** Name of the optimizer. */
      readonly name: 'sgd';
    } & SgdOptions);

/** {@link OptimizerSettings}, or the name alone. */
export type OptimizerChoice = OptimizerSettings | OptimizerSettings['name'];

const share = z.number().min(0).lt(1).optional();
const positive = z.number().positive().optional();
const decay = z.number().min(0).optional();
const adamFields = { beta1: share, beta2: share, epsilon: positive, weightDecay: decay };

/** The schema of {@link OptimizerChoice}. */
export const optimizerSchema: z.ZodType<OptimizerSettings, OptimizerChoice> = namedChoice(
  z.discriminatedUnion(
    'name',
    [
      z.strictObject({ name: z.literal('adamw'), ...adamFields }),
      z.strictObject({ name: z.literal('adam'), ...adamFields }),
      z.strictObject({ name: z.literal('lion'), beta1: share, beta2: share, weightDecay: decay }),
      z.strictObject({
        name: z.literal('rmsprop'),
        alpha: share,
        epsilon: positive,
        momentum: share,
        weightDecay: decay,
      }),
      z.strictObject({
        name: z.literal('sgd'),
        momentum: share,
        nesterov: z.boolean().optional(),
        weightDecay: decay,
      }),
    ],
    allowedNames(['adamw', 'adam', 'lion', 'rmsprop', 'sgd']),
  ),
);

/** The optimizer that options name. */
export function optimizerOf(settings: OptimizerSettings): Optimizer {
  switch (settings.name) {
    case 'adamw':
      return adamW(settings);
    case 'adam':
      return adam(settings);
    case 'lion':
      return lion(settings);
    case 'rmsprop':
      return rmsprop(settings);
    case 'sgd':
      return sgd(settings);
  }
}

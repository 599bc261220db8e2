import { errors, type Value } from '@lithe/core';
import { floatTensor } from '../autodiff/tensors.ts';
import { addState, type Build } from '../step/build.ts';
import type { Ready } from '../step/update.ts';

/** A loss scale that finds its size by itself. */
export interface DynamicLossScale {
  /** Scale of the first step; 65,536 by default. */
  readonly initial?: number | undefined;
  /** Updates without an overflow after which the scale doubles; 2,000 by default. */
  readonly growthInterval?: number | undefined;
}

/** Where a training step tells how its loss was scaled. */
export interface LossScaleOutputs {
  /** Output that holds the scale of the step, a float32 scalar. */
  readonly scale: string;
  /** Output that is 1 where the step was skipped because a gradient was not finite, else 0; a float32 scalar. */
  readonly skipped: string;
}

/** Scales stay between these: powers of two, so that scaling rounds nothing. */
const SMALLEST = 2 ** -14;
const LARGEST = 2 ** 24;

const LARGEST_FLOAT = 3.4028234663852886e38;

/** The scaled loss, and what becomes of its gradients. */
export interface LossScale {
  /** What gradients are taken of. */
  readonly scaled: Value;
  /**
   * Brings gradients back to their size, and holds weights where one of them is not finite. Adds the state of the scale.
   *
   * @returns the gradients, when weights move, and whether all gradients are finite
   */
  unscale(gradients: Ready): {
    readonly ready: Ready;
    readonly finite: Value;
    readonly outputs: LossScaleOutputs;
  };
}

/**
 * Multiplies a loss, so that small gradients do not become 0 in float16, and divides its gradients again (Micikevicius et
 * al., "Mixed Precision Training", 2018, section 3.2). A step whose gradients are not all finite changes nothing, and
 * halves the scale; `growthInterval` steps without one double it. A number keeps the scale as it is.
 *
 * @throws {LitheError} OPTIONS_INVALID when the scale or the interval cannot be used
 */
export function scaleLoss(build: Build, loss: Value, wanted: number | DynamicLossScale): LossScale {
  const { emit } = build;
  const { initial = 65_536, growthInterval = 2000 } =
    typeof wanted === 'number' ? { initial: wanted } : wanted;
  const problems: string[] = [];
  if (!(initial >= SMALLEST && initial <= LARGEST))
    problems.push(`The loss scale must lie in [2^-14, 2^24].`);
  if (!(Number.isInteger(growthInterval) && growthInterval > 0))
    problems.push('"growthInterval" must be a whole number above 0.');
  if (problems.length > 0) throw errors.optionsInvalid('mixedPrecision', problems);
  const slot = addState(build, 'loss_scale', floatTensor([], [initial], 'float32'));
  const scale = slot.input;
  return {
    scaled: emit.mul(loss, emit.cast(scale, loss.dtype ?? 'float32')),
    unscale: ({ gradients, ready }) => {
      const factor = emit.op('Reciprocal', [scale]);
      const back = gradients.map((value) => emit.mul(value, emit.cast(factor, value.dtype ?? 'float32')));
      // A sum is finite only where all its terms are; those of finite gradients are far from the largest float.
      const sums = gradients.map((value) =>
        emit.op('ReduceSum', [emit.cast(value, 'float32')], { keepdims: 0 }),
      );
      const size = emit.op('Abs', [emit.op('Sum', [emit.cast(loss, 'float32'), ...sums])]);
      const finite = emit.op('LessOrEqual', [size, emit.scalar(LARGEST_FLOAT)]);
      const moves = ready === undefined ? finite : emit.op('And', [ready, finite]);
      const overflow = emit.op('Not', [finite]);
      const lost = ready === undefined ? overflow : emit.op('And', [ready, overflow]);
      if (typeof wanted === 'number') slot.finish(scale);
      else {
        const good = addState(build, 'loss_scale_steps', floatTensor([], [0], 'float32'));
        const counted = emit.shift(good.input, 1);
        const grows = emit.op('GreaterOrEqual', [counted, emit.scalar(growthInterval)]);
        const larger = emit.op('Min', [emit.scale(scale, 2), emit.scalar(LARGEST)]);
        const smaller = emit.op('Max', [emit.scale(scale, 0.5), emit.scalar(SMALLEST)]);
        const moved = (yes: Value, no: Value, otherwise: Value): Value =>
          emit.op('Where', [moves, yes, emit.op('Where', [lost, no, otherwise])]);
        slot.finish(moved(emit.op('Where', [grows, larger, scale]), smaller, scale));
        good.finish(moved(emit.op('Where', [grows, emit.scalar(0), counted]), emit.scalar(0), good.input));
      }
      return {
        ready: { gradients: back, ready: moves },
        finite,
        outputs: {
          scale: addOutput(build, 'loss_scale_used', emit.op('Identity', [scale])),
          skipped: addOutput(build, 'skipped', emit.cast(lost, 'float32')),
        },
      };
    },
  };
}

function addOutput({ model, outputs }: Build, name: string, value: Value): string {
  model.graph.rename(value, model.graph.uniqueName(name));
  outputs.push(value);
  return value.name;
}

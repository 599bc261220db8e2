import {
  type Backend,
  type Dataset,
  isLitheError,
  type Model,
  type RunContext,
  type Target,
  type TargetProfile,
} from '@lithe/core';
import { layersToReduce, saturatesProducts, simulateSaturation } from '@lithe/quantization';

/** Samples that saturation is tried out on. */
const SAMPLES = 4;

/**
 * Whether the runtime of a target adds products of 8-bit integers in 16 bits on the processor at hand. One that is not
 * advised to multiply integers, or has no such operator, does not.
 */
export async function saturates(
  backend: Backend,
  { formats }: TargetProfile,
  context: RunContext,
): Promise<boolean> {
  const multiplies = formats.some(
    ({ format, verdict }) =>
      (format === 'static-int8' || format === 'dynamic-int8') &&
      (verdict === 'fast' || verdict === 'neutral'),
  );
  if (!multiplies) return false;
  try {
    return await saturatesProducts(backend, context);
  } catch (error) {
    context.signal.throwIfAborted();
    if (isLitheError(error)) return false;
    throw error;
  }
}

/** Whether a target computes in instructions of the processor: WASM has no products that add in 16 bits. */
export const onNativeCpu = ({ name }: Target): boolean => name === 'node-cpu';

/**
 * What x86 processors without VNNI would make of a model in integers, as sentences; `undefined` when nothing that weights
 * of 7 bits would mend. It is tried out in plain code: what that cannot compute, or not soon, is said and stops nothing.
 *
 * @param advice what to do about it, as a sentence
 * @param patience milliseconds it may take; half a minute by default
 */
export async function saturationWarning(
  model: Model,
  data: Dataset,
  context: RunContext,
  advice: string,
  patience = 30_000,
): Promise<string | undefined> {
  const late = AbortSignal.timeout(patience);
  const own = { ...context, signal: AbortSignal.any([context.signal, late]) };
  try {
    const found = await simulateSaturation(model, data, { samples: SAMPLES, context: own });
    const layers = layersToReduce(found).length;
    if (layers === 0) return undefined;
    const outputs = found.outputSqnrDb.toFixed(1);
    return `On x86 processors without VNNI, sums of ${layers} of ${found.layers.length} layers leave 16 bits: the outputs would have ${outputs} dB beside those of other processors. ${advice}`;
  } catch (error) {
    context.signal.throwIfAborted();
    if (!late.aborted && !isLitheError(error)) throw error;
    const why = late.aborted ? 'it takes too long' : (error as Error).message;
    return `On x86 processors without VNNI, sums of integers may leave 16 bits. Whether these do could not be tried out: ${why.replace(/\.$/, '')}. ${advice}`;
  }
}

import { addDims, floorDivideDim, multiplyDims, subtractDims } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { axisOf, requireRank } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the signal operators. */
export const signalSchemas = {
  DFT: {
    since: 20,
    inputs: 'input:T1 dft_length:T2? axis:int64?',
    outputs: 'output:T1',
    types: { T1: 'float bfloat16', T2: 'int32 int64' },
    attributes: { inverse: ['flag', false], onesided: ['flag', false] },
  },
  STFT: {
    since: 17,
    inputs: 'signal:T1 frame_step:T2 window:T1? frame_length:T2?',
    outputs: 'output:T1',
    types: { T1: 'float bfloat16', T2: 'int32 int64' },
    attributes: { onesided: ['flag', true] },
  },
} as const;

const half = (size: Dim): Dim => addDims(floorDivideDim(size, 2), 1);

/** Data [..., 1 or 2]: the last dim is real or complex. One-sided transforms keep the half spectrum. */
function inferDft(context: InferContext<{ readonly inverse: boolean; readonly onesided: boolean }>): void {
  const data = requireRank(context, 0, 2);
  if (data === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const { inverse, onesided } = context.attributes;
  const known = context.has(2) ? context.sizes(2)?.[0] : -2;
  const shape = [...data];
  if (typeof known !== 'number') shape.fill(null, 0, -1);
  else {
    const axis = axisOf(context, known, data.length);
    if (axis === data.length - 1)
      context.fail('axis must not be the last one, which holds real and imaginary parts');
    const own = data[axis] ?? null;
    // The half spectrum of n numbers has n / 2 + 1; without a length the inverse takes n to be even.
    const full = onesided && inverse ? multiplyDims(addDims(own, -1), 2) : own;
    const length = context.has(1) ? (context.sizes(1)?.[0] ?? null) : full;
    shape[axis] = onesided && !inverse ? half(length) : length;
  }
  shape[data.length - 1] = onesided && inverse ? 1 : 2;
  context.output(0, undefined, shape);
}

/** Signal [N, length, 1 or 2], output [N, frames, bins, 2]. */
function inferStft(context: InferContext<{ readonly onesided: boolean }>): void {
  const signal = requireRank(context, 0, 2);
  const step = context.sizes(1)?.[0] ?? null;
  const length = (context.has(3) ? context.sizes(3)?.[0] : context.shape(2)?.[0]) ?? null;
  const span = subtractDims(signal?.[1] ?? null, length);
  const frames = typeof step === 'number' && step > 0 ? addDims(floorDivideDim(span, step), 1) : null;
  context.output(0, undefined, [
    signal?.[0] ?? null,
    frames,
    context.attributes.onesided ? half(length) : length,
    2,
  ]);
}

/** Definitions of the signal operators. */
export const signalOps: OpFamily<typeof signalSchemas> = opFamily(signalSchemas, {
  DFT: inferDft,
  STFT: inferStft,
});

/** Mean magnitude; 0 of nothing. */
export function meanMagnitude(data: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < data.length; at++) sum += Math.abs(data[at]!);
  return data.length === 0 ? 0 : sum / data.length;
}

/**
 * Where learned steps of weights start: 2 mean|w| / sqrt(Q) of each channel, or max|w| / Q where that is smaller, for a
 * larger step than one that clips nothing would only lose. A channel of zeros gets 1.
 *
 * @param axis of the channels; `undefined` for one step for all
 * @see Esser et al., "Learned Step Size Quantization", 2020, section 2.1
 */
export function firstSteps(
  data: Float32Array,
  {
    shape,
    axis,
    levels,
  }: { readonly shape: readonly number[]; readonly axis: number | undefined; readonly levels: number },
): Float32Array {
  const channels = axis === undefined ? 1 : (shape[axis] ?? 1);
  const inner =
    axis === undefined ? data.length : shape.slice(axis + 1).reduce((left, right) => left * right, 1);
  const sums = new Float64Array(channels);
  const most = new Float64Array(channels);
  for (let at = 0, channel = 0; at < data.length; channel = (channel + 1) % channels) {
    for (const end = at + inner; at < end; at++) {
      const value = Math.abs(data[at]!);
      sums[channel]! += value;
      if (value > most[channel]!) most[channel] = value;
    }
  }
  const each = data.length / channels;
  const steps = new Float32Array(channels);
  for (let channel = 0; channel < channels; channel++) {
    const step = Math.min((2 * sums[channel]!) / each / Math.sqrt(levels), most[channel]! / levels);
    steps[channel] = step > 0 ? step : 1;
  }
  return steps;
}

import type { Node } from '@lithe/core';
import { intsOf, stringOf } from '../layers/attributes.ts';

/** Which input index each tap of a window reads, for every output index of one spatial axis; -1 beside the edge. */
export interface AxisTable {
  /** Output positions. */
  readonly outputs: number;
  /** Taps. */
  readonly taps: number;
  /** `[outputs, taps]`. */
  readonly indices: Int32Array;
}

function samePads(mode: string, size: number, window: { span: number; stride: number }): number {
  const outputs = Math.ceil(size / window.stride);
  const total = Math.max(0, (outputs - 1) * window.stride + window.span - size);
  return mode === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2);
}

/**
 * Tables of the spatial axes of a `Conv` or `ConvTranspose`.
 *
 * @param input spatial dims of the input
 * @param output spatial dims of the output
 * @returns `undefined` where the padding cannot be told
 */
export function axisTables(
  node: Node,
  kernel: readonly number[],
  sizes: { readonly input: readonly number[]; readonly output: readonly number[] },
): readonly AxisTable[] | undefined {
  const axes = kernel.length;
  const mode = stringOf(node, 'auto_pad', 'NOTSET');
  const transposed = node.is('ConvTranspose');
  if (transposed && (mode.startsWith('SAME') || node.attributes.has('output_shape'))) return undefined;
  const ones = Array.from({ length: axes }, () => 1);
  const strides = intsOf(node, 'strides') ?? ones;
  const dilations = intsOf(node, 'dilations') ?? ones;
  const pads = intsOf(node, 'pads') ?? [];
  return kernel.map((taps, axis) => {
    const [size, outputs] = [sizes.input[axis] ?? 0, sizes.output[axis] ?? 0];
    const [stride, dilation] = [strides[axis] ?? 1, dilations[axis] ?? 1];
    const begin = mode.startsWith('SAME')
      ? samePads(mode, size, { span: (taps - 1) * dilation + 1, stride })
      : (pads[axis] ?? 0);
    const indices = new Int32Array(outputs * taps);
    for (let at = 0, position = 0; position < outputs; position++) {
      for (let tap = 0; tap < taps; tap++, at++) {
        const reach = transposed
          ? position + begin - tap * dilation
          : position * stride - begin + tap * dilation;
        const index = transposed ? (reach % stride === 0 ? reach / stride : -1) : reach;
        indices[at] = index >= 0 && index < size ? index : -1;
      }
    }
    return { outputs, taps, indices };
  });
}

/** Offsets into one input channel of all taps at one output position; -1 beside the edge. */
export function tapOffsets(
  tables: readonly AxisTable[],
  input: readonly number[],
  position: number,
  into: Int32Array,
): void {
  let rest = position;
  const at: number[] = [];
  for (let axis = tables.length - 1; axis >= 0; axis--) {
    const { outputs } = tables[axis] as AxisTable;
    at[axis] = rest % outputs;
    rest = Math.floor(rest / outputs);
  }
  into.fill(0);
  let repeat = into.length;
  for (let axis = 0; axis < tables.length; axis++) {
    const { taps, indices } = tables[axis] as AxisTable;
    repeat /= taps;
    const first = (at[axis] as number) * taps;
    for (let tap = 0; tap < into.length; tap++) {
      const index = indices[first + (Math.floor(tap / repeat) % taps)]!;
      const before = into[tap]!;
      into[tap] = before < 0 || index < 0 ? -1 : before * (input[axis] ?? 1) + index;
    }
  }
}

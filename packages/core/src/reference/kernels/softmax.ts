import { attr } from '../../op/attributes.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import type { KernelTable, ReferenceKernel } from '../kernel.ts';
import { lanesOver } from './lanes.ts';
import { requireAxis } from './reduce.ts';

/** Rewrites each lane of `values` in place. */
type LaneRule = (values: Float64Array, base: number, offsets: Int32Array) => void;

function largestOf(values: Float64Array, base: number, offsets: Int32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < offsets.length; index++)
    largest = Math.max(largest, values[base + offsets[index]!]!);
  return largest;
}

/** `exp(x - max) / sum(exp(x - max))`. */
export const softmaxLane: LaneRule = (values, base, offsets) => {
  const largest = largestOf(values, base, offsets);
  let sum = 0;
  for (let index = 0; index < offsets.length; index++) {
    const at = base + offsets[index]!;
    const power = Math.exp(values[at]! - largest);
    values[at] = power;
    sum += power;
  }
  for (let index = 0; index < offsets.length; index++) values[base + offsets[index]!]! /= sum;
};

/** `x - max - log(sum(exp(x - max)))`. */
export const logSoftmaxLane: LaneRule = (values, base, offsets) => {
  const largest = largestOf(values, base, offsets);
  let sum = 0;
  for (let index = 0; index < offsets.length; index++)
    sum += Math.exp(values[base + offsets[index]!]! - largest);
  const shift = largest + Math.log(sum);
  for (let index = 0; index < offsets.length; index++) values[base + offsets[index]!]! -= shift;
};

/** 1 at the first largest element, 0 elsewhere. */
const hardmaxLane: LaneRule = (values, base, offsets) => {
  const largest = largestOf(values, base, offsets);
  let found = false;
  for (let index = 0; index < offsets.length; index++) {
    const at = base + offsets[index]!;
    const hit: boolean = !found && values[at] === largest;
    values[at] = hit ? 1 : 0;
    found ||= hit;
  }
};

/** A tensor with a rule applied to its lanes along an axis. */
export function mapLanes(input: Tensor, axis: number, rule: LaneRule): Tensor {
  const values = input.toFloat64Array();
  const { bases, offsets } = lanesOver(input.shape, [axis]);
  for (let lane = 0; lane < bases.length; lane++) rule(values, bases[lane]!, offsets);
  return fromNumbers(input.dtype, input.shape, values);
}

/** ONNX `Softmax`, `LogSoftmax`, `Hardmax` (opset 13): along one axis, the last by default. */
function laneKernel(rule: LaneRule): ReferenceKernel {
  return (context) => {
    const input = context.tensor(0);
    const { axis } = context.attributes({ axis: attr.int(-1) });
    return [mapLanes(input, requireAxis(context, axis, input.shape.length), rule)];
  };
}

/** Softmax and its relatives: `ai.onnx`. */
export const softmaxKernels: KernelTable = {
  Hardmax: laneKernel(hardmaxLane),
  LogSoftmax: laneKernel(logSoftmaxLane),
  Softmax: laneKernel(softmaxLane),
};

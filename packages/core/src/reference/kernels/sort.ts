import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { int64Tensor, isWide, storeOf, take, toBigints } from '../elements.ts';
import type { KernelTable, ReferenceKernel } from '../kernel.ts';
import { gatherAxis } from './gather.ts';
import { lanesOver } from './lanes.ts';
import { isReal, REAL } from './numeric.ts';
import { requireAxis } from './reduce.ts';

type Ordered = { readonly [index: number]: number | bigint | string };

/** Elements in a form that `<` orders. */
function orderedOf(tensor: Tensor): Ordered {
  if (tensor.dtype === 'string') return storeOf(tensor) as string[];
  return isWide(tensor.dtype) ? toBigints(tensor) : tensor.toFloat64Array();
}

function compare(left: number | bigint | string, right: number | bigint | string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** ONNX `TopK` (opset 11): the `k` largest (smallest) of each lane and their indices; equal ones in index order. */
const topK: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  if (!isReal(input.dtype)) context.wrongType(input.dtype, REAL);
  const { axis, largest } = context.attributes({ axis: attr.int(-1), largest: attr.flag(true) });
  const at = requireAxis(context, axis, input.shape.length);
  const k = context.tensor(1).toFloat64Array()[0] ?? context.fail('k is empty');
  if (k < 0 || k > input.shape[at]!) context.fail(`k is ${k}, the axis has ${input.shape[at]} elements`);
  const values = orderedOf(input);
  const { bases, offsets } = lanesOver(input.shape, [at]);
  const shape = input.shape.map((dim, index) => (index === at ? k : dim));
  const outLanes = lanesOver(shape, [at]);
  const positions = new Int32Array(elementsOf(shape));
  const indices = new Array<number>(positions.length);
  for (let lane = 0; lane < bases.length; lane++) {
    const base = bases[lane]!;
    const order = Array.from(offsets, (_, index) => index).sort((left, right) => {
      const ordered = compare(values[base + offsets[left]!]!, values[base + offsets[right]!]!);
      return (largest ? -ordered : ordered) || left - right;
    });
    for (let rank = 0; rank < k; rank++) {
      const to = outLanes.bases[lane]! + outLanes.offsets[rank]!;
      positions[to] = base + offsets[order[rank]!]!;
      indices[to] = order[rank]!;
    }
  }
  return [take(input, positions, shape), int64Tensor(shape, indices)];
};

/**
 * ONNX `Unique` (opset 11): the distinct elements (slices along `axis`), where each occurs first, which one each
 * element is, and how often it occurs.
 */
const unique: ReferenceKernel = (context) => {
  const { axis, sorted } = context.attributes({ axis: attr.optionalInt(), sorted: attr.flag(true) });
  const whole = context.tensor(0);
  const input = axis === undefined ? whole.reshape([whole.size]) : whole;
  const at = requireAxis(context, axis ?? 0, input.shape.length);
  const values = orderedOf(input);
  // A lane per index of `at`: its elements are those of the other axes.
  const others = input.shape.flatMap((_, index) => (index === at ? [] : [index]));
  const { bases, offsets } = lanesOver(input.shape, others);
  const compareSlices = (left: number, right: number): number => {
    for (const offset of offsets) {
      const ordered = compare(values[bases[left]! + offset]!, values[bases[right]! + offset]!);
      if (ordered !== 0) return ordered;
    }
    return 0;
  };
  const order = Array.from(bases, (_, index) => index).sort(
    (left, right) => compareSlices(left, right) || left - right,
  );
  const groups: { first: number; members: number[] }[] = [];
  for (const index of order) {
    const last = groups.at(-1);
    if (last !== undefined && compareSlices(last.first, index) === 0) last.members.push(index);
    else groups.push({ first: index, members: [index] });
  }
  if (!sorted) groups.sort((left, right) => left.first - right.first);
  const inverse = new Array<number>(bases.length);
  groups.forEach((group, index) => {
    for (const member of group.members) inverse[member] = index;
  });
  const first = int64Tensor(
    [groups.length],
    groups.map((group) => group.first),
  );
  return [
    gatherAxis(context, input, { indices: first, axis: at }),
    first,
    int64Tensor([inverse.length], inverse),
    int64Tensor(
      [groups.length],
      groups.map((group) => group.members.length),
    ),
  ];
};

/** Orders elements: `ai.onnx`. */
export const sortKernels: KernelTable = { TopK: topK, Unique: unique };

import { attr } from '../../op/attributes.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { int64Tensor, toIntegers } from '../elements.ts';
import {
  isTensor,
  type KernelContext,
  type KernelTable,
  type OptionalValue,
  type ReferenceKernel,
  type ReferenceValue,
  type SequenceValue,
} from '../kernel.ts';
import { concatTensors, splitTensor } from './movement.ts';
import { requireAxis } from './reduce.ts';

function sequenceOf(context: KernelContext, index: number): SequenceValue {
  const value = context.value(index);
  if (!isTensor(value) && value.kind === 'sequence') return value;
  return context.fail(`input ${index} is no sequence`);
}

const sequence = (items: readonly ReferenceValue[]): SequenceValue => ({ kind: 'sequence', items });

/** A position in a sequence, counted from the front; `end` lets the place behind the last item count. */
function positionOf(
  context: KernelContext,
  tensor: Tensor,
  { length, end }: { readonly length: number; readonly end: boolean },
): number {
  const raw = toIntegers(tensor)[0] ?? context.fail('the position is empty');
  const position = raw < 0 ? raw + length : raw;
  if (position < 0 || position > (end ? length : length - 1))
    context.fail(`position ${raw} is outside a sequence of ${length}`);
  return position;
}

/** ONNX `SequenceConstruct` (opset 11). */
const sequenceConstruct: ReferenceKernel = (context) => [
  sequence(context.inputs.map((_, index) => context.tensor(index))),
];

/** ONNX `SequenceEmpty` (opset 11). */
const sequenceEmpty: ReferenceKernel = () => [sequence([])];

/** ONNX `SequenceLength` (opset 11). */
const sequenceLength: ReferenceKernel = (context) => [int64Tensor([], [sequenceOf(context, 0).items.length])];

/** ONNX `SequenceAt` (opset 11). */
const sequenceAt: ReferenceKernel = (context) => {
  const { items } = sequenceOf(context, 0);
  return [items[positionOf(context, context.tensor(1), { length: items.length, end: false })]!];
};

/** ONNX `SequenceInsert` (opset 11): at the end without a position. */
const sequenceInsert: ReferenceKernel = (context) => {
  const { items } = sequenceOf(context, 0);
  const given = context.optional(2);
  const at =
    given === undefined ? items.length : positionOf(context, given, { length: items.length, end: true });
  return [sequence([...items.slice(0, at), context.tensor(1), ...items.slice(at)])];
};

/** ONNX `SequenceErase` (opset 11): the last without a position. */
const sequenceErase: ReferenceKernel = (context) => {
  const { items } = sequenceOf(context, 0);
  const given = context.optional(1);
  const at =
    given === undefined ? items.length - 1 : positionOf(context, given, { length: items.length, end: false });
  return [sequence(items.filter((_, index) => index !== at))];
};

/** ONNX `ConcatFromSequence` (opset 11): joins the items, along a new axis if asked. */
const concatFromSequence: ReferenceKernel = (context) => {
  const { axis, new_axis: stack } = context.attributes({
    axis: attr.requiredInt(),
    new_axis: attr.flag(false),
  });
  const items = sequenceOf(context, 0).items.map((item) =>
    isTensor(item) ? item : context.fail('an item is no tensor'),
  );
  const rank = items[0]?.shape.length ?? context.fail('the sequence is empty');
  const at = requireAxis(context, axis, stack ? rank + 1 : rank);
  const parts = stack
    ? items.map((item) => item.reshape([...item.shape.slice(0, at), 1, ...item.shape.slice(at)]))
    : items;
  return [concatTensors(context, parts, at)];
};

/** ONNX `SplitToSequence` (opset 11): parts of 1 (axis dropped unless `keepdims`), of one size, or of given sizes. */
const splitToSequence: ReferenceKernel = (context) => {
  const { axis, keepdims } = context.attributes({ axis: attr.int(0), keepdims: attr.flag(true) });
  const input = context.tensor(0);
  const given = context.optional(1);
  const at = requireAxis(context, axis, input.shape.length);
  const total = input.shape[at]!;
  if (given === undefined) {
    const parts = splitTensor(input, at, new Array<number>(total).fill(1));
    return [
      sequence(
        keepdims ? parts : parts.map((part) => part.reshape(part.shape.filter((_, index) => index !== at))),
      ),
    ];
  }
  const sizes = toIntegers(given);
  if (given.shape.length === 0) {
    const size = sizes[0]!;
    if (size < 1) context.fail(`a part of ${size} elements is asked for`);
    const count = Math.ceil(total / size);
    return [
      sequence(
        splitTensor(
          input,
          at,
          Array.from({ length: count }, (_, index) => Math.min(size, total - index * size)),
        ),
      ),
    ];
  }
  if (sizes.reduce((sum, size) => sum + size, 0) !== total || sizes.some((size) => size < 0)) {
    context.fail(`parts of [${sizes.join(', ')}] do not make up ${total}`);
  }
  return [sequence(splitTensor(input, at, sizes))];
};

/** ONNX `Optional` (opset 15): wraps a value, or nothing. */
const optional: ReferenceKernel = (context): readonly OptionalValue[] => [
  { kind: 'optional', value: context.inputs[0] ?? null },
];

/** ONNX `OptionalHasElement` (opset 18): whether there is something; a bare value counts as present. */
const optionalHasElement: ReferenceKernel = (context) => {
  const value = context.inputs[0] ?? null;
  const present = value !== null && (isTensor(value) || value.kind !== 'optional' || value.value !== null);
  return [Tensor.from('bool', [], new Uint8Array([present ? 1 : 0]))];
};

/** ONNX `OptionalGetElement` (opset 18): what an optional value holds; a bare value is handed on. */
const optionalGetElement: ReferenceKernel = (context) => {
  const value = context.value(0);
  if (isTensor(value) || value.kind !== 'optional') return [value];
  return [value.value ?? context.fail('the optional value is absent')];
};

/** Sequences and optional values: `ai.onnx`. */
export const sequenceKernels: KernelTable = {
  ConcatFromSequence: concatFromSequence,
  Optional: optional,
  OptionalGetElement: optionalGetElement,
  OptionalHasElement: optionalHasElement,
  SequenceAt: sequenceAt,
  SequenceConstruct: sequenceConstruct,
  SequenceEmpty: sequenceEmpty,
  SequenceErase: sequenceErase,
  SequenceInsert: sequenceInsert,
  SequenceLength: sequenceLength,
  SplitToSequence: splitToSequence,
};

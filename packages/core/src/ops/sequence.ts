import { addDims, ceilDivideDim } from '../ir/dims.ts';
import { type Dim, type TensorType, tensorType, type ValueType } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { type AnyInferContext, axisOf, dtypeOf, knownIntegers } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the sequence and optional operators. */
export const sequenceSchemas = {
  ConcatFromSequence: {
    since: 11,
    inputs: 'input_sequence:S',
    outputs: 'concat_result:T',
    types: { S: 'all', T: 'float int complex bool string' },
    attributes: { axis: 'int!', new_axis: ['flag', false] },
  },
  Optional: {
    since: 15,
    inputs: 'input:V?',
    outputs: 'output:O',
    types: { V: 'all', O: 'all' },
    attributes: { type: 'type?' },
  },
  OptionalGetElement: { since: 18, inputs: 'input:O', outputs: 'output:V', types: { O: 'all', V: 'all' } },
  OptionalHasElement: { since: 18, inputs: 'input:O?', outputs: 'output:B', types: { O: 'all', B: 'bool' } },
  SequenceAt: {
    since: 11,
    inputs: 'input_sequence:S position:I',
    outputs: 'tensor:T',
    types: { S: 'all', T: 'float int complex bool string', I: 'int32 int64' },
  },
  SequenceConstruct: {
    since: 11,
    inputs: 'inputs:T*',
    outputs: 'output_sequence:S',
    types: { T: 'float int complex bool string', S: 'all' },
  },
  SequenceEmpty: {
    since: 11,
    inputs: '',
    outputs: 'output:S',
    types: { S: 'all' },
    attributes: { dtype: 'int?' },
  },
  SequenceErase: {
    since: 11,
    inputs: 'input_sequence:S position:I?',
    outputs: 'output_sequence:S',
    types: { S: 'all', I: 'int32 int64' },
  },
  SequenceInsert: {
    since: 11,
    inputs: 'input_sequence:S tensor:T position:I?',
    outputs: 'output_sequence:S',
    types: { T: 'float int complex bool string', S: 'all', I: 'int32 int64' },
  },
  SequenceLength: {
    since: 11,
    inputs: 'input_sequence:S',
    outputs: 'length:I',
    types: { S: 'all', I: 'int64' },
  },
  SplitToSequence: {
    since: 11,
    inputs: 'input:T split:I?',
    outputs: 'output_sequence:S',
    types: { T: 'float int complex bool string', I: 'int32 int64', S: 'all' },
    attributes: { axis: ['int', 0], keepdims: ['flag', true] },
  },
} as const;

/** What both types say: dims that differ are unknown. Members of a sequence may differ in shape. */
function common(left: ValueType | undefined, right: ValueType | undefined): ValueType | undefined {
  if (left?.kind !== 'tensor' || right?.kind !== 'tensor') return undefined;
  const shape =
    left.shape?.length === right.shape?.length
      ? left.shape?.map((dim, axis) => (dim === right.shape?.[axis] ? dim : null))
      : undefined;
  return tensorType(left.dtype === right.dtype ? left.dtype : undefined, shape);
}

function sequenceOf(element: ValueType | undefined): ValueType {
  return { kind: 'sequence', element: element ?? tensorType(undefined) };
}

/** The element type of a sequence input. Fails for an input that is something else. */
function elementAt(context: AnyInferContext, index: number): ValueType | undefined {
  const type = context.type(index);
  if (type === undefined) return undefined;
  return type.kind === 'sequence'
    ? type.element
    : context.fail(`input ${index} must be a sequence, not a ${type.kind}`);
}

function tensorElement(context: AnyInferContext): TensorType | undefined {
  const element = elementAt(context, 0);
  return element?.kind === 'tensor' ? element : undefined;
}

function inferConcatFromSequence(
  context: InferContext<{ readonly axis: number; readonly new_axis: boolean }>,
): void {
  const element = tensorElement(context);
  const { axis: given, new_axis: isNew } = context.attributes;
  if (element?.shape === undefined) {
    context.output(0, element?.dtype, undefined);
    return;
  }
  const { shape } = element;
  const axis = axisOf(context, given, shape.length + (isNew ? 1 : 0));
  const joined: Dim[] = isNew
    ? [...shape.slice(0, axis), null, ...shape.slice(axis)]
    : shape.map((dim, index) => (index === axis ? null : dim));
  context.output(0, element.dtype, joined);
}

function inferSequenceConstruct(context: AnyInferContext): void {
  let element = context.type(0);
  for (let index = 1; index < context.inputCount; index++) element = common(element, context.type(index));
  context.outputType(0, sequenceOf(element));
}

function inferSequenceInsert(context: AnyInferContext): void {
  context.outputType(0, sequenceOf(insertedElement(elementAt(context, 0), context.type(1))));
}

/** An element type without dtype or rank belongs to an empty sequence or says nothing. */
function insertedElement(
  element: ValueType | undefined,
  inserted: ValueType | undefined,
): ValueType | undefined {
  if (element?.kind === 'tensor' && inserted?.kind === 'tensor' && element.shape === undefined) {
    return tensorType(element.dtype ?? inserted.dtype, undefined);
  }
  return common(element, inserted);
}

function inferSplitToSequence(
  context: InferContext<{ readonly axis: number; readonly keepdims: boolean }>,
): void {
  const shape = context.shape(0);
  if (shape === undefined) {
    context.outputType(0, sequenceOf(tensorType(context.dtype(0))));
    return;
  }
  const axis = axisOf(context, context.attributes.axis, shape.length);
  const isGiven = context.has(1);
  const split = isGiven ? knownIntegers(context, 1) : [1];
  if (!isGiven && !context.attributes.keepdims) {
    context.outputType(
      0,
      sequenceOf(
        tensorType(
          context.dtype(0),
          shape.filter((_, index) => index !== axis),
        ),
      ),
    );
    return;
  }
  const isScalar = !isGiven || context.shape(1)?.length === 0;
  const parts =
    split === undefined ? [null] : isScalar ? equalParts(shape[axis] ?? null, split[0] ?? 0) : split;
  const [first = null] = parts;
  const size = parts.every((part) => part === first) ? first : null;
  context.outputType(
    0,
    sequenceOf(
      tensorType(
        context.dtype(0),
        shape.map((dim, index) => (index === axis ? size : dim)),
      ),
    ),
  );
}

/** Sizes of parts of `length`: the last may be smaller. */
function equalParts(size: Dim, length: number): readonly Dim[] {
  if (length < 1) return [null];
  if (length === 1) return [1];
  if (typeof size !== 'number' || ceilDivideDim(size, length) === null) return [null];
  return size % length === 0 ? [length] : [length, addDims(size, -Math.floor(size / length) * length)];
}

function inferOptional(context: InferContext<{ readonly type: ValueType | undefined }>): void {
  const element = context.has(0) ? context.type(0) : context.attributes.type;
  context.outputType(0, element === undefined ? undefined : { kind: 'optional', element });
}

function inferOptionalGetElement(context: AnyInferContext): void {
  const type = context.type(0);
  context.outputType(0, type?.kind === 'optional' ? type.element : type);
}

/** Definitions of the sequence and optional operators. */
export const sequenceOps: OpFamily<typeof sequenceSchemas> = opFamily(sequenceSchemas, {
  ConcatFromSequence: inferConcatFromSequence,
  Optional: inferOptional,
  OptionalGetElement: inferOptionalGetElement,
  OptionalHasElement: (context) => context.output(0, 'bool', []),
  SequenceAt: (context) => context.outputType(0, elementAt(context, 0)),
  SequenceConstruct: inferSequenceConstruct,
  SequenceEmpty: (context) =>
    context.outputType(0, sequenceOf(tensorType(dtypeOf(context, context.attributes.dtype) ?? 'float32'))),
  SequenceErase: (context) => {
    const element = elementAt(context, 0);
    context.outputType(0, element === undefined ? undefined : sequenceOf(element));
  },
  SequenceInsert: inferSequenceInsert,
  SequenceLength: (context) => context.output(0, 'int64', []),
  SplitToSequence: inferSplitToSequence,
});

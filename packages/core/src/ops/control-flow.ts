import type { Graph } from '../ir/graph.ts';
import { type Dim, tensorType, type ValueType } from '../ir/types.ts';
import { constantOf, type Value } from '../ir/value.ts';
import type { InferContext } from '../op/op-def.ts';
import { type AnyInferContext, axisOf, mergedDim } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the operators with subgraphs. */
export const controlFlowSchemas = {
  If: {
    since: 21,
    inputs: 'cond:B',
    outputs: 'outputs:V**',
    types: { V: 'all', B: 'bool' },
    attributes: { else_branch: 'graph!', then_branch: 'graph!' },
  },
  Loop: {
    since: 21,
    inputs: 'M:I? cond:B? v_initial:V**',
    outputs: 'v_final_and_scan_outputs:V**',
    types: { V: 'all', I: 'int64', B: 'bool' },
    attributes: { body: 'graph!' },
  },
  Scan: {
    since: 21,
    inputs: 'initial_state_and_scan_inputs:V**',
    outputs: 'final_state_and_scan_outputs:V**',
    types: { V: 'any float8 fourbit' },
    attributes: {
      body: 'graph!',
      num_scan_inputs: 'int!',
      scan_input_axes: 'ints?',
      scan_input_directions: 'ints?',
      scan_output_axes: 'ints?',
      scan_output_directions: 'ints?',
    },
  },
  SequenceMap: {
    since: 17,
    inputs: 'input_sequence:S additional_inputs:V**',
    outputs: 'out_sequence:S**',
    types: { S: 'all', V: 'all' },
    attributes: { body: 'graph!' },
  },
} as const;

/** Dims and dtype that two types share; what differs is unknown. */
function either(left: ValueType | undefined, right: ValueType | undefined): ValueType | undefined {
  if (left === undefined || right === undefined) return undefined;
  // An optional may be built from a branch that hands on its element.
  if (left.kind === 'optional' && right.kind !== 'optional')
    return { kind: 'optional', element: either(left.element, right) ?? left.element };
  if (right.kind === 'optional' && left.kind !== 'optional') return either(right, left);
  if (left.kind !== right.kind) return undefined;
  if (left.kind === 'sequence' || left.kind === 'optional') {
    const element = either(left.element, (right as typeof left).element);
    return element === undefined ? undefined : { kind: left.kind, element };
  }
  if (left.kind !== 'tensor' || right.kind !== 'tensor') return left;
  const sameRank = left.shape !== undefined && left.shape.length === right.shape?.length;
  const shape = sameRank
    ? left.shape?.map((dim, axis) => (dim === right.shape?.[axis] ? dim : null))
    : undefined;
  return tensorType(left.dtype === right.dtype ? left.dtype : undefined, shape);
}

interface IfAttributes {
  readonly then_branch: Graph | undefined;
  readonly else_branch: Graph | undefined;
}

/** The output is what both branches agree on; when the condition is constant, what the branch taken gives. */
function inferIf(context: InferContext<IfAttributes>): void {
  const { then_branch: first, else_branch: second } = context.attributes;
  if (first === undefined || second === undefined) return;
  for (const branch of [first, second]) {
    if (branch.inputs.length > 0) context.fail(`branch "${branch.name}" must not have inputs`);
    if (branch.outputs.length !== context.outputCount)
      context.fail(
        `branch "${branch.name}" gives ${branch.outputs.length} outputs, the node ${context.outputCount}`,
      );
  }
  const taken = context.sizes(0)?.[0];
  const decided = typeof taken === 'number';
  const left = context.subgraph(first, [], { run: decided ? (taken === 0 ? 'never' : 'always') : 'maybe' });
  const right = context.subgraph(second, [], { run: decided ? (taken === 0 ? 'always' : 'never') : 'maybe' });
  for (let index = 0; index < context.outputCount; index++) {
    // A branch that can not be run with these sizes is not the one that gives the output.
    const isRight = decided ? taken === 0 : left.length === 0;
    const isLeft = decided ? taken !== 0 : right.length === 0;
    const both = (): ValueType | undefined => either(left[index], right[index]);
    context.outputType(index, isRight ? right[index] : isLeft ? left[index] : both());
  }
}

function elementLimit(context: AnyInferContext): Dim {
  const [count = null] = context.has(0) ? (context.sizes(0) ?? []) : [];
  return typeof count === 'number' && count >= 0 && Number.isSafeInteger(count) ? count : null;
}

/** The types of loop state that hold in every iteration: dims that the body changes are unknown. */
function stableState(
  context: AnyInferContext,
  body: Graph,
  before: readonly (ValueType | undefined)[],
  inputs: (state: readonly (ValueType | undefined)[]) => readonly (ValueType | undefined)[],
  outputs: (all: readonly (ValueType | undefined)[]) => readonly (ValueType | undefined)[],
): { readonly state: readonly (ValueType | undefined)[]; readonly all: readonly (ValueType | undefined)[] } {
  const all = context.subgraph(body, inputs(before));
  const after = outputs(all);
  const state = before.map((type, index) => either(type, after[index]));
  if (state.every((type, index) => sameType(type, before[index]))) return { state, all };
  const again = context.subgraph(body, inputs(state));
  // Dims that change once more change in every iteration.
  const last = state.map((type, index) => either(type, outputs(again)[index]));
  if (last.every((type, index) => sameType(type, state[index]))) return { state, all: again };
  const unknown = last.map((type) => (type?.kind === 'tensor' ? tensorType(type.dtype) : undefined));
  return { state: unknown, all: context.subgraph(body, inputs(unknown)) };
}

/** Whether two types say the same; unknown dims are equal to unknown dims and to symbols that stand for them. */
function sameType(left: ValueType | undefined, right: ValueType | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  if (left.kind !== right.kind) return false;
  if (left.kind === 'sequence' || left.kind === 'optional')
    return sameType(left.element, (right as typeof left).element);
  if (left.kind !== 'tensor' || right.kind !== 'tensor') return true;
  if (left.dtype !== right.dtype || left.shape?.length !== right.shape?.length) return false;
  return left.shape?.every((dim, axis) => dim === right.shape?.[axis]) ?? true;
}

/** Whether the condition of a loop holds in every iteration: there is none, or it is true and handed on as it is. */
function runsToTheEnd(context: AnyInferContext, body: Graph): boolean {
  if (context.has(1) && context.sizes(1)?.[0] !== 1) return false;
  let condition: Value | null | undefined = body.outputs[0];
  while (condition?.producer?.is('Identity') === true) condition = condition.producer.input(0);
  if (condition === body.inputs[1]) return true;
  return context.loaded(constantOf(condition))?.toFloat64Array()[0] === 1;
}

function inferLoop(context: InferContext<{ readonly body: Graph | undefined }>): void {
  const { body } = context.attributes;
  if (body === undefined) return;
  const carried = Math.max(0, context.inputCount - 2);
  if (body.inputs.length !== carried + 2)
    context.fail(`the body takes ${body.inputs.length} inputs, the node hands it ${carried + 2}`);
  if (body.outputs.length < carried + 1)
    context.fail(`the body gives ${body.outputs.length} outputs for ${carried} carried values`);
  if (body.outputs.length - 1 !== context.outputCount)
    context.fail(`the body gives ${body.outputs.length - 1} values, the node ${context.outputCount}`);
  const before = Array.from({ length: carried }, (_, index) => context.type(index + 2));
  const { state, all } = stableState(
    context,
    body,
    before,
    (types) => [tensorType('int64', []), tensorType('bool', []), ...types],
    (types) => types.slice(1, carried + 1),
  );
  for (const [index, type] of state.entries()) {
    // An optional that the body fills is present behind the loop.
    const last = all[index + 1];
    const filled = type?.kind === 'optional' && last !== undefined && last.kind !== 'optional';
    context.outputType(index, filled ? last : type);
  }
  // A loop runs as often as it says, unless its condition may stop it early.
  const limit = runsToTheEnd(context, body) ? elementLimit(context) : null;
  const count = limit ?? context.freshDim('iterations');
  for (let index = carried; index < context.outputCount; index++) {
    const type = all[index + 1];
    context.outputType(
      index,
      type?.kind === 'tensor' && type.shape !== undefined
        ? tensorType(type.dtype, [count, ...type.shape])
        : type,
    );
  }
}

interface ScanAttributes {
  readonly body: Graph | undefined;
  readonly num_scan_inputs: number;
  readonly scan_input_axes: readonly number[] | undefined;
  readonly scan_output_axes: readonly number[] | undefined;
}

function inferScan(context: InferContext<ScanAttributes>): void {
  const {
    body,
    num_scan_inputs: scans,
    scan_input_axes: inputAxes,
    scan_output_axes: outputAxes,
  } = context.attributes;
  if (body === undefined) return;
  const carried = context.inputCount - scans;
  if (scans < 1 || carried < 0)
    context.fail(`num_scan_inputs is ${scans}, but the node has ${context.inputCount} inputs`);
  if (body.inputs.length !== context.inputCount || body.outputs.length !== context.outputCount) {
    context.fail(
      `the body takes ${body.inputs.length} and gives ${body.outputs.length} values, the node ${context.inputCount} and ${context.outputCount}`,
    );
  }
  let length: Dim = null;
  const slices = Array.from({ length: scans }, (_, index): ValueType | undefined => {
    const shape = context.shape(carried + index);
    if (shape === undefined) return undefined;
    const axis = axisOf(context, inputAxes?.[index] ?? 0, shape.length, 'scan_input_axes');
    length = mergedDim(context, length, shape[axis] ?? null, 'the lengths of all scanned inputs');
    return tensorType(
      context.dtype(carried + index),
      shape.filter((_dim, position) => position !== axis),
    );
  });
  const before = Array.from({ length: carried }, (_, index) => context.type(index));
  const { state, all } = stableState(
    context,
    body,
    before,
    (types) => [...types, ...slices],
    (types) => types.slice(0, carried),
  );
  for (const [index, type] of state.entries()) context.outputType(index, type);
  for (let index = carried; index < context.outputCount; index++) {
    const type = all[index];
    if (type?.kind !== 'tensor' || type.shape === undefined) context.outputType(index, type);
    else {
      const axis = axisOf(
        context,
        outputAxes?.[index - carried] ?? 0,
        type.shape.length + 1,
        'scan_output_axes',
      );
      context.outputType(
        index,
        tensorType(type.dtype, [...type.shape.slice(0, axis), length, ...type.shape.slice(axis)]),
      );
    }
  }
}

function inferSequenceMap(context: InferContext<{ readonly body: Graph | undefined }>): void {
  const { body } = context.attributes;
  if (body === undefined) return;
  const inputs = Array.from({ length: context.inputCount }, (_, index) => {
    const type = context.type(index);
    return type?.kind === 'sequence' ? type.element : type;
  });
  const outputs = context.subgraph(body, inputs);
  if (outputs.length !== context.outputCount)
    context.fail(`the body gives ${outputs.length} values, the node ${context.outputCount}`);
  for (const [index, type] of outputs.entries()) {
    context.outputType(index, { kind: 'sequence', element: anySize(type, inputs) });
  }
}

/** Each call of the body may meet other sizes: dims that no input declares for all of them are unknown. */
function anySize(type: ValueType | undefined, inputs: readonly (ValueType | undefined)[]): ValueType {
  if (type?.kind !== 'tensor') return type ?? tensorType(undefined);
  const known = new Set(inputs.flatMap((input) => (input?.kind === 'tensor' ? (input.shape ?? []) : [])));
  return tensorType(
    type.dtype,
    type.shape?.map((dim) => (typeof dim === 'number' || known.has(dim) ? dim : null)),
  );
}

/** Definitions of the operators with subgraphs. */
export const controlFlowOps: OpFamily<typeof controlFlowSchemas> = opFamily(controlFlowSchemas, {
  If: inferIf,
  Loop: inferLoop,
  Scan: inferScan,
  SequenceMap: inferSequenceMap,
});

import type { Graph } from '../../ir/graph.ts';
import { attr } from '../../op/attributes.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { int64Tensor } from '../elements.ts';
import {
  isTensor,
  type KernelContext,
  type KernelTable,
  type ReferenceKernel,
  type ReferenceValue,
} from '../kernel.ts';
import { concatTensors, sliceAxis } from './movement.ts';
import { requireAxis } from './reduce.ts';

function graphOf(context: KernelContext, name: string): Graph {
  const attribute = context.node.attributes.get(name);
  return attribute?.kind === 'graph' ? attribute.value : context.fail(`attribute "${name}" is no graph`);
}

function truthOf(context: KernelContext, value: ReferenceValue | null | undefined): boolean {
  if (!isTensor(value) || value.size !== 1) return context.fail('a condition is not one bool');
  return value.toFloat64Array()[0] !== 0;
}

const condition = (value: boolean): Tensor => Tensor.from('bool', [], new Uint8Array([value ? 1 : 0]));

/** ONNX `If` (opset 21): one of two subgraphs. */
const ifKernel: ReferenceKernel = (context) =>
  context.run(graphOf(context, truthOf(context, context.tensor(0)) ? 'then_branch' : 'else_branch'), []);

/** One tensor of the results of all iterations, along a new first axis (or `axis`). */
function stacked(context: KernelContext, parts: readonly (ReferenceValue | null)[], axis: number): Tensor {
  const tensors = parts.map((part) => {
    if (!isTensor(part)) return context.fail('a scan output is no tensor');
    const at = axis < 0 ? axis + part.shape.length + 1 : axis;
    return { at, tensor: part.reshape([...part.shape.slice(0, at), 1, ...part.shape.slice(at)]) };
  });
  return concatTensors(
    context,
    tensors.map(({ tensor }) => tensor),
    tensors[0]?.at ?? 0,
  );
}

/** What a scan output without iterations is: its declared shape behind an axis of 0. */
function nothingStacked(context: KernelContext, body: Graph, index: number, axis: number): Tensor {
  const { type } = body.outputs[index]!;
  const dtype = type?.kind === 'tensor' ? type.dtype : undefined;
  const shape = type?.kind === 'tensor' ? type.shape : undefined;
  if (dtype === undefined)
    return context.fail(`scan output ${index} ran zero times and its type is not declared`);
  const dims = (shape ?? []).map((dim) => (typeof dim === 'number' ? dim : 0));
  const at = axis < 0 ? axis + dims.length + 1 : axis;
  return Tensor.fromBytes(dtype, [...dims.slice(0, at), 0, ...dims.slice(at)], new Uint8Array(0));
}

/** ONNX `Loop` (opset 21): runs its body while the condition holds, at most `M` times. */
const loop: ReferenceKernel = (context) => {
  const body = graphOf(context, 'body');
  const limit = context.optional(0)?.toFloat64Array()[0] ?? Number.POSITIVE_INFINITY;
  const started = context.optional(1);
  let running = started === undefined || truthOf(context, started);
  let carried: readonly (ReferenceValue | null)[] = context.inputs.slice(2);
  const scans: (ReferenceValue | null)[][] = body.outputs.slice(1 + carried.length).map(() => []);
  for (let iteration = 0; iteration < limit && running; iteration++) {
    const results = context.run(body, [int64Tensor([], [iteration]), condition(running), ...carried]);
    running = truthOf(context, results[0]);
    results.slice(1 + carried.length).forEach((result, index) => {
      scans[index]!.push(result);
    });
    carried = results.slice(1, 1 + carried.length);
  }
  const first = 1 + carried.length;
  return [
    ...carried,
    ...scans.map((parts, index) =>
      parts.length === 0 ? nothingStacked(context, body, first + index, 0) : stacked(context, parts, 0),
    ),
  ];
};

/** ONNX `Scan` (opset 21): runs its body over the slices of its scan inputs, carrying state. */
const scan: ReferenceKernel = (context) => {
  const options = context.attributes({
    num_scan_inputs: attr.requiredInt(),
    scan_input_axes: attr.optionalInts(),
    scan_input_directions: attr.optionalInts(),
    scan_output_axes: attr.optionalInts(),
    scan_output_directions: attr.optionalInts(),
  });
  const body = graphOf(context, 'body');
  const states = context.inputs.length - options.num_scan_inputs;
  if (states < 0)
    context.fail(`num_scan_inputs is ${options.num_scan_inputs}, there are ${context.inputs.length} inputs`);
  const scanned = Array.from({ length: options.num_scan_inputs }, (_, index) => {
    const tensor = context.tensor(states + index);
    const axis = requireAxis(context, options.scan_input_axes?.[index] ?? 0, tensor.shape.length);
    return { tensor, axis, backwards: options.scan_input_directions?.[index] === 1 };
  });
  const steps = scanned[0]?.tensor.shape[scanned[0].axis] ?? context.fail('there is nothing to scan');
  for (const { tensor, axis } of scanned)
    if (tensor.shape[axis] !== steps) context.fail('scan inputs differ in length');
  let carried: readonly (ReferenceValue | null)[] = context.inputs.slice(0, states);
  const outputs: (ReferenceValue | null)[][] = body.outputs.slice(states).map(() => []);
  for (let step = 0; step < steps; step++) {
    const slices = scanned.map(({ tensor, axis, backwards }) =>
      sliceAxis(tensor, axis, { start: backwards ? steps - 1 - step : step, step: 1, length: 1 }).reshape(
        tensor.shape.filter((_, at) => at !== axis),
      ),
    );
    const results = context.run(body, [...carried, ...slices]);
    carried = results.slice(0, states);
    results.slice(states).forEach((result, index) => {
      if (options.scan_output_directions?.[index] === 1) outputs[index]!.unshift(result);
      else outputs[index]!.push(result);
    });
  }
  return [
    ...carried,
    ...outputs.map((parts, index) => {
      const axis = options.scan_output_axes?.[index] ?? 0;
      return parts.length === 0
        ? nothingStacked(context, body, states + index, axis)
        : stacked(context, parts, axis);
    }),
  ];
};

/** ONNX `SequenceMap` (opset 17): runs its body on the items of one or more sequences. */
const sequenceMap: ReferenceKernel = (context) => {
  const body = graphOf(context, 'body');
  const first = context.value(0);
  if (isTensor(first) || first.kind !== 'sequence') return context.fail('the first input is no sequence');
  const results = first.items.map((_, index) =>
    context.run(
      body,
      context.inputs.map((input) =>
        input === null || isTensor(input) || input.kind !== 'sequence' ? input : (input.items[index] ?? null),
      ),
    ),
  );
  return body.outputs.map((_, output) => ({
    kind: 'sequence' as const,
    items: results.map((values) => values[output] ?? context.fail('the body gave nothing')),
  }));
};

/** Subgraphs: `ai.onnx`. */
export const controlFlowKernels: KernelTable = {
  If: ifKernel,
  Loop: loop,
  Scan: scan,
  SequenceMap: sequenceMap,
};

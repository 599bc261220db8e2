import {
  attributesOf,
  errors,
  formatType,
  inferShapes,
  isFloat,
  type Model,
  type Node,
  type OpSet,
  standardOps,
  type TraitTable,
  type Value,
} from '@lithe/core';
import { standardGradients } from '../rules/standard-gradients.ts';
import { sumToShape } from './broadcast.ts';
import { Emitter } from './emitter.ts';
import type { GradientContext, GradientRule } from './gradient-rule.ts';

/** What {@link addGradients} is asked for. */
export interface GradientRequest {
  /** The loss: a scalar (or one-element) float value. */
  readonly of: Value;
  /** Values to differentiate by. */
  readonly wrt: readonly Value[];
  /** Values that count as constants: nothing is differentiated through them. None by default. */
  readonly stop?: ReadonlySet<Value> | undefined;
  /** Gradient rules; those of the standard operators by default. */
  readonly rules?: TraitTable<GradientRule> | undefined;
  /** Operators that are known. */
  readonly opset?: OpSet | undefined;
}

/**
 * Adds reverse-mode gradients to a model's graph: nodes of standard operators behind the forward ones. Only values
 * between `wrt` and the loss are visited, and no gradient is made that nothing needs. The model's shapes must be
 * inferred.
 *
 * @returns the gradient by each value of `wrt`, in order; a value that the loss does not depend on has none
 * @throws {LitheError} OPTIONS_INVALID when the loss is not one float number, or a value to differentiate by holds no
 *   floats; OP_UNSUPPORTED naming the node when an operator on the way has no gradient rule
 */
export function addGradients(model: Model, request: GradientRequest): readonly (Value | undefined)[] {
  const { graph } = model;
  const { of, wrt, rules = standardGradients, opset = standardOps } = request;
  checkRequest(request);
  const emit = new Emitter(graph, opset, 'grad/');
  const forward = [...graph.nodes()];
  const active = activeValues(forward, wrt, request.stop ?? new Set());
  const gradients = new Map<Value, Value[]>();
  gradients.set(of, [emit.expandLike(emit.scalar(1, of.dtype ?? 'float32'), of)]);
  const total = (value: Value): Value | undefined => {
    const parts = gradients.get(value);
    if (parts === undefined) return undefined;
    // Summed once, when first asked for: all contributions are in, for the walk is in reverse order.
    const sum =
      parts.length <= 2 ? parts.reduce((left, right) => emit.add(left, right)) : emit.op('Sum', parts);
    gradients.set(value, [sum]);
    return sum;
  };
  for (const node of forward.toReversed()) {
    if (!node.outputs.some((value) => gradients.has(value))) continue;
    const needed = node.inputs.map((value) => value !== null && active.has(value));
    // What a subgraph captures is no input of its node: the rule is asked all the same, and refuses.
    if (!needed.some(Boolean) && !reads(node, active)) continue;
    differentiate(node, needed, { rules, emit, total, gradients });
  }
  return wrt.map(total);
}

/** A loss of many numbers would be taken for their sum, and integers have no slope. */
function checkRequest({ of, wrt }: GradientRequest): void {
  const problems = wrt.flatMap(({ name, dtype }) =>
    dtype === undefined || isFloat(dtype) ? [] : [`"${name}" is ${dtype}: gradients are taken by floats.`],
  );
  if (of.dtype === undefined || !isFloat(of.dtype) || of.shape?.every((dim) => dim === 1) !== true)
    problems.unshift(`"${of.name}" is ${formatType(of.type)}, and the loss must be one float number.`);
  if (problems.length > 0)
    throw errors.optionsInvalid(
      'gradients',
      problems,
      'Reduce what many numbers say to one: ReduceMean, ReduceSum.',
    );
}

/** What to do where a rule needs to know a size that the model leaves open. */
export const FIX_SHAPES =
  'Fix the shapes of the inputs while training: the option "inputShapes" of trainingStep and fit, as in { x: ["N", 3, 224, 224] }.';

interface Pass {
  readonly rules: TraitTable<GradientRule>;
  readonly emit: Emitter;
  readonly gradients: Map<Value, Value[]>;
  total(value: Value): Value | undefined;
}

/** Whether a value of `set` is read inside the subgraphs of a node. */
function reads(node: Node, set: ReadonlySet<Value>): boolean {
  for (const [, inner] of node.subgraphs) {
    for (const item of inner.nodesDeep()) {
      if (item.inputs.some((value) => value !== null && set.has(value))) return true;
    }
    if (inner.outputs.some((value) => set.has(value))) return true;
  }
  return false;
}

/** Values that depend on one of `wrt` through float tensors and not only through `stop`, `wrt` itself among them. */
function activeValues(
  nodes: readonly Node[],
  wrt: readonly Value[],
  stop: ReadonlySet<Value>,
): ReadonlySet<Value> {
  const active = new Set<Value>(wrt);
  for (const node of nodes) {
    if (!node.inputs.some((value) => value !== null && active.has(value)) && !reads(node, active)) continue;
    // Integers carry no gradient, but for the straight-through one from Quantize to Dequantize.
    const through = node.opType === 'QuantizeLinear';
    for (const value of node.outputs) {
      if (!stop.has(value) && (through || value.dtype === undefined || isFloat(value.dtype)))
        active.add(value);
    }
  }
  return active;
}

function differentiate(node: Node, needed: readonly boolean[], pass: Pass): void {
  const rule = pass.rules.get(node);
  if (rule === undefined || rule === 'none') {
    throw errors.opUnsupported(
      node.name,
      node.op,
      'Differentiation',
      rule === 'none' ? 'the operator has no useful gradient' : 'no gradient rule is known for the operator',
      'Leave what lies before it out of the trained weights, or pass a rule: rules: standardGradients.with(gradient.of(op, rule)).',
    );
  }
  const { emit } = pass;
  const context = contextOf(node, needed, pass);
  const first = pass.total(node.output(0));
  // An operator whose first output does not matter (Split, LSTM) is given zeros there.
  const results = rule(context, first ?? emit.zerosLike(node.output(0)));
  node.inputs.forEach((value, index) => {
    const result = results[index];
    if (value === null || needed[index] !== true || result === null || result === undefined) return;
    const parts = pass.gradients.get(value);
    const summed = sumToShape(emit, result, value);
    if (parts === undefined) pass.gradients.set(value, [summed]);
    else parts.push(summed);
  });
}

function contextOf(node: Node, needed: readonly boolean[], pass: Pass): GradientContext {
  return {
    node,
    emit: pass.emit,
    input: (index) => {
      const value = node.input(index);
      if (value === null)
        throw errors.internal(`the gradient rule of ${node.op} asks for input ${index}, which is left out`);
      return value;
    },
    has: (index) => node.input(index) !== null,
    output: (index = 0) => node.output(index),
    gradient: (index) => {
      const value = node.outputs[index];
      return value === undefined ? null : (pass.total(value) ?? null);
    },
    needs: (index) => needed[index] === true,
    attributes: (op) => attributesOf(node, op),
    unsupported: (reason) => {
      throw errors.opUnsupported(node.name, node.op, 'Differentiation', reason);
    },
    unknownSize: (what) => {
      throw errors.opUnsupported(node.name, node.op, 'Differentiation', `${what} is not known`, FIX_SHAPES);
    },
  };
}

/**
 * A model that gives, beside its outputs, the gradients of a loss.
 *
 * @param model the model; it is not changed
 * @param request names of the loss and of the inputs or weights to differentiate by
 * @returns a copy with one more output per name in `wrt`, called `grad:<name>`
 * @throws {LitheError} OPTIONS_INVALID when a name is unknown, the loss is not one float number, or a value holds no
 *   floats; OP_UNSUPPORTED when an operator on the way has no gradient rule
 */
export async function gradients(
  model: Model,
  request: { readonly of: string; readonly wrt: readonly string[] } & Pick<
    GradientRequest,
    'rules' | 'opset'
  >,
): Promise<Model> {
  const copy = model.clone();
  await inferShapes(copy, request.opset === undefined ? {} : { opset: request.opset });
  const { graph } = copy;
  const find = (name: string): Value => {
    const value = graph.value(name);
    if (value === undefined)
      throw errors.optionsInvalid('gradients', [`The model has no value called "${name}".`]);
    return value;
  };
  const of = find(request.of);
  const wrt = request.wrt.map(find);
  const results = addGradients(copy, { ...request, of, wrt });
  const outputs = results.map((value, index) => {
    const source = wrt[index] as Value;
    const emit = new Emitter(graph, request.opset ?? standardOps, 'grad/');
    const result = emit.op('Identity', [value ?? emit.zerosLike(source)]);
    graph.rename(result, graph.uniqueName(`grad:${source.name}`));
    return result;
  });
  graph.setOutputs([...graph.outputs, ...outputs]);
  return copy;
}

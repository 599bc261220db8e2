import {
  type Attribute,
  cloneGraph,
  type Graph,
  type Node,
  type RewriteContext,
  type RewriteRule,
  type Value,
} from '@lithe/core';
import { intOf } from '../shared/attributes.ts';
import { rankOf, sameShape } from '../shared/shapes.ts';

/** An If whose condition never changes. */
export const inlineConstantIf: RewriteRule = {
  name: 'simplify/inline-constant-if',
  summary: 'Puts the branch that is always taken in the place of an If with a constant condition.',
  anchors: ['If'],
  depth: 0,
  apply(node, context) {
    const condition = context.small(node.input(0));
    if (!node.is('If') || condition?.size !== 1) return undefined;
    const name = condition.toFloat64Array()[0] === 0 ? 'else_branch' : 'then_branch';
    const branch = node.attributes.get(name);
    if (branch?.kind !== 'graph') return undefined;
    const inner = [...branch.value.nodes()];
    // The branch's own results keep the names of the outputs; what it hands on from around it cannot.
    const plain = node.outputs.every((output, index) => {
      const result = branch.value.outputs[index];
      if (result === undefined) return false;
      return output.outputOf.length === 0 || (result.graph === branch.value && result.producer !== null);
    });
    const once = new Set(branch.value.outputs).size === branch.value.outputs.length;
    if (!plain || !once) return { skip: { code: 'output', reason: 'an output would lose its name' } };
    const mapped = copyInto(node, branch.value, inner, context);
    for (const [index, output] of node.outputs.entries()) {
      const result = branch.value.outputs[index] as Value;
      if (!output.isUnused) context.replace(output, mapped.get(result) ?? result);
    }
    context.removeUnused(node);
    return `inline the ${name === 'then_branch' ? 'then' : 'else'} branch of If "${node.name}"`;
  },
};

/** Copies a branch before its If; the copies by original. */
function copyInto(
  node: Node,
  branch: Graph,
  inner: readonly Node[],
  context: RewriteContext,
): ReadonlyMap<Value, Value> {
  const mapped = new Map<Value, Value>();
  for (const value of branch.initializers) {
    if (value.initializer !== undefined)
      mapped.set(value, context.addConstant(value.name, value.initializer));
  }
  for (const item of inner) {
    const inputs = item.inputs.map((input) => (input === null ? null : (mapped.get(input) ?? input)));
    const { opType, domain, overload, name, docString } = item;
    const attributes = attributesFor(item, node.graph, mapped);
    const made = context.insert(
      node,
      { opType, domain, overload, attributes, name, docString, inputs },
      item.outputs.map((output) => ({
        name: output.name === '' ? '' : node.graph.uniqueName(output.name),
        type: output.type,
      })),
    );
    for (const [index, output] of item.outputs.entries()) mapped.set(output, made.output(index));
  }
  return mapped;
}

/** Attributes of a branch's node for its copy: subgraphs are copied too, to lie in the other graph. */
function attributesFor(
  item: Node,
  graph: Graph,
  mapped: ReadonlyMap<Value, Value>,
): ReadonlyMap<string, Attribute> {
  if (item.subgraphs.length === 0) return item.attributes;
  const copy = (inner: Graph): Graph => cloneGraph(inner, graph, new Map(mapped));
  const attributes = new Map<string, Attribute>();
  for (const [name, held] of item.attributes) {
    if (held.kind === 'graph') attributes.set(name, { kind: 'graph', value: copy(held.value) });
    else if (held.kind === 'graphs') attributes.set(name, { kind: 'graphs', value: held.value.map(copy) });
    else attributes.set(name, held);
  }
  return attributes;
}

/** Softmax over the last axis, written for matrices: what the operator was before opset 13. */
export const unflattenSoftmax: RewriteRule = {
  name: 'simplify/unflatten-softmax',
  summary: 'Takes the Flatten and Reshape off a Softmax over the last axis.',
  anchors: ['Reshape'],
  depth: 2,
  apply(node, context) {
    const softmax = node.input(0)?.producer;
    const flat = softmax?.input(0)?.producer;
    const source = flat?.input(0);
    if (!softmax || !flat || !source || softmax.graph !== node.graph || flat.graph !== node.graph)
      return undefined;
    if (
      !['Softmax', 'LogSoftmax', 'Hardmax'].some((name) => softmax.is(name)) ||
      !(flat.is('Flatten') || flat.is('Reshape'))
    )
      return undefined;
    const axis = intOf(softmax, 'axis', -1);
    const rank = rankOf(softmax.output());
    if (rank === undefined || axis === undefined || (axis !== -1 && axis !== rank - 1)) return undefined;
    const [before, through] = [source.shape, flat.output().shape];
    if (!sameShape(before, node.output().shape) || before === undefined || through === undefined)
      return undefined;
    const last = before.at(-1);
    if (last === undefined || last === null || last !== through.at(-1)) return undefined;
    const made = context.insert(
      node,
      {
        opType: softmax.opType,
        inputs: [source],
        attributes: { axis: { kind: 'int', value: -1n } },
        name: softmax.name,
      },
      [{ type: node.output().type }],
    );
    context.replace(node.output(), made.output());
    return `take Flatten "${flat.name}" and Reshape "${node.name}" off ${softmax.opType} "${softmax.name}"`;
  },
};

import { constantOf, elementsOf, type Node, type Value } from '@lithe/core';
import type { StaticPlan } from './plan.ts';

function strides(node: Node): number {
  const found = node.attributes.get('strides');
  return found?.kind === 'ints' ? found.value.reduce((all, stride) => all * Number(stride), 1) : 1;
}

/** Whether integers arrive at a node's input: a quantized node makes it, directly or behind the rectifier it takes in. */
function arrivesInteger(value: Value | null, plan: StaticPlan): boolean {
  const producer = value?.producer;
  if (producer === null || producer === undefined) return false;
  return (plan.nodes.has(producer) && plan.outputs.has(value as Value)) || plan.absorbed.has(producer);
}

/**
 * What a convolution or product gains in integers, in multiply-accumulates per output position, less what converting
 * its input and output costs where a neighbour stays float. Negative: it is faster in float.
 *
 * @param conversionCost multiply-accumulates that converting one element costs
 */
export function payoff(node: Node, plan: StaticPlan, conversionCost: number): number {
  const weight = constantOf(node.input(1));
  if (weight === undefined) return 0;
  const macs = elementsOf(weight.shape);
  const isConvolution = node.is('Conv');
  const transposed = node.attributes.get('transB');
  const rows = isConvolution || (transposed?.kind === 'int' && transposed.value !== 0n) ? 0 : 1;
  const outputs = weight.shape[rows]!;
  const group = node.attributes.get('group');
  const groups = group?.kind === 'int' ? Number(group.value) : 1;
  const inputs = isConvolution ? weight.shape[1]! * groups : weight.shape[1 - rows]!;
  const converted = arrivesInteger(node.input(0), plan) ? 0 : inputs * strides(node);
  return macs - conversionCost * (converted + (handsOutFloats(node, plan) ? outputs : 0));
}

/** Whether a result is converted back for a reader that stays float. Products hand out floats for nothing. */
function handsOutFloats(node: Node, plan: StaticPlan): boolean {
  for (const value of plan.results.get(node) ?? []) {
    if (!plan.outputs.has(value)) continue;
    if (value.outputOf.length > 0 || value.uses.some((use) => !plan.nodes.has(use.node))) return true;
  }
  return false;
}

import { constantOf, elementsOf, type IntegerCosts, type Node, type Value } from '@lithe/core';
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

/** Costs of a target, or what onnxruntime's are on an x86 CPU; the conversion may be given. */
export function planCosts(costs: IntegerCosts | undefined, conversion: number | undefined): IntegerCosts {
  const known = costs ?? { conversion: 48, depthwise: -6.8 };
  return { ...known, conversion: conversion ?? known.conversion };
}

/** Whether a node is a convolution in which every channel is on its own. */
export function isDepthwise(node: Node): boolean {
  const group = node.attributes.get('group');
  const source = constantOf(node.input(1));
  return node.is('Conv') && group?.kind === 'int' && group.value > 1n && source?.shape[1] === 1;
}

/**
 * What a convolution or product gains in integers, in multiply-accumulates per output position, less what converting
 * its input and output costs where a neighbour stays float. Negative: it is faster in float.
 */
export function payoff(node: Node, plan: StaticPlan, costs: IntegerCosts): number {
  const weight = constantOf(node.input(1));
  if (weight === undefined) return 0;
  const macs = elementsOf(weight.shape);
  const isConvolution = node.is('Conv');
  const transposed = node.attributes.get('transB');
  const rows = isConvolution || (transposed?.kind === 'int' && transposed.value !== 0n) ? 0 : 1;
  const outputs = weight.shape[rows]!;
  const group = node.attributes.get('group');
  const groups = group?.kind === 'int' ? Number(group.value) : 1;
  const inputs = (isConvolution ? weight.shape[1]! * groups : weight.shape[1 - rows]!) * strides(node);
  const arrives = arrivesInteger(node.input(0), plan);
  const leaves = !handsOutFloats(node, plan);
  if (!isDepthwise(node)) return macs - costs.conversion * ((arrives ? 0 : inputs) + (leaves ? 0 : outputs));
  // Short sums win nothing by themselves; what counts is on which side fewer conversions are left.
  const kept = (arrives ? inputs : -inputs) + (leaves ? outputs : -outputs);
  return macs * costs.depthwise + costs.conversion * kept;
}

/** Whether a result is converted back for a reader that stays float. Products hand out floats for nothing. */
function handsOutFloats(node: Node, plan: StaticPlan): boolean {
  for (const value of plan.results.get(node) ?? []) {
    if (!plan.outputs.has(value)) continue;
    if (value.outputOf.length > 0 || value.uses.some((use) => !plan.nodes.has(use.node))) return true;
  }
  return false;
}

/** Elements of a value for each element of the first axis; `undefined` while a dim is not a number. */
function elements(value: Value | null): number | undefined {
  const rest = value?.shape?.slice(1);
  if (rest === undefined || !rest.every((dim) => typeof dim === 'number')) return undefined;
  return elementsOf(rest as readonly number[]);
}

/**
 * What a group of connected integer nodes gains as a whole: the sums it saves, less conversions at its edge. Each of
 * them may pay for itself beside integer neighbours and all together lose. `undefined` when sizes are not known.
 */
function gainOf(
  island: ReadonlySet<Node>,
  plan: StaticPlan,
  { costs, pairs }: { readonly costs: IntegerCosts; readonly pairs: ReadonlySet<Value> },
): number | undefined {
  let gain = 0;
  for (const node of island) {
    const weight = plan.nodes.get(node) === 'anchor' ? constantOf(node.input(1)) : undefined;
    const outputs = elements(node.output());
    if (weight !== undefined) {
      const transposed = node.attributes.get('transB');
      const first = node.is('Conv') || (transposed?.kind === 'int' && transposed.value !== 0n);
      const each = elementsOf(weight.shape) / (weight.shape[first ? 0 : 1] || 1);
      if (outputs === undefined) return undefined;
      gain += outputs * each * (isDepthwise(node) ? costs.depthwise : 1);
    }
    const values = [...node.inputs, ...(plan.results.get(node) ?? [])];
    for (const value of values) {
      if (value === null || constantOf(value) !== undefined || !pairs.has(value)) continue;
      const made = plan.outputs.has(value);
      const isInput = node.inputs.includes(value);
      if (isInput ? made : !value.isGraphOutput && value.uses.every((use) => plan.nodes.has(use.node)))
        continue;
      const size = elements(value);
      if (size === undefined) return undefined;
      gain -= costs.conversion * size;
    }
  }
  return gain;
}

/** Groups of integer nodes that integers connect. */
export function islandsOf(plan: StaticPlan): readonly ReadonlySet<Node>[] {
  const of = new Map<Node, Set<Node>>();
  const islands = new Set<Set<Node>>();
  for (const [node] of plan.nodes) {
    const island = new Set([node]);
    islands.add(island);
    of.set(node, island);
    for (const input of node.inputs) {
      const producer = input?.producer;
      if (producer === null || producer === undefined || !plan.outputs.has(input as Value)) continue;
      const maker = plan.absorbed.get(producer) ?? producer;
      const other = of.get(maker);
      const own = of.get(node) as Set<Node>;
      if (other === undefined || other === own) continue;
      const [small, large] = own.size < other.size ? [own, other] : [other, own];
      for (const one of small) {
        large.add(one);
        of.set(one, large);
      }
      islands.delete(small);
    }
  }
  return [...islands];
}

/** Anchors of the groups that lose as a whole. */
export function losingIslands(plan: StaticPlan, costs: IntegerCosts): readonly Node[] {
  const pairs = new Set(plan.values);
  return islandsOf(plan)
    .filter((island) => (gainOf(island, plan, { costs, pairs }) ?? 0) < 0)
    .flatMap((island) => [...island].filter((node) => plan.nodes.get(node) === 'anchor'));
}

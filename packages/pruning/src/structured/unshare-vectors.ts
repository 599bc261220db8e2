import { constantOf, type Model, type Value } from '@lithe/core';

/**
 * Gives each reader of a shared vector (a bias, a scale: at most one axis longer than 1) one of its own, in place. Equal
 * vectors that a simplifier merged would else tie layers together that have nothing to do with each other. Matrices and
 * kernels stay shared: those are tied on purpose. Doing it twice changes nothing, and names depend on the model alone.
 */
export function unshareVectors(model: Model): void {
  const { graph } = model;
  const shared: Value[] = [];
  for (const value of graph.initializers) shared.push(value);
  for (const node of graph.nodes()) if (node.is('Constant')) shared.push(node.output());
  const places = new Map([...graph.nodes()].map((node, place) => [node, place]));
  for (const value of shared) {
    const source = constantOf(value);
    if (source === undefined || value.useCount < 2 || value.isGraphOutput) continue;
    if (source.shape.filter((dim) => dim > 1).length !== 1) continue;
    if (value.uses.some(({ node }) => node.graph !== graph)) continue;
    const uses = [...value.uses].sort(
      (left, right) =>
        (places.get(left.node) as number) - (places.get(right.node) as number) || left.index - right.index,
    );
    let number = 2;
    for (const { node, index } of uses.slice(1)) {
      // Not Graph.uniqueName: what it gives depends on names that were asked for before.
      while (graph.value(`${value.name}~${number}`) !== undefined) number++;
      graph.setInput(node, index, graph.addInitializer(`${value.name}~${number}`, source));
    }
  }
}

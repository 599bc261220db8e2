import type { Graph, Value } from '@lithe/core';

/** Removes a value that nothing reads any more, with what only served to make it. */
export function removeDead(graph: Graph, value: Value): void {
  const stack: Value[] = [value];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    if (!item.isUnused || item.graph !== graph || graph.value(item.name) !== item) continue;
    const { producer } = item;
    if (producer === null) {
      if (!item.isGraphInput) graph.removeValue(item);
    } else if (producer.isAttached && producer.outputs.every((output) => output.isUnused)) {
      const inputs = producer.inputs.filter((input): input is Value => input !== null);
      graph.remove(producer);
      stack.push(...inputs);
    }
  }
}

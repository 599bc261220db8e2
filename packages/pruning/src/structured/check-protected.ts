import { errors, type Graph } from '@lithe/core';

/**
 * Refuses names that nothing has: they would protect nothing, and a slip of the pen would go unnoticed.
 *
 * @param what whose options they are, for the message
 * @throws {LitheError} OPTIONS_INVALID when a name is that of no node, and of no value of the main graph
 */
export function checkProtected(what: string, graph: Graph, names: readonly string[] = []): void {
  if (names.length === 0) return;
  const known = new Set<string>();
  for (const node of graph.nodesDeep()) known.add(node.name);
  const missing = names.filter((name) => !known.has(name) && graph.value(name) === undefined);
  if (missing.length === 0) return;
  throw errors.optionsInvalid(
    what,
    missing.map((name) => `"protect" names "${name}", which is no node or value of the main graph.`),
  );
}

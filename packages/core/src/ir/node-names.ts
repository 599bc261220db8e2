import type { Node } from './node.ts';

/**
 * Names for nodes that have none. Runtimes refuse a graph in which two nodes share a name, so numbering goes on behind
 * the nodes that are there (read from a file, or cloned); they are looked through once per operator.
 */
export class NodeNames {
  readonly #next = new Map<string, number>();

  /** A name for a new node of an operator, in a graph of these nodes. */
  make(opType: string, nodes: () => Iterable<Node>): string {
    const number = this.#next.get(opType) ?? numberBehind(`${opType}_`, nodes());
    this.#next.set(opType, number + 1);
    return `${opType}_${number}`;
  }
}

/** One more than the largest number that follows a prefix; 0 where there is none. */
function numberBehind(prefix: string, nodes: Iterable<Node>): number {
  let number = 0;
  for (const { name } of nodes) {
    if (!name.startsWith(prefix)) continue;
    const digits = name.slice(prefix.length);
    if (/^\d{1,9}$/.test(digits)) number = Math.max(number, Number(digits) + 1);
  }
  return number;
}

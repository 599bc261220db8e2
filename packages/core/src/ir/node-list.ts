import { type Node, type NodeLinks, nodeLinks } from './node.ts';

/** Where a new node goes. */
export interface Placement {
  /** Before this node. */
  readonly before?: Node | undefined;
  /** After this node. At most one of the two; neither appends. */
  readonly after?: Node | undefined;
}

const linksOf = (node: Node): NodeLinks => nodeLinks.get(node) as NodeLinks;

/** The nodes of a graph, linked in order, so that any edit takes constant time and a walk tolerates it. Internal to the IR. */
export class NodeList {
  #first: Node | null = null;
  #last: Node | null = null;
  #size = 0;

  /** Number of nodes. */
  get size(): number {
    return this.#size;
  }

  /** Puts a node into the list. The placement must be in it. */
  insert(node: Node, { before, after }: Placement): void {
    const own = linksOf(node);
    own.previous = before !== undefined ? linksOf(before).previous : (after ?? this.#last);
    own.next = before !== undefined ? before : after !== undefined ? linksOf(after).next : null;
    if (own.previous === null) this.#first = node;
    else linksOf(own.previous).next = node;
    if (own.next === null) this.#last = node;
    else linksOf(own.next).previous = node;
    own.attached = true;
    this.#size++;
  }

  /** Takes a node out. It keeps its neighbours, for walks that are on it. */
  remove(node: Node): void {
    const own = linksOf(node);
    if (own.previous === null) this.#first = own.next;
    else linksOf(own.previous).next = own.next;
    if (own.next === null) this.#last = own.previous;
    else linksOf(own.next).previous = own.previous;
    own.attached = false;
    this.#size--;
  }

  /** Puts a node that is in the list somewhere else. */
  move(node: Node, placement: Placement): void {
    linksOf(node).moves++;
    this.remove(node);
    this.insert(node, placement);
  }

  /** Takes all nodes out. */
  clear(): void {
    for (const node of this.walk('next')) linksOf(node).attached = false;
    this.#first = null;
    this.#last = null;
    this.#size = 0;
  }

  /** The nodes in order, or from last to first; see {@link Graph.nodes} for edits during the walk. */
  *walk(direction: 'next' | 'previous'): IterableIterator<Node> {
    let node = direction === 'next' ? this.#first : this.#last;
    while (node !== null) {
      const own: NodeLinks = linksOf(node);
      const ahead: Node | null = own[direction];
      const { moves } = own;
      yield node;
      // A removed node keeps the neighbour it had; from there walk on to one that is still attached.
      let next: Node | null = own.moves === moves ? own[direction] : ahead;
      while (next !== null && !linksOf(next).attached) next = linksOf(next)[direction];
      node = next;
    }
  }
}

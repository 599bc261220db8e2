import type { Node, Value } from '@lithe/core';
import { type AxisModel, type BoundFlow, type BoundTie, endKey, type Slot } from './axis-model.ts';

/** Why a group, or a part of one, must stay as it is. */
export interface Obstacle {
  /** Short stable code. */
  readonly code:
    | 'graph-input'
    | 'graph-output'
    | 'operator'
    | 'subgraph'
    | 'single-unit'
    | 'protected'
    | 'dtype';
  /** The node or value that is in the way. */
  readonly target: string;
  /** Why, as a clause. */
  readonly reason: string;
}

/** What follows from removing something: the axes that shrink with it, cut into units. */
export interface Closure {
  /** The unit of each index, by axis; -1 where an index takes no part. */
  readonly slots: ReadonlyMap<Slot, Int32Array>;
  /** Number of units. */
  readonly units: number;
  /** Nodes that were passed, in no particular order. */
  readonly nodes: ReadonlySet<Node>;
  /** What is in the way. */
  readonly obstacles: readonly Obstacle[];
  /** Units that cannot be removed, though others can. */
  readonly pinned: ReadonlyMap<number, string>;
  /** Why results change when zeros are removed. */
  readonly inexact: readonly string[];
  /** Whether there was more than one way to cut. */
  readonly hasChoice: boolean;
}

interface State {
  readonly slot: Slot;
  /** Number of the first index of this axis. */
  readonly base: number;
  /** Which indices take part. */
  readonly active: Uint8Array;
}

interface Passage {
  readonly bound: BoundFlow;
  readonly key: string;
}

/**
 * Follows indices of an axis through the graph until nothing new belongs to them, merging indices that can only go
 * together (union-find). Where an operator offers several ways to cut, one that merges nothing is taken; if each
 * merges something, the `preference`-th of them.
 *
 * @see Fang, Ma, Song, Mi and Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023, section 3; units here are
 *   classes of indices rather than layers, so that splits, concatenations and reshapes need no special cases
 */
class Walk {
  readonly #axes: AxisModel;
  readonly #preference: number;
  readonly #states = new Map<Slot, State>();
  readonly #parents: number[] = [];
  readonly #queue = new Set<State>();
  readonly #chosen = new Map<readonly BoundTie[], Set<BoundTie>>();
  readonly #pending = new Map<readonly BoundTie[], Set<string>>();
  /** Indices that cannot go, with the reason. */
  readonly #pinned = new Map<number, string>();
  readonly nodes = new Set<Node>();
  readonly obstacles = new Map<string, Obstacle>();
  readonly inexact = new Set<string>();
  hasChoice = false;

  constructor(axes: AxisModel, preference: number) {
    this.#axes = axes;
    this.#preference = preference;
  }

  start(slot: Slot, indices: Iterable<number>): void {
    const state = this.#state(slot);
    for (const index of indices) state.active[index] = 1;
    this.#queue.add(state);
    for (;;) {
      for (const next of this.#queue) {
        this.#queue.delete(next);
        this.#visit(next);
      }
      if (this.#pending.size === 0) return;
      this.#choose();
    }
  }

  #state(slot: Slot): State {
    let state = this.#states.get(slot);
    if (state === undefined) {
      const base = this.#parents.length;
      for (let index = 0; index < slot.length; index++) this.#parents.push(base + index);
      state = { slot, base, active: new Uint8Array(slot.length) };
      this.#states.set(slot, state);
      this.#enter(slot.value);
    }
    return state;
  }

  /** Notes what stands in the way at a value. */
  #enter(value: Value): void {
    const add = (code: Obstacle['code'], reason: string): void => {
      this.obstacles.set(`${code}:${value.name}`, { code, target: value.name, reason });
    };
    if (value.isGraphInput) add('graph-input', 'it is an input of the model');
    if (value.isGraphOutput) add('graph-output', 'it is an output of the model');
    const inner = value.uses.some(({ node }) => node.graph !== this.#axes.graph);
    if (inner || value.outputOf.some((graph) => graph !== this.#axes.graph))
      add('subgraph', 'a subgraph reads it');
  }

  #passages({ value, axis }: Slot): readonly Passage[] {
    const passages: Passage[] = [];
    const { producer } = value;
    if (producer !== null && !producer.is('Constant'))
      passages.push({ bound: this.#axes.flow(producer), key: endKey('output', value.outputIndex, axis) });
    for (const { node, index } of value.uses) {
      if (node.graph === this.#axes.graph)
        passages.push({ bound: this.#axes.flow(node), key: endKey('input', index, axis) });
    }
    return passages;
  }

  #visit(state: State): void {
    for (const { bound, key } of this.#passages(state.slot)) {
      const { node, flow } = bound;
      this.nodes.add(node);
      const problem = bound.named.get(key);
      if (!bound.named.has(key) || problem !== undefined) {
        const reason = problem ?? flow.fixed ?? 'the axis must stay as it is';
        this.obstacles.set(`operator:${node.name}:${key}`, {
          code: 'operator',
          target: node.name,
          reason: `${node.op}: ${reason}`,
        });
        continue;
      }
      for (const tie of bound.ties.get(key) ?? []) this.#apply(tie);
      for (const options of bound.choices) {
        const open = options.filter((option) => option.ends.some((end) => end.key === key));
        if (open.length === 0) continue;
        const chosen = open.filter((option) => this.#chosen.get(options)?.has(option));
        for (const option of chosen) this.#apply(option);
        if (chosen.length > 0) continue;
        const keys = this.#pending.get(options);
        if (keys === undefined) this.#pending.set(options, new Set([key]));
        else keys.add(key);
      }
    }
  }

  #find(atom: number): number {
    let root = atom;
    while (this.#parents[root] !== root) root = this.#parents[root] as number;
    while (this.#parents[atom] !== root) {
      const next = this.#parents[atom] as number;
      this.#parents[atom] = root;
      atom = next;
    }
    return root;
  }

  /** Coordinates of a tie that indices in play have. */
  #marked(tie: BoundTie): Uint8Array {
    const marked = new Uint8Array(tie.size);
    for (const { slot, from, coordinates } of tie.ends) {
      const active = this.#states.get(slot)?.active;
      if (active === undefined) continue;
      for (let place = 0; place < coordinates.length; place++) {
        const coordinate = coordinates[place] as number;
        if (coordinate >= 0 && active[from + place] === 1) marked[coordinate] = 1;
      }
    }
    return marked;
  }

  #apply(tie: BoundTie): void {
    const marked = this.#marked(tie);
    const representative = new Int32Array(tie.size).fill(-1);
    let used = false;
    for (const { slot, from, coordinates } of tie.ends) {
      let state = this.#states.get(slot);
      if (state === undefined) {
        if (!coordinates.some((coordinate) => coordinate >= 0 && marked[coordinate] === 1)) continue;
        state = this.#state(slot);
      }
      const { active, base } = state;
      for (let place = 0; place < coordinates.length; place++) {
        const coordinate = coordinates[place] as number;
        if (coordinate < 0 || marked[coordinate] === 0) continue;
        const index = from + place;
        used = true;
        if (active[index] === 0) {
          active[index] = 1;
          this.#queue.add(state);
        }
        const root = this.#find(base + index);
        const other = representative[coordinate] as number;
        if (other < 0) representative[coordinate] = root;
        else this.#parents[root] = this.#find(other);
      }
    }
    if (used && tie.inexact !== undefined) this.inexact.add(tie.inexact);
    for (const coordinate of tie.last) {
      const atom = representative[coordinate] ?? -1;
      if (atom >= 0) this.#pinned.set(atom, 'nothing would be left of an axis');
    }
  }

  /** How many units a tie would merge into others. */
  #merges(tie: BoundTie): number {
    const roots = Array.from({ length: tie.size }, () => new Set<number>());
    for (const { slot, coordinates } of tie.ends) {
      const state = this.#states.get(slot);
      if (state === undefined) continue;
      for (let index = 0; index < coordinates.length; index++) {
        const coordinate = coordinates[index] as number;
        if (coordinate >= 0 && state.active[index] === 1)
          roots[coordinate]?.add(this.#find(state.base + index));
      }
    }
    return roots.reduce((sum, set) => sum + Math.max(0, set.size - 1), 0);
  }

  /** Settles one open choice: first one that merges nothing, wherever there is one. */
  #choose(): void {
    let undecided: { readonly options: readonly BoundTie[]; readonly open: readonly BoundTie[] } | undefined;
    for (const [options, keys] of this.#pending) {
      const open = options.filter((option) => option.ends.some((end) => keys.has(end.key)));
      const free = open.find((option) => this.#merges(option) === 0);
      if (free !== undefined || open.length === 1) {
        this.#take(options, free ?? (open[0] as BoundTie));
        return;
      }
      undecided ??= { options, open };
    }
    if (undecided === undefined) return;
    this.hasChoice = true;
    const { options, open } = undecided;
    this.#take(options, open[Math.min(this.#preference, open.length - 1)] as BoundTie);
  }

  #take(options: readonly BoundTie[], option: BoundTie): void {
    this.#pending.delete(options);
    const taken = this.#chosen.get(options);
    if (taken === undefined) this.#chosen.set(options, new Set([option]));
    else taken.add(option);
    this.#apply(option);
    // Ends that this option does not name may need another one.
    for (const { slot } of options.flatMap((one) => one.ends)) {
      const state = this.#states.get(slot);
      if (state !== undefined) this.#queue.add(state);
    }
  }

  finish(): Closure {
    const numbers = new Map<number, number>();
    const slots = new Map<Slot, Int32Array>();
    for (const { slot, base, active } of this.#states.values()) {
      const units = new Int32Array(slot.length).fill(-1);
      for (let index = 0; index < slot.length; index++) {
        if (active[index] === 0) continue;
        const root = this.#find(base + index);
        let unit = numbers.get(root);
        if (unit === undefined) {
          unit = numbers.size;
          numbers.set(root, unit);
        }
        units[index] = unit;
      }
      slots.set(slot, units);
    }
    return {
      slots,
      units: numbers.size,
      nodes: this.nodes,
      obstacles: [...this.obstacles.values()],
      pinned: this.#pins(slots, numbers),
      inexact: [...this.inexact],
      hasChoice: this.hasChoice,
    };
  }

  #pins(
    slots: ReadonlyMap<Slot, Int32Array>,
    numbers: ReadonlyMap<number, number>,
  ): ReadonlyMap<number, string> {
    const pinned = new Map<number, string>();
    for (const [atom, reason] of this.#pinned) {
      const unit = numbers.get(this.#find(atom));
      if (unit !== undefined) pinned.set(unit, reason);
    }
    for (const node of this.nodes) {
      for (const { end, indices, reason } of this.#axes.flow(node).flow.pins ?? []) {
        const value = end.side === 'input' ? node.input(end.index) : (node.outputs[end.index] ?? null);
        const slot = value === null ? undefined : this.#axes.slot(value, end.axis);
        const units = slot === undefined ? undefined : slots.get(slot);
        for (const index of indices) {
          const unit = units?.[index] ?? -1;
          if (unit >= 0) pinned.set(unit, `node "${node.name}" (${node.op}): ${reason}`);
        }
      }
    }
    return pinned;
  }
}

/**
 * All that goes with some indices of an axis.
 *
 * @param preference which way to cut where there are several, 0 the best
 */
export function closureOf(
  axes: AxisModel,
  slot: Slot,
  options: { readonly indices: Iterable<number>; readonly preference: number },
): Closure {
  const walk = new Walk(axes, options.preference);
  walk.start(slot, options.indices);
  return walk.finish();
}

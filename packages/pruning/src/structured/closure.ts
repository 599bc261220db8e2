import type { Node, Value } from '@lithe/core';
import { type AxisModel, type BoundFlow, type BoundTie, endKey, type Slot } from './axis-model.ts';
import { type AxisPart, type Marks, markedPlaces, placesIn, reach } from './axis-part.ts';
import { type UnitSpan, unitAt } from './unit-span.ts';

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
  /** The units of the indices that take part, by axis. */
  readonly slots: ReadonlyMap<Slot, UnitSpan>;
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
  readonly #states = new Map<Slot, AxisPart>();
  readonly #parents: number[] = [];
  readonly #queue = new Set<AxisPart>();
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
    for (const index of indices) {
      reach(state, index, index + 1);
      state.atoms[index - state.start] = this.#atom();
    }
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

  #state(slot: Slot): AxisPart {
    let state = this.#states.get(slot);
    if (state === undefined) {
      state = { slot, start: 0, atoms: new Int32Array(0) };
      this.#states.set(slot, state);
      this.#enter(slot.value);
    }
    return state;
  }

  #atom(): number {
    return this.#parents.push(this.#parents.length) - 1;
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

  #visit(state: AxisPart): void {
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

  /** Coordinates of a tie that indices in play have; `undefined` where none has. */
  #marked(tie: BoundTie): Marks | undefined {
    let [low, high] = [tie.size, 0];
    this.#eachActive(tie, (coordinate) => {
      if (coordinate < low) low = coordinate;
      if (coordinate >= high) high = coordinate + 1;
    });
    if (low >= high) return undefined;
    const flags = new Uint8Array(high - low);
    this.#eachActive(tie, (coordinate) => {
      flags[coordinate - low] = 1;
    });
    return { low, flags };
  }

  /** Visits the coordinate and the number of each index of a tie that is in play. */
  #eachActive(tie: BoundTie, visit: (coordinate: number, atom: number) => void): void {
    for (const end of tie.ends) {
      const state = this.#states.get(end.slot);
      if (state === undefined) continue;
      const offset = end.from - state.start;
      const [first, last] = placesIn(end, state);
      for (let place = first; place < last; place++) {
        const coordinate = end.coordinates[place] as number;
        const atom = state.atoms[offset + place] as number;
        if (coordinate >= 0 && atom >= 0) visit(coordinate, atom);
      }
    }
  }

  #apply(tie: BoundTie): void {
    const marked = this.#marked(tie);
    if (marked === undefined) return;
    const { low, flags } = marked;
    const representative = new Int32Array(flags.length).fill(-1);
    for (const end of tie.ends) {
      const [first, last] = markedPlaces(end, marked);
      if (last === 0) continue;
      const { slot, from, coordinates } = end;
      const state = this.#states.get(slot) ?? this.#state(slot);
      reach(state, from + first, from + last);
      const offset = from - state.start;
      for (let place = first; place < last; place++) {
        const coordinate = (coordinates[place] as number) - low;
        if (flags[coordinate] !== 1) continue;
        let atom = state.atoms[offset + place] as number;
        if (atom < 0) {
          atom = this.#atom();
          state.atoms[offset + place] = atom;
          this.#queue.add(state);
        }
        const root = this.#find(atom);
        const other = representative[coordinate] as number;
        if (other < 0) representative[coordinate] = root;
        else this.#parents[root] = this.#find(other);
      }
    }
    if (tie.inexact !== undefined) this.inexact.add(tie.inexact);
    for (const coordinate of tie.last) {
      const atom = representative[coordinate - low] ?? -1;
      if (atom >= 0) this.#pinned.set(atom, 'nothing would be left of an axis');
    }
  }

  /** How many units a tie would merge into others. */
  #merges(tie: BoundTie): number {
    const roots = new Map<number, Set<number>>();
    let count = 0;
    this.#eachActive(tie, (coordinate, atom) => {
      const known = roots.get(coordinate);
      const root = this.#find(atom);
      if (known === undefined) roots.set(coordinate, new Set([root]));
      else if (!known.has(root)) {
        known.add(root);
        count++;
      }
    });
    return count;
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
    const slots = new Map<Slot, UnitSpan>();
    for (const { slot, start, atoms } of this.#states.values()) {
      let first = 0;
      while (first < atoms.length && (atoms[first] as number) < 0) first++;
      let end = atoms.length;
      while (end > first && (atoms[end - 1] as number) < 0) end--;
      const units = new Int32Array(end - first).fill(-1);
      for (let place = first; place < end; place++) {
        if ((atoms[place] as number) < 0) continue;
        const root = this.#find(atoms[place] as number);
        let unit = numbers.get(root);
        if (unit === undefined) {
          unit = numbers.size;
          numbers.set(root, unit);
        }
        units[place - first] = unit;
      }
      slots.set(slot, { start: start + first, units });
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
    slots: ReadonlyMap<Slot, UnitSpan>,
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
        const span = slot === undefined ? undefined : slots.get(slot);
        for (const index of indices) {
          const unit = span === undefined ? -1 : unitAt(span, index);
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

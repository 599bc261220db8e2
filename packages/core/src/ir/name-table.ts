import { errors } from '../errors/catalogue.ts';
import { linksOf } from './edges.ts';
import type { Value } from './value.ts';

/**
 * The named values of one graph. All graphs of a nest (a graph and the subgraphs below it) count their names together,
 * because a value must not take a name that a subgraph uses for one of its own: the inner one would hide it there.
 */
export class NameTable {
  readonly #own = new Map<string, Value>();
  readonly #nest: Map<string, number>;
  readonly #next = new Map<string, number>();

  /** @param parent table of the graph around a subgraph */
  constructor(parent: NameTable | undefined) {
    this.#nest = parent === undefined ? new Map() : parent.#nest;
  }

  /** The value of this name. */
  get(name: string): Value | undefined {
    return this.#own.get(name);
  }

  /** Whether a value of this graph has the name. */
  has(name: string): boolean {
    return this.#own.has(name);
  }

  /** Whether a value of any graph in the nest has the name. */
  isTaken(name: string): boolean {
    return this.#nest.has(name);
  }

  /** A name that is not taken: `base`, or `base_1`, `base_2`, … */
  unique(base: string): string {
    if (base !== '' && !this.isTaken(base)) return base;
    const stem = base === '' ? 'value' : base;
    let number = this.#next.get(stem) ?? 1;
    while (this.isTaken(`${stem}_${number}`)) number++;
    this.#next.set(stem, number + 1);
    return `${stem}_${number}`;
  }

  /**
   * Checks that new values can have these names; those that are left out or `''` can.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when one is taken, or given twice
   */
  checkFree(names: readonly (string | undefined)[]): void {
    const fresh = new Set<string>();
    for (const name of names) {
      if (name === undefined || name === '') continue;
      if (this.has(name) || fresh.has(name))
        throw errors.graphEditInvalid(`a value is already called "${name}"`);
      fresh.add(name);
    }
  }

  /** Lets two values have each other's name. */
  swap(left: Value, right: Value): void {
    const [leftName, rightName] = [left.name, right.name];
    linksOf(left).name = rightName;
    linksOf(right).name = leftName;
    if (rightName !== '') this.set(rightName, left);
    if (leftName !== '') this.set(leftName, right);
  }

  /** Gives a value a name; the one that had it loses it. */
  set(name: string, value: Value): void {
    if (!this.#own.has(name)) this.#nest.set(name, (this.#nest.get(name) ?? 0) + 1);
    this.#own.set(name, value);
  }

  /** Frees a name. */
  delete(name: string): void {
    if (!this.#own.delete(name)) return;
    const left = (this.#nest.get(name) ?? 1) - 1;
    if (left === 0) this.#nest.delete(name);
    else this.#nest.set(name, left);
  }

  /** Frees all names: the graph leaves the nest. */
  clear(): void {
    for (const name of [...this.#own.keys()]) this.delete(name);
  }

  /** All named values. */
  values(): IterableIterator<Value> {
    return this.#own.values();
  }
}

/** A typed key of the in-memory notes that passes leave on nodes, values and models. Compared by identity. */
export interface MetaKey<T> {
  /** Name, for printing. */
  readonly name: string;
  /** Never present; carries the type. */
  readonly '~type'?: T;
}

/** Makes a key for {@link Meta}. Keep it in a module constant and export it to whoever shall read the notes. */
export function metaKey<T>(name: string): MetaKey<T> {
  return { name };
}

/** In-memory notes under typed keys. They are copied by `clone` and never saved to a file. */
export class Meta {
  readonly #notes: Map<MetaKey<unknown>, unknown>;

  /** @param from notes to start with */
  constructor(from?: Meta) {
    this.#notes = new Map(from === undefined ? [] : from.#notes);
  }

  /** The note under `key`, or `undefined`. */
  get<T>(key: MetaKey<T>): T | undefined {
    return this.#notes.get(key) as T | undefined;
  }

  /** Leaves a note. */
  set<T>(key: MetaKey<T>, value: T): void {
    this.#notes.set(key, value);
  }

  /** Takes over the notes of another, keeping its own where keys differ. */
  copyFrom(other: Meta): void {
    for (const [key, value] of other.#notes) this.#notes.set(key, value);
  }

  /** Removes a note. */
  delete(key: MetaKey<unknown>): void {
    this.#notes.delete(key);
  }
}

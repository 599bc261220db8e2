/**
 * Where a long search keeps what it has found, so that it goes on from there after it was stopped: JSON values by key.
 * What a key stands for is part of it (model, what is cut, what it is judged by; for latency the target, its version, the
 * threads and the size of inputs), so one journal serves any number of searches. The machine is not: give each its own.
 */
export interface SearchJournal {
  /** The value of a key; `undefined` when there is none. */
  get(key: string): Promise<unknown>;
  /** Keeps a value. When the promise is fulfilled, it survives the end of the process, where the journal does. */
  set(key: string, value: unknown): Promise<void>;
}

/** A journal in memory, for tests and for searches within one process. */
export function memoryJournal(): SearchJournal {
  const entries = new Map<string, string>();
  return {
    get: (key) => {
      const text = entries.get(key);
      return Promise.resolve(text === undefined ? undefined : JSON.parse(text));
    },
    set: (key, value) => {
      entries.set(key, JSON.stringify(value));
      return Promise.resolve();
    },
  };
}

/** A number from the journal, or from the work, which is then kept. */
export async function remembered(
  journal: SearchJournal | undefined,
  key: string,
  work: () => Promise<number>,
): Promise<number> {
  const known = await journal?.get(key);
  if (typeof known === 'number') return known;
  const found = await work();
  await journal?.set(key, found);
  return found;
}

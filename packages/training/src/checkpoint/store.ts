/** Where checkpoints are kept. Writing replaces the one before, and never leaves half of one. */
export interface CheckpointStore {
  /** The last checkpoint, or `undefined`. */
  read(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Replaces it, atomically. */
  write(bytes: Uint8Array): Promise<void>;
}

/** A store in memory, for tests and short runs. */
export function memoryCheckpoints(): CheckpointStore {
  let kept: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(kept),
    write: (bytes) => {
      kept = bytes;
      return Promise.resolve();
    },
  };
}

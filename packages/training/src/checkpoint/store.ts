import type { ArtifactStore } from '@lithe/core';

/** Where checkpoints are kept. Writing replaces the one before, and never leaves half of one. */
export type CheckpointStore = ArtifactStore;

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

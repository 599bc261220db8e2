/** A place for one artefact that long work leaves behind, such as a checkpoint: read at its start, replaced as it goes. */
export interface ArtifactStore {
  /** What was written last, or `undefined`. */
  read(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Replaces it, atomically: there is never half of one. */
  write(bytes: Uint8Array): Promise<void>;
}

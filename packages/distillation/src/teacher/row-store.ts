/** Rows of equal length in bytes that are appended in order and read in any: where recorded outputs are kept. */
export interface RowStore {
  /** Text that says what the rows are of; `undefined` in a new store. */
  identity(): Promise<string | undefined>;
  /** Begins anew: drops what there is, and notes what the rows will be of. */
  reset(identity: string, rowBytes: number): Promise<void>;
  /** Whole rows that are there. */
  rows(): Promise<number>;
  /** Adds whole rows at the end. */
  append(bytes: Uint8Array): Promise<void>;
  /** Rows by number, joined in the order asked for. */
  read(indices: Uint32Array): Promise<Uint8Array>;
}

/** A store in memory. */
export function memoryRows(): RowStore {
  let known: string | undefined;
  let width = 1;
  let bytes = new Uint8Array(0);
  let used = 0;
  return {
    identity: () => Promise.resolve(known),
    reset: (identity, rowBytes) => {
      [known, width, used] = [identity, rowBytes, 0];
      return Promise.resolve();
    },
    rows: () => Promise.resolve(used / width),
    append: (more) => {
      if (used + more.length > bytes.length) {
        const larger = new Uint8Array(Math.max(2 * bytes.length, used + more.length));
        larger.set(bytes.subarray(0, used));
        bytes = larger;
      }
      bytes.set(more, used);
      used += more.length;
      return Promise.resolve();
    },
    read: (indices) => {
      const result = new Uint8Array(indices.length * width);
      for (let row = 0; row < indices.length; row++) {
        const from = indices[row]! * width;
        result.set(bytes.subarray(from, from + width), row * width);
      }
      return Promise.resolve(result);
    },
  };
}

import { type ArtifactStore, errors, isLitheError, Tensor } from '@lithe/core';
import { readSafetensors, writeSafetensors } from '@lithe/training';
import { memoryRows, type RowStore } from '../teacher/row-store.ts';

/** A growth of the rows by this factor is written at once. */
const GROWTH = 1.25;

/** Bytes that rows may still take: all that one pass records. */
export interface RowRoom {
  /** Taken from by each store. */
  bytes: number;
}

/** Room for all rows of a pass, 2 GiB: those of one store are held twice while they are written. */
export const rowRoom = (): RowRoom => ({ bytes: 2 ** 31 });

/**
 * Rows in memory that are also kept in a store of a pass's context, so that a run that was stopped need not ask its
 * teacher again: written when they are complete, and on the way each time a quarter more is there.
 *
 * @param store `undefined` where the context has none: the rows are in memory alone
 * @param total rows when it is complete
 * @param room what the rows may take, shared by the stores of a pass
 * @returns a store whose `reset` throws OPTIONS_INVALID when all rows would take more than there is room for
 */
export async function artifactRows(
  store: ArtifactStore | undefined,
  total: number,
  room: RowRoom = rowRoom(),
): Promise<RowStore> {
  const rows = memoryRows();
  let width = 0;
  let written = 0;
  const kept = store === undefined ? undefined : await read(store);
  if (kept !== undefined) {
    width = kept.width;
    await rows.reset(kept.identity, width);
    await rows.append(kept.bytes);
    written = await rows.rows();
    room.bytes -= total * width;
  }
  return {
    ...rows,
    reset: async (identity, rowBytes) => {
      room.bytes += total * width;
      const left = room.bytes;
      if (total * rowBytes > left)
        throw errors.optionsInvalid(
          'record',
          [`What the teacher says of ${total} samples takes ${total * rowBytes} bytes, more than ${left}.`],
          'Record scores rather than features, or let the teacher run in each step: record: false.',
        );
      room.bytes -= total * rowBytes;
      [width, written] = [rowBytes, 0];
      await rows.reset(identity, rowBytes);
    },
    append: async (bytes) => {
      await rows.append(bytes);
      if (store === undefined) return;
      const count = await rows.rows();
      if (count < total && count < GROWTH * written) return;
      const all = await rows.read(Uint32Array.from({ length: count }, (_, index) => index));
      await store.write(
        writeSafetensors({
          tensors: { rows: Tensor.fromBytes('uint8', [count, width], all) },
          metadata: { identity: (await rows.identity()) ?? '' },
        }),
      );
      written = count;
    },
  };
}

interface KeptRows {
  readonly identity: string;
  readonly width: number;
  readonly bytes: Uint8Array;
}

/** What is there; nothing where it is damaged, for the teacher can be asked again. */
async function read(store: ArtifactStore): Promise<KeptRows | undefined> {
  const bytes = await store.read();
  if (bytes === undefined) return undefined;
  try {
    const { tensors, metadata } = readSafetensors(bytes);
    const { rows } = tensors as Readonly<Record<string, Tensor | undefined>>;
    const [, width = 0] = rows?.shape ?? [];
    if (rows === undefined || width === 0) return undefined;
    return { identity: metadata['identity'] ?? '', width, bytes: rows.bytes };
  } catch (error) {
    if (isLitheError(error, 'FILE_INVALID')) return undefined;
    throw error;
  }
}
